//! What became of a checkpoint: the line that says so, and its JSON form.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::LogLevel;
use crate::{Error, values};

/// Something that a session has to tell.
#[non_exhaustive]
#[derive(Debug)]
pub enum Event {
    /// Events cannot be written where the settings want them; said once.
    EventsFailed {
        /// Why.
        error: Error,
    },
    /// A checkpoint could not be signed.
    Failed {
        /// The checkpoint.
        root: PathBuf,
        /// Who saved it.
        framework: String,
        /// Why.
        error: Error,
        /// Whether the spool remembers it.
        spooled: bool,
    },
    /// A checkpoint was hashed, and the spool has its digest: mode `offline`.
    Hashed {
        /// The checkpoint.
        root: PathBuf,
        /// Who saved it.
        framework: String,
        /// Bytes hashed.
        bytes: u64,
        /// Time spent on it.
        took: Duration,
    },
    /// Something in a hook, which has a line of its own for it.
    Hook {
        /// The line.
        line: String,
    },
    /// A checkpoint was signed whose index names files that are not there; [`Event::Signed`] comes before.
    Incomplete {
        /// The checkpoint.
        root: PathBuf,
        /// Who saved it.
        framework: String,
        /// The index, as the signature names it.
        index: String,
        /// The first of the files, as a signature would name it.
        file: String,
        /// How many there are.
        missing: usize,
    },
    /// Signatures are written in place, where the file system knows no renames; said once, after the first.
    InPlace {
        /// The first.
        signature: PathBuf,
    },
    /// The private key is in an environment variable; said at the start.
    KeyInEnvironment,
    /// The session ends with checkpoints unsigned.
    Left {
        /// How many.
        count: usize,
        /// The spool that remembers them.
        spool: Option<PathBuf>,
    },
    /// A checkpoint is not to be signed: a setting leaves it out.
    PassedOver {
        /// The checkpoint.
        root: PathBuf,
        /// Who saved it.
        framework: String,
        /// Its environment variable.
        setting: &'static str,
    },
    /// Signatures of this process go on public record; said once, before the first.
    PublicLog,
    /// A checkpoint was signed.
    Signed {
        /// The checkpoint.
        root: PathBuf,
        /// Who saved it.
        framework: String,
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
    /// The session ends with checkpoints in the spool that it was not to sign: mode `offline`.
    Spooled {
        /// How many.
        count: usize,
        /// The spool.
        spool: PathBuf,
    },
    /// A checkpoint was replaced or removed before it was signed, so its signature is of no use.
    Superseded {
        /// The checkpoint.
        root: PathBuf,
        /// Who saved it.
        framework: String,
        /// What is there now was not seen being saved: it stays unsigned.
        unsigned: bool,
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

/// What else sees a key that is in the environment.
const KEY_IN_ENVIRONMENT: &str = "the private key is in MODEL_SIGNING_PRIVATE_KEY, which child processes inherit: a file that only \
    you can read is the better place";

/// Hears every event; called from the session's threads, one call at a time for each.
pub type Listener = Box<dyn Fn(&Event) + Send + Sync>;

impl Event {
    /// The line for people, and the level from which it is shown.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm an event")]
    pub fn line(&self) -> (LogLevel, String) {
        use LogLevel::{Debug, Info, Warning};
        match self {
            Self::EventsFailed { error } | Self::WrongSetting { error } => (Warning, why(error)),
            Self::Failed {
                root,
                error,
                spooled,
                ..
            } => {
                let kept = if *spooled {
                    "it stays in the spool"
                } else {
                    "nothing remembers it"
                };
                let level = if error.is_old_news() { Debug } else { Warning };
                (
                    level,
                    format!("{root:?} is not signed, {kept}: {}", why(error)),
                )
            }
            Self::Hashed {
                root, bytes, took, ..
            } => (Info, format!("hashed {root:?} ({})", cost(*bytes, *took))),
            Self::Hook { line } => (Warning, line.clone()),
            Self::Incomplete {
                root,
                index,
                file,
                missing,
                ..
            } => {
                let more = match missing.saturating_sub(1) {
                    0 => String::new(),
                    more => format!(" (and {more} more)"),
                };
                (
                    Warning,
                    format!(
                        "signed {root:?}, but {index:?} names {file:?}{more} that is not there"
                    ),
                )
            }
            Self::InPlace { signature } => (
                Info,
                format!(
                    "the file system of {signature:?} knows no renames: signatures are written in place there, and whoever reads one at that moment finds a part of it"
                ),
            ),
            Self::KeyInEnvironment => (Info, KEY_IN_ENVIRONMENT.to_owned()),
            Self::Left {
                count,
                spool: Some(spool),
            } => (
                Warning,
                format!(
                    "{count} unsigned in the spool {spool:?}: `model-signing flush` signs what is there"
                ),
            ),
            Self::Left { count, spool: None } => (
                Warning,
                format!("{count} unsigned, and no spool remembers them"),
            ),
            Self::PassedOver { root, setting, .. } => {
                (Debug, format!("{root:?} is passed over: {setting}"))
            }
            Self::PublicLog => (Info, PUBLIC_LOG.to_owned()),
            Self::Signed {
                root, bytes, took, ..
            } => (Info, format!("signed {root:?} ({})", cost(*bytes, *took))),
            Self::SpoolFailed { error } => (
                Warning,
                format!(
                    "unsigned checkpoints will not be remembered: {}",
                    why(error)
                ),
            ),
            Self::Spooled { count, spool } => (
                Info,
                format!("{count} hashed, to be signed by `model-signing flush {spool:?}`"),
            ),
            Self::Superseded {
                root,
                unsigned: false,
                ..
            } => (
                Debug,
                format!("{root:?} was replaced or removed before it was signed"),
            ),
            Self::Superseded {
                root,
                unsigned: true,
                ..
            } => (
                Warning,
                format!(
                    "{root:?} was changed after it was saved, by something else: it is not signed"
                ),
            ),
            Self::TokenEnds { until } => (
                Info,
                format!(
                    "the identity token cannot be renewed: it covers signing until {until}, what is saved later waits for another"
                ),
            ),
        }
    }

    /// The same for programs, as of now: a JSON object without a line break.
    #[must_use]
    pub fn json(&self) -> String {
        let (level, message) = self.line();
        let (event, own) = self.fields();
        let common = Common {
            time: format!("{:.3}", Timestamp::now()),
            event,
            level: level.name(),
            message,
            host: rustix::system::uname()
                .nodename()
                .to_string_lossy()
                .into_owned(),
            pid: rustix::process::getpid().as_raw_nonzero().get(),
            own,
        };
        serde_json::to_string(&common).unwrap_or_default()
    }

    /// Its name, and what only it has to say.
    fn fields(&self) -> (&'static str, Value) {
        match self {
            Self::EventsFailed { error } => ("events_failed", told(error)),
            Self::Failed {
                root,
                framework,
                error,
                spooled,
            } => (
                "failed",
                json!({"path": text(root), "framework": framework, "error": error.to_string(), "hint": error.hint(),
                    "spooled": spooled}),
            ),
            Self::Hashed {
                root,
                framework,
                bytes,
                took,
            } => (
                "hashed",
                json!({"path": text(root), "framework": framework, "bytes": bytes, "seconds": took.as_secs_f64()}),
            ),
            Self::Hook { .. } => ("hook", json!({})),
            Self::Incomplete {
                root,
                framework,
                index,
                file,
                missing,
            } => (
                "incomplete",
                json!({"path": text(root), "framework": framework, "index": index, "file": file, "missing": missing}),
            ),
            Self::InPlace { signature } => ("in_place", json!({"signature": text(signature)})),
            Self::KeyInEnvironment => ("key_in_environment", json!({})),
            Self::Left { count, spool } => (
                "left",
                json!({"count": count, "spool": spool.as_deref().map(text)}),
            ),
            Self::PassedOver {
                root,
                framework,
                setting,
            } => (
                "passed_over",
                json!({"path": text(root), "framework": framework, "setting": setting}),
            ),
            Self::PublicLog => ("public_log", json!({})),
            Self::Signed {
                root,
                framework,
                signature,
                bytes,
                took,
            } => (
                "signed",
                json!({"path": text(root), "framework": framework, "signature": text(signature), "bytes": bytes,
                    "seconds": took.as_secs_f64()}),
            ),
            Self::SpoolFailed { error } => ("spool_failed", told(error)),
            Self::Spooled { count, spool } => {
                ("spooled", json!({"count": count, "spool": text(spool)}))
            }
            Self::Superseded {
                root,
                framework,
                unsigned,
            } => (
                "superseded",
                json!({"path": text(root), "framework": framework, "unsigned": unsigned}),
            ),
            Self::TokenEnds { until } => ("token_ends", json!({"until": until})),
            Self::WrongSetting { error } => ("wrong_setting", told(error)),
        }
    }
}

/// What the JSON form of every event has.
#[derive(Serialize)]
struct Common {
    time: String,
    event: &'static str,
    level: &'static str,
    message: String,
    host: String,
    pid: i32,
    #[serde(flatten)]
    own: Value,
}

fn why(error: &Error) -> String {
    format!("{error} ({})", error.hint())
}

fn told(error: &Error) -> Value {
    json!({"error": error.to_string(), "hint": error.hint()})
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn cost(bytes: u64, took: Duration) -> String {
    format!(
        "{} in {:.2} s",
        values::size_text(bytes),
        took.as_secs_f64()
    )
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    /// One of each, in the order of the page. The compiler asks for a new one here.
    fn after(event: Option<&Event>) -> Option<Event> {
        let (root, framework) = (PathBuf::from("/runs/last.pt"), "torch".to_owned());
        let error = Error::NoKey;
        let (bytes, took) = (1000, Duration::from_millis(1500));
        Some(match event {
            None => Event::Hashed {
                root,
                framework,
                bytes,
                took,
            },
            Some(Event::Hashed { .. }) => Event::Signed {
                signature: "/runs/last.pt.sig".into(),
                root,
                framework,
                bytes,
                took,
            },
            Some(Event::Signed { .. }) => Event::Incomplete {
                root,
                framework,
                index: ".metadata".to_owned(),
                file: "__1_0.distcp".to_owned(),
                missing: 2,
            },
            Some(Event::Incomplete { .. }) => Event::InPlace {
                signature: "/runs/last.pt.sig".into(),
            },
            Some(Event::InPlace { .. }) => Event::Failed {
                root,
                framework,
                error,
                spooled: true,
            },
            Some(Event::Failed { .. }) => Event::Superseded {
                root,
                framework,
                unsigned: false,
            },
            Some(Event::Superseded { .. }) => Event::PassedOver {
                root,
                framework,
                setting: "MODEL_SIGNING_EVERY",
            },
            Some(Event::PassedOver { .. }) => Event::Left {
                count: 2,
                spool: Some("/spool".into()),
            },
            Some(Event::Left { .. }) => Event::Spooled {
                count: 2,
                spool: "/spool".into(),
            },
            Some(Event::Spooled { .. }) => Event::PublicLog,
            Some(Event::PublicLog) => Event::TokenEnds {
                until: "2030-01-01T00:00:00Z".to_owned(),
            },
            Some(Event::TokenEnds { .. }) => Event::KeyInEnvironment,
            Some(Event::KeyInEnvironment) => Event::WrongSetting { error },
            Some(Event::WrongSetting { .. }) => Event::SpoolFailed { error },
            Some(Event::SpoolFailed { .. }) => Event::EventsFailed { error },
            Some(Event::EventsFailed { .. }) => Event::Hook {
                line: "a hook".to_owned(),
            },
            Some(Event::Hook { .. }) => return None,
        })
    }

    #[test]
    fn the_reference_page_has_every_event_and_field() {
        let page = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../docs/reference/events.md"
        );
        let page = std::fs::read_to_string(page).unwrap();
        let row_name = |line: &str| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned());
        let mut rows = page.lines().filter(|line| row_name(line).is_some());

        let all: Vec<_> = std::iter::successors(after(None), |event| after(Some(event))).collect();
        let own_fields = |event: &Event| -> Vec<String> {
            let Value::Object(fields) = event.fields().1 else {
                panic!("{event:?}")
            };
            fields.keys().cloned().collect()
        };
        for event in &all {
            let mut own = own_fields(event);
            own.sort_unstable();
            let own: Vec<_> = own.iter().map(|name| format!("`{name}`")).collect();
            let row = format!("| `{}` | {} |", event.fields().0, own.join(", "));
            let found = rows.next().unwrap_or_default().replace("| |", "|  |");
            assert!(found.starts_with(&row), "{row} is {found}");
        }

        let common = ["time", "event", "level", "message", "host", "pid"].map(str::to_owned);
        let mut fields: Vec<_> = all.iter().flat_map(own_fields).collect();
        fields.sort_unstable();
        fields.dedup();
        let told: Vec<_> = rows.filter_map(row_name).collect();
        assert_eq!(told, [&common[..], &fields].concat());
    }

    #[test]
    fn json_is_one_line_with_what_is_common_first() {
        let event = Event::Signed {
            root: "/runs/new\nline.pt".into(),
            framework: "torch".to_owned(),
            signature: "/runs/new\nline.pt.sig".into(),
            bytes: 1_250_000,
            took: Duration::from_millis(1500),
        };
        let text = event.json();
        assert!(
            text.starts_with("{\"time\":\"20") && !text.contains('\n'),
            "{text}"
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        let time = value["time"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && time.parse::<Timestamp>().is_ok());
        assert_eq!(value["event"], "signed");
        assert_eq!(value["level"], "info");
        assert_eq!(
            value["message"],
            "signed \"/runs/new\\nline.pt\" (1.2 MB in 1.50 s)"
        );
        assert_eq!(value["path"], "/runs/new\nline.pt");
        assert_eq!(value["signature"], "/runs/new\nline.pt.sig");
        assert_eq!(
            (&value["bytes"], &value["seconds"]),
            (&json!(1_250_000), &json!(1.5))
        );
        assert_eq!(value["pid"], json!(std::process::id()));
    }
}
