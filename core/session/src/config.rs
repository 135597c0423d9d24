//! The table of settings: one row each feeds the parser, `model-signing env` and the reference page.

use std::ffi::OsStr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zeroize::Zeroizing;

use autosign_signing::{Credentials, Sources};

use crate::{Environment, Error, Instance, Keyless};

/// When a checkpoint is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// After the save has returned, on a thread of low priority.
    Background,
    /// Never: importing the package does nothing.
    Disabled,
    /// Before the save returns.
    Inline,
}

/// Who signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The key, where there is one; else Sigstore.
    Auto,
    /// The holder of `MODEL_SIGNING_PRIVATE_KEY`.
    Key,
    /// Whom the identity token names.
    Sigstore,
}

/// What a failed signature does to training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Nothing, not even a line; the checkpoint stays in the spool.
    Ignore,
    /// The save raises. It therefore waits for its signature, in either mode.
    Raise,
    /// One line on stderr.
    Warn,
}

/// Which lines are written to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// None.
    Off,
    /// What went wrong.
    Warning,
    /// One line for each signed checkpoint, too.
    Info,
    /// And one for each that was replaced or removed before it was signed.
    Debug,
}

/// The settings of one session. No `Debug`: it may hold a password.
#[derive(Clone)]
pub struct Config {
    /// `MODEL_SIGNING_MODE`
    pub mode: Mode,
    /// `MODEL_SIGNING_ON_ERROR`
    pub on_error: OnError,
    /// `MODEL_SIGNING_HOOKS`: names of hooks, or `auto`, or `none`.
    pub hooks: Vec<String>,
    /// `MODEL_SIGNING_METHOD`
    pub method: Method,
    /// What method `sigstore` needs.
    pub keyless: Keyless,
    /// `MODEL_SIGNING_PRIVATE_KEY`, absolute.
    pub private_key: Option<PathBuf>,
    /// `MODEL_SIGNING_PASSWORD`
    pub password: Option<Zeroizing<String>>,
    /// `MODEL_SIGNING_PASSWORD_FILE`, absolute.
    pub password_file: Option<PathBuf>,
    /// `MODEL_SIGNING_THREADS`
    pub threads: Option<NonZeroUsize>,
    /// `MODEL_SIGNING_SPOOL`, absolute; nothing where there is to be none.
    pub spool: Option<PathBuf>,
    /// `MODEL_SIGNING_DRAIN_TIMEOUT`
    pub drain_timeout: Duration,
    /// `MODEL_SIGNING_LOG_LEVEL`
    pub log_level: LogLevel,
}

/// One row of the table.
pub struct Setting {
    /// The environment variable.
    pub variable: &'static str,
    /// What it may be.
    pub values: &'static str,
    /// What it is when it is not set.
    pub default: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
    /// Takes the value; nothing where it is none of `values`.
    read: fn(&mut Config, &OsStr) -> Option<()>,
}

/// Every setting, in the order of the reference page.
pub static SETTINGS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_MODE",
        values: "background, inline, disabled",
        default: "background",
        about: "Sign after the save has returned, before it returns, or not at all (the import then does nothing).",
        secret: false,
        read: |config, value| {
            config.mode = match value.to_str()? {
                "background" => Mode::Background,
                "disabled" => Mode::Disabled,
                "inline" => Mode::Inline,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_ON_ERROR",
        values: "warn, raise, ignore",
        default: "warn",
        about: "What a failed signature does: one line on stderr, an exception from the save (which then waits for its signature), or nothing. The checkpoint stays in the spool in every case.",
        secret: false,
        read: |config, value| {
            config.on_error = match value.to_str()? {
                "ignore" => OnError::Ignore,
                "raise" => OnError::Raise,
                "warn" => OnError::Warn,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_HOOKS",
        values: "auto, none, or a list of safetensors, torch",
        default: "auto",
        about: "Whose saves are signed. `auto` is every framework that the program imports.",
        secret: false,
        read: |config, value| {
            let names = value
                .to_str()?
                .split(',')
                .map(|name| name.trim().to_owned());
            config.hooks = names.filter(|name| !name.is_empty()).collect();
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_METHOD",
        values: "auto, key, sigstore",
        default: "auto",
        about: "Who signs: the holder of a private key, or whom an identity token names (keyless, through Sigstore). `auto` is the key where MODEL_SIGNING_PRIVATE_KEY is set, else Sigstore.",
        secret: false,
        read: |config, value| {
            config.method = match value.to_str()? {
                "auto" => Method::Auto,
                "key" => Method::Key,
                "sigstore" => Method::Sigstore,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_FILE",
        values: "path",
        default: "",
        about: "A file with the OIDC identity token to sign with, read again for every certificate: what renews it may do so at any time.",
        secret: false,
        read: |config, value| absolute(value).map(|path| config.keyless.token_file = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN",
        values: "text",
        default: "$SIGSTORE_ID_TOKEN",
        about: "The token itself, if there is no file; $SIGSTORE_IDENTITY_TOKEN is read, too. A file is the better place: it can be renewed, and child processes inherit the environment.",
        secret: true,
        read: |config, value| {
            config.keyless.token = Some(Zeroizing::new(value.to_str()?.to_owned()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_CREDENTIALS",
        values: "auto, or a list of SOURCES",
        default: "auto",
        about: "Where tokens may come from. `auto`: from the settings above, where one is set, else from what the job finds where it runs, asked in the order of this list. A list names sources and their order; `-NAME` leaves one out.",
        secret: false,
        read: |config, value| {
            let given = ["file", "env"];
            let names = [&given[..], &Sources::names()].concat();
            config.keyless.credentials = Credentials::parse(value.to_str()?, &names)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EXPECT_IDENTITY",
        values: "text, glob:PATTERN, or re:EXPRESSION",
        default: "",
        about: "Sign as nobody else: the name that the certificate must have, an email address or URI. A token for anybody else is not sent.",
        secret: false,
        read: |config, value| {
            // Kept even where it is wrong: then nothing is signed, and not by anybody.
            config.keyless.expected.0 = Some(value.to_string_lossy().into_owned());
            config.keyless.guard().ok().map(drop)
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EXPECT_ISSUER",
        values: "text, glob:PATTERN, or re:EXPRESSION",
        default: "",
        about: "The same for the issuer of the token, a URL.",
        secret: false,
        read: |config, value| {
            config.keyless.expected.1 = Some(value.to_string_lossy().into_owned());
            config.keyless.guard().ok().map(drop)
        },
    },
    Setting {
        variable: "MODEL_SIGNING_AUDIENCE",
        values: "text",
        default: "sigstore",
        about: "The audience that the token must be for: the client id of the instance's Fulcio. A token for another audience is never sent.",
        secret: false,
        read: |config, value| {
            config.keyless.audience = Some(value.to_str()?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_INSTANCE",
        values: "production, staging, or the URL of a TUF repository",
        default: "production",
        about: "The Sigstore instance to sign with and to believe: a public one, or one that `model-signing trust add` was given.",
        secret: false,
        read: |config, value| {
            config.keyless.instance = Instance::named(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TRUST_CONFIG",
        values: "path",
        default: "",
        about: "The Sigstore instance to sign with and to believe instead: a ClientTrustConfig file, which holds its keys and its addresses.",
        secret: false,
        read: |config, value| {
            config.keyless.instance = Instance::TrustConfig(absolute(value)?);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PUBLIC_LOG",
        values: "allow, deny",
        default: "allow",
        about: "Whether to sign with a public instance, whose log shows the signer's identity, the time and a hash of what was signed to everybody, for ever.",
        secret: false,
        read: |config, value| {
            config.keyless.deny_public_log = match value.to_str()? {
                "allow" => false,
                "deny" => true,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_CA_BUNDLE",
        values: "path",
        default: "",
        about: "PEM file with the CA certificates that the services' TLS certificates must come from, instead of those of the web.",
        secret: false,
        read: |config, value| absolute(value).map(|path| config.keyless.ca_bundle = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_PRIVATE_KEY",
        values: "path",
        default: "",
        about: "The key to sign with: PEM, ECDSA on P-256, P-384 or P-521, SEC 1 or PKCS#8.",
        secret: false,
        read: |config, value| absolute(value).map(|path| config.private_key = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_PASSWORD",
        values: "text",
        default: "",
        about: "Opens an encrypted key. A file is the better place: child processes inherit the environment.",
        secret: true,
        read: |config, value| {
            config.password = Some(Zeroizing::new(value.to_str()?.to_owned()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PASSWORD_FILE",
        values: "path",
        default: "",
        about: "A file whose first line opens an encrypted key. Read when the key is.",
        secret: false,
        read: |config, value| absolute(value).map(|path| config.password_file = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_THREADS",
        values: "auto, or a number from 1",
        default: "auto",
        about: "Threads that hash. `auto`: one while training goes on, every core while the program waits.",
        secret: false,
        read: |config, value| {
            config.threads = match value.to_str()? {
                "auto" => None,
                number => Some(number.parse().ok()?),
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SPOOL",
        values: "path, or off",
        default: "$XDG_STATE_HOME/model-signing/spool",
        about: "Folder that remembers unsigned checkpoints until `model-signing flush` or the next start signs them. $XDG_STATE_HOME is ~/.local/state where it is not set.",
        secret: false,
        read: |config, value| {
            config.spool = if value == "off" {
                None
            } else {
                Some(absolute(value)?)
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_DRAIN_TIMEOUT",
        values: "duration, such as 90s or 5m",
        default: "120s",
        about: "How long the program's end may wait for signatures. What is left then stays in the spool.",
        secret: false,
        read: |config, value| {
            config.drain_timeout = duration(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_LOG_LEVEL",
        values: "debug, info, warning, off",
        default: "info",
        about: "Lines on stderr: with `info` one for each signed checkpoint, with `debug` also one for each that was replaced or removed before, with `warning` only what went wrong.",
        secret: false,
        read: |config, value| {
            config.log_level = match value.to_str()? {
                "debug" => LogLevel::Debug,
                "info" => LogLevel::Info,
                "off" => LogLevel::Off,
                "warning" => LogLevel::Warning,
                _ => return None,
            };
            Some(())
        },
    },
];

impl Config {
    /// Reads every setting. A value that cannot be used leaves the default in force and is returned as an error:
    /// signing with a default beats a run of unsigned checkpoints.
    #[must_use]
    pub fn read(environment: &Environment) -> (Self, Vec<Error>) {
        let mut config = Self {
            mode: Mode::Background,
            on_error: OnError::Warn,
            hooks: vec!["auto".to_owned()],
            method: Method::Auto,
            keyless: Keyless {
                token: foreign_token(environment),
                environment: environment.clone(),
                trust_folder: home(
                    environment,
                    "XDG_DATA_HOME",
                    ".local/share",
                    "model-signing/trust",
                ),
                ..Keyless::default()
            },
            private_key: None,
            password: None,
            password_file: None,
            threads: None,
            spool: home(
                environment,
                "XDG_STATE_HOME",
                ".local/state",
                "model-signing/spool",
            ),
            drain_timeout: Duration::from_secs(120),
            log_level: LogLevel::Info,
        };
        let mut errors = Vec::new();
        for setting in SETTINGS {
            let Some(value) = environment.get(setting.variable) else {
                continue;
            };
            if (setting.read)(&mut config, value).is_none() {
                errors.push(Error::Setting {
                    variable: setting.variable,
                    value: if setting.secret {
                        "***".to_owned()
                    } else {
                        value.to_string_lossy().into_owned()
                    },
                    values: setting.values,
                });
            }
        }
        (config, errors)
    }

    /// Whether a save returns only when its signature is there, or has failed.
    #[must_use]
    pub fn saves_wait(&self) -> bool {
        self.mode == Mode::Inline || self.on_error == OnError::Raise
    }

    /// Who is to sign, as one text: a spooled checkpoint is signed by nobody else. Nothing where nobody is named.
    #[must_use]
    pub fn signer(&self) -> Option<String> {
        if self.signs_with_key() {
            return Some(format!("key:{}", self.private_key.as_deref()?.display()));
        }
        let named = self.method == Method::Sigstore || self.keyless.has_identity();
        named.then(|| self.keyless.name())
    }

    /// Whether a private key signs, not an identity token.
    #[must_use]
    pub fn signs_with_key(&self) -> bool {
        match self.method {
            Method::Auto => self.private_key.is_some(),
            Method::Key => true,
            Method::Sigstore => false,
        }
    }
}

/// The token in the variable that GitLab's and other tools' documentation names.
fn foreign_token(environment: &Environment) -> Option<Zeroizing<String>> {
    let names = ["SIGSTORE_ID_TOKEN", "SIGSTORE_IDENTITY_TOKEN"];
    let token = names.iter().find_map(|name| environment.get(name))?;
    Some(Zeroizing::new(token.to_str()?.to_owned()))
}

/// Absolute now: training may change its working directory.
fn absolute(value: &OsStr) -> Option<PathBuf> {
    std::path::absolute(value).ok()
}

/// A folder of this user: `inside` the one of the XDG variable `name`, which is `default` in the home folder where it is
/// not set (XDG base directory specification).
fn home(environment: &Environment, name: &str, default: &str, inside: &str) -> Option<PathBuf> {
    let folder = environment.get(name).map(PathBuf::from);
    let folder = folder.or_else(|| Some(Path::new(environment.get("HOME")?).join(default)))?;
    Some(folder.join(inside))
}

/// A whole number of seconds, or of the unit `s`, `m` or `h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    Some(Duration::from_secs(
        number.parse::<u64>().ok()?.checked_mul(unit)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> (Config, Vec<Error>) {
        Config::read(&variables.iter().copied().collect())
    }

    #[test]
    fn a_wrong_value_is_named_and_the_default_stays() {
        for (variable, value) in [
            ("MODEL_SIGNING_MODE", "Background"),
            ("MODEL_SIGNING_ON_ERROR", "yes"),
            ("MODEL_SIGNING_THREADS", "0"),
            ("MODEL_SIGNING_DRAIN_TIMEOUT", "1d"),
            ("MODEL_SIGNING_LOG_LEVEL", "verbose"),
        ] {
            let (config, errors) = read(&[(variable, value)]);
            let [error] = errors.as_slice() else {
                panic!("{variable}")
            };
            assert!(
                error.to_string().contains(variable) && error.to_string().contains(value),
                "{error}"
            );
            assert_eq!(
                (config.mode, config.on_error),
                (Mode::Background, OnError::Warn)
            );
        }
    }

    #[test]
    fn a_trust_config_goes_before_a_public_instance() {
        let instance = |variables: &[(&str, &str)]| read(variables).0.keyless.instance;
        let staging = ("MODEL_SIGNING_INSTANCE", "staging");
        assert_eq!(instance(&[]), Instance::Production);
        assert_eq!(instance(&[staging]), Instance::Staging);
        let trust = ("MODEL_SIGNING_TRUST_CONFIG", "/trust.json");
        assert_eq!(
            instance(&[trust, staging]),
            Instance::TrustConfig("/trust.json".into())
        );
    }

    #[test]
    fn an_empty_value_is_not_set() {
        let (config, errors) = read(&[
            ("MODEL_SIGNING_MODE", ""),
            ("MODEL_SIGNING_PRIVATE_KEY", ""),
        ]);
        assert!(errors.is_empty() && config.private_key.is_none());
    }

    #[test]
    fn spool_follows_the_environment() {
        let spool = |variables: &[(&str, &str)]| read(variables).0.spool;
        assert_eq!(spool(&[]), None);
        assert_eq!(
            spool(&[("HOME", "/h")]),
            Some("/h/.local/state/model-signing/spool".into())
        );
        assert_eq!(
            spool(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]),
            Some("/s/model-signing/spool".into())
        );
        assert_eq!(
            spool(&[("HOME", "/h"), ("MODEL_SIGNING_SPOOL", "off")]),
            None
        );
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        for wrong in ["", "s", "-1s", "1.5s", "5 m", "18446744073709551615h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }
}
