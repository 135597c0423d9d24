//! What became of a checkpoint, and the line that says so.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{LogLevel, OnError};
use crate::{Config, Error, Settings};

/// Something that a session has to tell.
#[non_exhaustive]
#[derive(Debug)]
pub enum Event {
    /// A checkpoint could not be signed.
    Failed {
        /// The checkpoint.
        root: PathBuf,
        /// Why.
        error: Error,
        /// Whether the spool remembers it.
        spooled: bool,
    },
    /// The session ends with checkpoints unsigned.
    Left {
        /// How many.
        count: usize,
        /// The spool that remembers them.
        spool: Option<PathBuf>,
    },
    /// Signatures of this process go on public record; said once, before the first.
    PublicLog,
    /// A checkpoint was signed.
    Signed {
        /// The checkpoint.
        root: PathBuf,
        /// Its signature.
        signature: PathBuf,
        /// Bytes hashed.
        bytes: u64,
        /// Time spent on it.
        took: Duration,
    },
    /// The spool cannot be used: unsigned checkpoints are forgotten when the process ends.
    SpoolFailed {
        /// Why.
        error: Error,
    },
    /// A checkpoint was replaced or removed before it was signed, so its signature is of no use.
    Superseded {
        /// The checkpoint.
        root: PathBuf,
        /// What is there now was not seen being saved: it stays unsigned.
        unsigned: bool,
    },
    /// Something in a hook, which has a line of its own for it.
    Hook {
        /// The line.
        line: String,
    },
    /// The only identity token cannot be renewed; said at the start.
    TokenEnds {
        /// When it ends (RFC 3339).
        until: String,
    },
    /// A setting is wrong and its default is used.
    WrongSetting {
        /// Which, and why.
        error: Error,
    },
}

/// What the public log makes public.
pub const PUBLIC_LOG: &str = "signing with a public Sigstore instance: the identity in the certificate, the time and a hash of \
    what is signed go on public record, for ever (MODEL_SIGNING_PUBLIC_LOG=deny refuses)";

/// Hears every event; called from the session's threads, one call at a time for each.
pub type Listener = Box<dyn Fn(&Event) + Send + Sync>;

impl Event {
    /// The line for people, and the level from which it is shown.
    #[must_use]
    pub fn line(&self) -> (LogLevel, String) {
        let why = |error: &Error| format!("{error} ({})", error.hint());
        match self {
            Self::Failed {
                root,
                error,
                spooled,
            } => {
                let kept = if *spooled {
                    "it stays in the spool"
                } else {
                    "nothing remembers it"
                };
                (
                    LogLevel::Warning,
                    format!("{root:?} is not signed, {kept}: {}", why(error)),
                )
            }
            Self::Left {
                count,
                spool: Some(spool),
            } => (
                LogLevel::Warning,
                format!(
                    "{count} unsigned in the spool {spool:?}: `model-signing flush` signs what is there"
                ),
            ),
            Self::Left { count, spool: None } => (
                LogLevel::Warning,
                format!("{count} unsigned, and there is no spool"),
            ),
            Self::PublicLog => (LogLevel::Info, PUBLIC_LOG.to_owned()),
            Self::Signed {
                root, bytes, took, ..
            } => (
                LogLevel::Info,
                format!(
                    "signed {root:?} ({} in {:.2} s)",
                    size(*bytes),
                    took.as_secs_f64()
                ),
            ),
            Self::SpoolFailed { error } => (
                LogLevel::Warning,
                format!(
                    "unsigned checkpoints will not be remembered: {}",
                    why(error)
                ),
            ),
            Self::Superseded {
                root,
                unsigned: false,
            } => (
                LogLevel::Debug,
                format!("{root:?} was replaced or removed before it was signed"),
            ),
            Self::Superseded {
                root,
                unsigned: true,
            } => (
                LogLevel::Warning,
                format!(
                    "{root:?} was changed after it was saved, by something else: it is not signed"
                ),
            ),
            Self::Hook { line } => (LogLevel::Warning, line.clone()),
            Self::TokenEnds { until } => (
                LogLevel::Info,
                format!(
                    "the identity token cannot be renewed: it covers signing until {until}, what is saved later waits for another"
                ),
            ),
            Self::WrongSetting { error } => (LogLevel::Warning, why(error)),
        }
    }
}

/// The listener of a running program: whole lines on stderr, as `config` asks. It never fails and never buffers.
#[must_use]
pub fn stderr_lines(config: &Config) -> Listener {
    let (level, on_error) = (config.log_level, config.on_error);
    Box::new(move |event| {
        let (needs, line) = event.line();
        let hushed = on_error == OnError::Ignore && needs == LogLevel::Warning;
        if needs <= level && !hushed {
            // One write, so that lines of several threads and processes do not mix. Nobody is left to tell on failure.
            let _ = std::io::stderr().write_all(format!("model-signing: {line}\n").as_bytes());
        }
    })
}

/// Writes a hook's line to stderr, if the settings of this process want warnings; for hooks, which may have to speak
/// where there is no session.
pub fn warn(line: &str) {
    let (config, _) = Config::read(&Settings::of_process());
    stderr_lines(&config)(&Event::Hook {
        line: line.to_owned(),
    });
}

/// `bytes` for people.
pub(crate) fn size(bytes: u64) -> String {
    let mut unit = "B";
    let mut whole = bytes;
    let mut rest = 0;
    for larger in ["kB", "MB", "GB", "TB"] {
        if whole < 1000 {
            break;
        }
        (rest, whole, unit) = (whole % 1000 / 100, whole / 1000, larger);
    }
    if unit == "B" {
        format!("{whole} B")
    } else {
        format!("{whole}.{rest} {unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1_000), "1.0 kB");
        assert_eq!(size(1_250_000), "1.2 MB");
        assert_eq!(size(3_999_999_999), "3.9 GB");
    }
}
