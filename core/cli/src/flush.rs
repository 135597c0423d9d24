//! `model-signing flush`

use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use autosign_session::{Config, Error, Mode, Session, Settings, Sink, Status, listener};
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
        let (mut signed, mut left, mut superseded) = (0, 0, 0);
        for spool in spools {
            let spool = std::path::absolute(&spool).unwrap_or(spool);
            match flush(Config {
                spool: Some(spool),
                mode: Mode::Background, // whatever it is for training: here somebody asked for signatures
                ..config.clone()
            }) {
                Ok((status, others)) => {
                    signed += status.signed;
                    left += status.failed + others;
                    superseded += status.superseded;
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
        // Whoever reads JSON lines from stdout can read nothing else.
        let json = config.events == Some(Sink::Stdout);
        let mut line = format!("{signed} signed, {left} left");
        if superseded > 0 {
            let _ = write!(line, ", {superseded} replaced or removed before");
        }
        if json {
            say(err, format_args!("{line}"));
        } else {
            say(out, format_args!("{line}"));
        }
        if left == 0 { GOOD } else { BAD }
    }
}

/// What became of the spooled checkpoints, and how many are left for other signers.
fn flush(config: Config) -> Result<(Status, usize), Error> {
    let listener = listener(&config);
    let session = Session::start(config, listener);
    let others = session.adopt()?;
    let status = session.flush(None);
    Ok((status, others))
}
