//! `model-signing flush`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write;
use std::path::PathBuf;

use autosign_session::{Config, Error, Mode, Session, Settings, Sink, Status, listener};
use clap::Args;

use crate::{BAD, GOOD, USAGE, config, failed, say, shown, spools_exist};

#[derive(Args)]
pub(crate) struct Flush {
    /// Spool folders. Default: the one of MODEL_SIGNING_SPOOL.
    #[arg(value_name = "SPOOL")]
    spools: Vec<PathBuf>,
    /// Sign also what another signer was to sign, such as one whose key was named wrongly or is no more.
    #[arg(long)]
    any_signer: bool,
}

impl Flush {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Some(config) = config(settings, err) else {
            return USAGE;
        };
        if !spools_exist(&self.spools, err) {
            return USAGE;
        }
        for spool in &self.spools {
            let other = std::path::absolute(spool).ok() != config.spool;
            if let Err(error) = settings.unlocked("MODEL_SIGNING_SPOOL")
                && other
            {
                return failed(err, "Flushing", &error);
            }
        }
        let spools = if self.spools.is_empty() {
            config.spool.iter().cloned().collect()
        } else {
            self.spools
        };
        if spools.is_empty() {
            if let Some(error) = config.without_spool(settings) {
                say(err, format_args!("{error}; {}", error.hint()));
            }
            return USAGE;
        }
        let (mut signed, mut left, mut superseded, mut broken) = (0, 0, 0, false);
        let mut others: BTreeMap<String, usize> = BTreeMap::new();
        for spool in spools {
            let spool = std::path::absolute(&spool).unwrap_or(spool);
            let config = Config {
                spool: Some(spool),
                mode: Mode::Background, // whatever it is for training: here somebody asked for signatures
                ..config.clone()
            };
            match flush(config, self.any_signer) {
                Ok((status, left_alone)) => {
                    signed += status.signed;
                    left += status.failed + left_alone.values().sum::<usize>();
                    superseded += status.superseded;
                    for (signer, count) in left_alone {
                        *others.entry(signer).or_default() += count;
                    }
                }
                Err(error) => {
                    say(
                        err,
                        format_args!("Flushing failed with error: {error}; {}", error.hint()),
                    );
                    broken = true;
                }
            }
        }
        for (signer, count) in others {
            say(
                err,
                format_args!(
                    "{count} left for {}: {}, or flush with --any-signer",
                    shown(&signer),
                    how(&signer)
                ),
            );
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
        if left == 0 && !broken { GOOD } else { BAD }
    }
}

/// How to flush as `signer`.
fn how(signer: &str) -> String {
    let (method, name) = signer.split_once(':').unwrap_or((signer, ""));
    let public = ["production", "staging"].contains(&name) || name.contains("://");
    match method {
        "key" if name.starts_with("sha256:") => {
            "set MODEL_SIGNING_PRIVATE_KEY to the key whose public half has that digest".to_owned()
        }
        "key" => format!("set MODEL_SIGNING_PRIVATE_KEY to {name:?}"),
        "certificate" => format!("set MODEL_SIGNING_CERTIFICATE to {name:?}, and its key"),
        "sigstore" if public => format!("set MODEL_SIGNING_INSTANCE to {name:?}"),
        _ => format!("set MODEL_SIGNING_TRUST_CONFIG to {name:?}"),
    }
}

/// What became of the spooled checkpoints, and how many are left for which other signers.
fn flush(config: Config, any_signer: bool) -> Result<(Status, BTreeMap<String, usize>), Error> {
    let listener = listener(&config);
    let session = Session::start(config, listener);
    let others = session.adopt(any_signer)?;
    let status = session.flush(None);
    Ok((status, others))
}
