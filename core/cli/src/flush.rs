//! `model-signing flush`

use std::io::Write;
use std::path::PathBuf;

use autosign_session::{Config, Error, Session, Settings, stderr_lines};
use clap::Args;

use crate::{BAD, GOOD, USAGE, config, say};

#[derive(Args)]
pub(crate) struct Flush {
    /// Spool folders. Default: the one of MODEL_SIGNING_SPOOL.
    #[arg(value_name = "SPOOL")]
    spools: Vec<PathBuf>,
}

impl Flush {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Some(config) = config(settings, err) else {
            return USAGE;
        };
        let spools = if self.spools.is_empty() {
            config.spool.iter().cloned().collect()
        } else {
            self.spools
        };
        if spools.is_empty() {
            say(
                err,
                format_args!(
                    "There is no spool: MODEL_SIGNING_SPOOL is `off`, and no folder is given"
                ),
            );
            return USAGE;
        }
        let (mut signed, mut left) = (0, 0);
        for spool in spools {
            let spool = std::path::absolute(&spool).unwrap_or(spool);
            match flush(Config {
                spool: Some(spool),
                ..config.clone()
            }) {
                Ok((now, remaining)) => {
                    signed += now;
                    left += remaining;
                }
                Err(error) => {
                    say(
                        err,
                        format_args!("Flushing failed with error: {error}; {}", error.hint()),
                    );
                    left += 1;
                }
            }
        }
        say(out, format_args!("{signed} signed, {left} left"));
        if left == 0 { GOOD } else { BAD }
    }
}

/// How many were signed, and how many are left: failed, or another signer's.
fn flush(config: Config) -> Result<(usize, usize), Error> {
    let listener = stderr_lines(&config);
    let session = Session::start(config, listener);
    let others = session.adopt()?;
    let status = session.flush(None);
    Ok((status.signed, status.failed + others))
}
