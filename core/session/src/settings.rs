//! The table of settings: one row each feeds the parser, `model-signing env` and the reference page.

use std::ffi::OsStr;
use std::path::PathBuf;

use autosign_signing::{Credentials, Sources};
use zeroize::Zeroizing;

use crate::config::{LogFormat, LogLevel, Method, Mode, OnError};
use crate::selection::globs;
use crate::{Config, Environment, Error, Instance, Sink, values};

/// What every setting begins with.
const PREFIX: &str = "MODEL_SIGNING_";

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
    pub(crate) read: fn(&mut Config, &OsStr) -> Option<()>,
}

impl Setting {
    /// `value` as it may be shown.
    #[must_use]
    pub fn shown(&self, value: &OsStr) -> String {
        if self.secret {
            "***".to_owned()
        } else {
            value.to_string_lossy().into_owned()
        }
    }
}

/// Every setting, in the order of the reference page.
pub static SETTINGS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_MODE",
        values: "background, inline, offline, disabled",
        default: "background",
        about: "Sign after the save has returned, before it returns, elsewhere, or not at all (the import then does nothing). `offline` hashes after the save has returned, leaves the digest in the spool for `model-signing flush`, and asks for no key and no network.",
        secret: false,
        read: |config, value| {
            config.mode = match value.to_str()? {
                "background" => Mode::Background,
                "disabled" => Mode::Disabled,
                "inline" => Mode::Inline,
                "offline" => Mode::Offline,
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
        variable: "MODEL_SIGNING_INCLUDE",
        values: "list of globs",
        default: "",
        about: "Sign only what matches one of these: `*` and `?` stand for anything but `/`, `**` for any folders, `[ab]` for one of these letters. A glob without `/` is for the last name of the saved path, one with `/` for all of it, absolute and without symbolic links.",
        secret: false,
        read: |config, value| {
            config.selection.include = globs(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EXCLUDE",
        values: "list of globs",
        default: "",
        about: "Do not sign what matches one of these, even if it is included.",
        secret: false,
        read: |config, value| {
            config.selection.exclude = globs(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_MIN_SIZE",
        values: "size, such as 4096, 10MB or 1GiB",
        default: "0",
        about: "Do not sign what is smaller, all its files together. Units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.",
        secret: false,
        read: |config, value| {
            config.selection.min_size = values::size(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EVERY",
        values: "number from 1",
        default: "1",
        about: "Sign only each n-th of the saves that one framework makes in one folder, and the last one: that is held until a flush or the program's end.",
        secret: false,
        read: |config, value| {
            config.selection.every = value.to_str()?.parse().ok()?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IGNORE_GIT_PATHS",
        values: "true, false (or 1, 0, yes, no, on, off)",
        default: "true",
        about: "Leave .git, .gitattributes, .github and .gitignore at the top of a folder out of what is signed.",
        secret: false,
        read: |config, value| {
            config.ignore_git_paths = values::boolean(value.to_str()?)?;
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
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_COMMAND",
        values: "words, as for a shell that expands nothing",
        default: "",
        about: "A program that prints a token, or JSON with one in `token`; it finds the audience in MODEL_SIGNING_AUDIENCE and has half a minute.",
        secret: false,
        read: |config, value| {
            config.keyless.command = Some(value.to_str()?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_URL",
        values: "URL",
        default: "",
        about: "A web service that gives a token to a GET request; `{audience}` in it stands for the audience.",
        secret: false,
        read: |config, value| {
            config.keyless.url = Some(value.to_str()?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS",
        values: "NAME: VALUE; NAME: VALUE",
        default: "",
        about: "What that request carries.",
        secret: true,
        read: |config, value| {
            config.keyless.headers = Some(Zeroizing::new(value.to_str()?.to_owned()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_FIELD",
        values: "name, or JSON pointer",
        default: "",
        about: "Where the token is in the answer, if that is JSON.",
        secret: false,
        read: |config, value| {
            config.keyless.field = Some(value.to_str()?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_URL",
        values: "URL",
        default: "",
        about: "Token endpoint of an identity provider of one's own that exchanges the token for one that Fulcio takes (RFC 8693), such as Dex.",
        secret: false,
        read: |config, value| {
            config.keyless.exchange_url = Some(value.to_str()?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_ID",
        values: "text",
        default: "",
        about: "As whom that is asked, and the audience that the token to exchange must be for; else that is MODEL_SIGNING_AUDIENCE.",
        secret: false,
        read: |config, value| {
            config.keyless.exchange_client = Some(value.to_str()?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_SECRET_FILE",
        values: "path",
        default: "",
        about: "A file whose first line is the client's secret.",
        secret: false,
        read: |config, value| {
            config.keyless.exchange_secret_file = Some(absolute(value)?);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CONNECTOR",
        values: "text",
        default: "",
        about: "The connector of Dex that judges the token to exchange.",
        secret: false,
        read: |config, value| {
            config.keyless.exchange_connector = Some(value.to_str()?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SPIFFE_ID",
        values: "spiffe:// URI",
        default: "",
        about: "Which identity to sign as where the SPIFFE agent gives several; else the first.",
        secret: false,
        read: |_, value| value.to_str().map(drop),
    },
    Setting {
        variable: "MODEL_SIGNING_VAULT_ROLE",
        values: "text",
        default: "",
        about: "The role of Vault's identity secrets engine that issues tokens, whose client id is the audience; with $VAULT_ADDR and $VAULT_TOKEN or ~/.vault-token.",
        secret: false,
        read: |_, value| value.to_str().map(drop),
    },
    Setting {
        variable: "MODEL_SIGNING_CREDENTIALS",
        values: "auto, or a list of file, env, exec, http, github, gitlab, buildkite, circleci, kubernetes, kubernetes-api, spiffe, gcp-impersonation, gcp, aws, azure, vault",
        default: "auto",
        about: "Where tokens may come from. `auto`: from the settings above, where one is set, else from what the job finds where it runs, asked in the order of this list. A list names sources and their order; `-NAME` leaves one out.",
        secret: false,
        read: |config, value| {
            let given = ["file", "env", "exec", "http"];
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
            config.drain_timeout = values::duration(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_LOG_LEVEL",
        values: "debug, info, warning, off",
        default: "info",
        about: "Lines on stderr: with `info` one for each signed checkpoint, with `debug` also one for each that was passed over, or replaced or removed before, with `warning` only what went wrong.",
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
    Setting {
        variable: "MODEL_SIGNING_LOG_FORMAT",
        values: "text, json",
        default: "text",
        about: "What those lines look like: for people, or JSON as for MODEL_SIGNING_EVENTS.",
        secret: false,
        read: |config, value| {
            config.log_format = match value.to_str()? {
                "json" => LogFormat::Json,
                "text" => LogFormat::Text,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EVENTS",
        values: "path, or - for stdout",
        default: "",
        about: "File that every event is appended to, whatever the log level is, one JSON object a line ([fields](events.md)).",
        secret: false,
        read: |config, value| {
            config.events = Some(if value == "-" {
                Sink::Stdout
            } else {
                Sink::File(absolute(value)?)
            });
            Some(())
        },
    },
];

/// How alike two names must be for one to be a slip for the other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// What looks like a setting and is none, such as a name with a slip in it.
#[must_use]
pub fn unknown_settings(environment: &Environment) -> Vec<Error> {
    let known = |name: &str| SETTINGS.iter().any(|setting| setting.variable == name);
    let names = environment.iter().map(|(name, _)| name);
    let unknown = names.filter(|name| name.starts_with(PREFIX) && !known(name));
    unknown
        .map(|name| Error::UnknownSetting {
            variable: name.to_owned(),
            nearest: nearest(name),
        })
        .collect()
}

fn nearest(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix(PREFIX)?;
    let letters = |name: &str| name.replace('_', "");
    let alike = |setting: &Setting| {
        let other = setting.variable.strip_prefix(PREFIX).unwrap_or_default();
        let alike = strsim::normalized_damerau_levenshtein(name, other);
        // `TOKENFILE` for `IDENTITY_TOKEN_FILE`: the first words are easily left out.
        let short = name.len() >= 6 && letters(other).ends_with(&letters(name));
        if short { alike.max(ALIKE) } else { alike }
    };
    let all = SETTINGS.iter().map(|setting| (alike(setting), setting));
    let best = all.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(alike, _)| *alike >= ALIKE)
        .map(|(_, setting)| setting.variable)
}

/// Absolute now: training may change its working directory.
fn absolute(value: &OsStr) -> Option<PathBuf> {
    std::path::absolute(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_with_what_was_meant() {
        let environment = Environment::from_iter([
            ("MODEL_SIGNING_MODE", "inline"),
            ("MODEL_SIGNING_INDENTITY_TOKEN_FILE", "/token"),
            ("MODEL_SIGNING_EXPECTED_IDENTITY", "alice"),
            ("MODEL_SIGNING_FLAVOUR", "vanilla"),
            ("MODEL_SIGNING_TOKENFILE", "/token"),
            ("MODEL_SIGNED", "1"),
        ]);
        let told: Vec<_> = unknown_settings(&environment)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            told,
            [
                "MODEL_SIGNING_EXPECTED_IDENTITY is not a setting: did you mean MODEL_SIGNING_EXPECT_IDENTITY?",
                "MODEL_SIGNING_FLAVOUR is not a setting",
                "MODEL_SIGNING_INDENTITY_TOKEN_FILE is not a setting: did you mean MODEL_SIGNING_IDENTITY_TOKEN_FILE?",
                "MODEL_SIGNING_TOKENFILE is not a setting: did you mean MODEL_SIGNING_IDENTITY_TOKEN_FILE?",
            ]
        );
    }

    #[test]
    fn every_source_is_named_in_the_table() {
        let row = SETTINGS.iter();
        let row = row.filter(|row| row.variable == "MODEL_SIGNING_CREDENTIALS");
        let values: Vec<_> = row.map(|row| row.values).collect();
        let names = ["file", "env", "exec", "http"].into_iter();
        let names: Vec<_> = names.chain(Sources::names()).collect();
        assert_eq!(values, [format!("auto, or a list of {}", names.join(", "))]);
    }

    #[test]
    fn a_guard_that_cannot_be_read_lets_nobody_sign() {
        let environment = Environment::from_iter([("MODEL_SIGNING_EXPECT_IDENTITY", "re:(")]);
        let (config, errors) = Config::read(&environment);
        assert_eq!(errors.len(), 1);
        assert!(config.keyless.guard().is_err());
    }
}
