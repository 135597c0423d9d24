//! The table of settings: one row each feeds the parser, `model-signing env` and the reference page.

use std::ffi::OsStr;

use autosign_signing::{Credentials, Sources, SubjectType};
use zeroize::Zeroizing;

use crate::config::{LogLevel, Method, Mode, OnError};
use crate::values::{Show, duration, rate, text};
use crate::{Config, Instance, Value};

/// What every setting begins with.
pub(crate) const PREFIX: &str = "MODEL_SIGNING_";

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
    /// What of its value may be shown.
    pub(crate) show: Show,
    /// Takes the value; nothing where it is none of `values`.
    pub(crate) read: fn(&mut Config, &Value) -> Option<()>,
}

impl Setting {
    /// `value` as it may be shown.
    #[must_use]
    pub fn shown(&self, value: &OsStr) -> String {
        self.show.of(value)
    }

    /// Whether nothing of it may be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.show == Show::Hidden
    }
}

/// Every setting, in the order of the reference page.
pub static SETTINGS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_MODE",
        values: "background, inline, disabled",
        default: "background",
        about: "Sign after the save has returned, before it returns, or not at all (the import then does nothing).",
        show: Show::Whole,
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
        show: Show::Whole,
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
        show: Show::Whole,
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
        show: Show::Whole,
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
        show: Show::Whole,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.token_file = Some(path))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN",
        values: "text",
        default: "$SIGSTORE_ID_TOKEN",
        about: "The token itself, if there is no file; $SIGSTORE_IDENTITY_TOKEN is read, too. A file is the better place: it can be renewed, and child processes inherit the environment.",
        show: Show::Hidden,
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
        show: Show::Command,
        read: |config, value| text(value).map(|text| config.keyless.command = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_URL",
        values: "URL",
        default: "",
        about: "A web service that gives a token to a GET request; `{audience}` in it stands for the audience.",
        show: Show::Url,
        read: |config, value| text(value).map(|text| config.keyless.url = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS",
        values: "NAME: VALUE; NAME: VALUE",
        default: "",
        about: "What that request carries.",
        show: Show::Hidden,
        read: |config, value| {
            config.keyless.headers = Some(Zeroizing::new(value.to_str()?.to_owned()));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS_FILE",
        values: "path",
        default: "",
        about: "A file with them instead, on one line or several, read again for every token. The better place: child processes inherit the environment.",
        show: Show::Whole,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.headers_file = Some(path))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IDENTITY_TOKEN_FIELD",
        values: "name, or JSON pointer",
        default: "",
        about: "Where the token is in the answer, if that is JSON.",
        show: Show::Whole,
        read: |config, value| text(value).map(|text| config.keyless.field = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_URL",
        values: "URL",
        default: "",
        about: "Token endpoint of an identity provider of one's own that exchanges the token for one that Fulcio takes (RFC 8693), such as Dex.",
        show: Show::Url,
        read: |config, value| text(value).map(|text| config.keyless.exchange_url = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_ID",
        values: "text",
        default: "",
        about: "As whom that is asked, and the audience that the token to exchange must be for; else that is MODEL_SIGNING_AUDIENCE.",
        show: Show::Whole,
        read: |config, value| text(value).map(|text| config.keyless.exchange_client = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_SECRET_FILE",
        values: "path",
        default: "",
        about: "A file whose first line is the client's secret.",
        show: Show::Whole,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.exchange_secret_file = Some(path))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_CONNECTOR",
        values: "text",
        default: "",
        about: "The connector of Dex that judges the token to exchange.",
        show: Show::Whole,
        read: |config, value| {
            text(value).map(|text| config.keyless.exchange_connector = Some(text))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TOKEN_EXCHANGE_SUBJECT_TYPE",
        values: "id_token, access_token, jwt",
        default: "id_token",
        about: "What the token to exchange is called (RFC 8693 section 3): Dex takes an ID token, Keycloak an access token of its own.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.exchange_subject_type = match value.to_str()? {
                "access_token" => SubjectType::AccessToken,
                "id_token" => SubjectType::IdToken,
                "jwt" => SubjectType::Jwt,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SPIFFE_ID",
        values: "spiffe:// URI",
        default: "",
        about: "Which identity to sign as where the SPIFFE agent gives several; else the first.",
        show: Show::Whole,
        read: |_, value| value.to_str().map(drop),
    },
    Setting {
        variable: "MODEL_SIGNING_VAULT_ROLE",
        values: "text",
        default: "",
        about: "The role of Vault's identity secrets engine that issues tokens, whose client id is the audience; with $VAULT_ADDR and $VAULT_TOKEN or ~/.vault-token.",
        show: Show::Whole,
        read: |_, value| value.to_str().map(drop),
    },
    Setting {
        variable: "MODEL_SIGNING_CREDENTIALS",
        values: "auto, or a list of file, env, exec, http, github, gitlab, buildkite, circleci, kubernetes, kubernetes-api, spiffe, gcp-impersonation, gcp, aws, azure, vault",
        default: "auto",
        about: "Where tokens may come from. `auto`: from the settings above, where one is set, else from what the job finds where it runs, asked in the order of this list. A list names sources and their order; `-NAME` leaves one out.",
        show: Show::Whole,
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
        show: Show::Whole,
        read: |config, value| {
            // Kept even where it is wrong: then nothing is signed, and not by anybody.
            config.keyless.expected.0 = Some(value.text().to_string_lossy().into_owned());
            config.keyless.guard().ok().map(drop)
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EXPECT_ISSUER",
        values: "text, glob:PATTERN, or re:EXPRESSION",
        default: "",
        about: "The same for the issuer of the token, a URL.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.expected.1 = Some(value.text().to_string_lossy().into_owned());
            config.keyless.guard().ok().map(drop)
        },
    },
    Setting {
        variable: "MODEL_SIGNING_AUDIENCE",
        values: "text",
        default: "sigstore",
        about: "The audience that the token must be for: the client id of the instance's Fulcio. A token for another audience is never sent.",
        show: Show::Whole,
        read: |config, value| text(value).map(|text| config.keyless.audience = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_INSTANCE",
        values: "production, staging, or the URL of a TUF repository",
        default: "production",
        about: "The Sigstore instance to sign with and to believe: a public one, or one that `model-signing trust add` was given.",
        show: Show::Whole,
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
        show: Show::Whole,
        read: |config, value| {
            let path = value.path()?;
            let instance = &mut config.keyless.instance;
            instance.set_file(|files| files.trust_config = Some(path));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TRUSTED_ROOT",
        values: "path",
        default: "",
        about: "The same in the two files that cosign has: its trusted_root.json, with the keys and certificates. Alone it can verify, and not sign.",
        show: Show::Whole,
        read: |config, value| {
            let path = value.path()?;
            let instance = &mut config.keyless.instance;
            instance.set_file(|files| files.trusted_root = Some(path));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SIGNING_CONFIG",
        values: "path",
        default: "",
        about: "And its signing_config.json, with the addresses.",
        show: Show::Whole,
        read: |config, value| {
            let path = value.path()?;
            let instance = &mut config.keyless.instance;
            instance.set_file(|files| files.signing_config = Some(path));
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_REKOR_VERSION",
        values: "auto, 1, 2",
        default: "auto",
        about: "Which version of the log is asked. `auto`: the highest that the instance has and this program speaks.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.rekor_version = match value.to_str()? {
                "auto" => None,
                "1" => Some(1),
                "2" => Some(2),
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TIMESTAMP_URL",
        values: "URL",
        default: "",
        about: "The timestamp authority to ask (RFC 3161) instead of those of the instance. The trusted root must name it, too.",
        show: Show::Url,
        read: |config, value| text(value).map(|text| config.keyless.timestamp_url = Some(text)),
    },
    Setting {
        variable: "MODEL_SIGNING_PUBLIC_LOG",
        values: "allow, deny",
        default: "allow",
        about: "Whether to sign with a public instance, whose log shows the signer's identity, the time and a hash of what was signed to everybody, for ever.",
        show: Show::Whole,
        read: |config, value| {
            // What cannot be read denies: what is public once stays so.
            config.keyless.deny_public_log = value.text() != "allow";
            matches!(value.to_str()?, "allow" | "deny").then_some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_RATE",
        values: "N/s, N/min, N/h, or off",
        default: "30/min",
        about: "How many signatures a session makes, all at once or evenly; what is too much waits. The default holds for the public instances alone, a value for any.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.rate = rate(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_TIMEOUT",
        values: "duration, such as 90s or 5m",
        default: "60s",
        about: "How long the services may take for one signature, all of them together. Waiting for MODEL_SIGNING_RATE, or for a person, does not count.",
        show: Show::Whole,
        read: |config, value| {
            let limit = duration(value.to_str()?).filter(|limit| !limit.is_zero())?;
            config.keyless.timeout = Some(limit);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_RETRIES",
        values: "number from 0",
        default: "4",
        about: "How often a request is tried again that failed for a passing reason.",
        show: Show::Whole,
        read: |config, value| {
            config.keyless.retries = Some(value.to_str()?.parse().ok()?);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_CA_BUNDLE",
        values: "path",
        default: "$SSL_CERT_FILE",
        about: "PEM file with the CA certificates that the services' TLS certificates must come from, instead of those of the web. $REQUESTS_CA_BUNDLE is read, too; of these two what is not there is passed over.",
        show: Show::Whole,
        read: |config, value| {
            value
                .path()
                .map(|path| config.keyless.ca_bundle = Some(path))
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PRIVATE_KEY",
        values: "path",
        default: "",
        about: "The key to sign with: PEM, ECDSA on P-256, P-384 or P-521, SEC 1 or PKCS#8.",
        show: Show::Whole,
        read: |config, value| value.path().map(|path| config.private_key = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_PASSWORD",
        values: "text",
        default: "",
        about: "Opens an encrypted key. A file is the better place: child processes inherit the environment.",
        show: Show::Hidden,
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
        show: Show::Whole,
        read: |config, value| value.path().map(|path| config.password_file = Some(path)),
    },
    Setting {
        variable: "MODEL_SIGNING_THREADS",
        values: "auto, or a number from 1",
        default: "auto",
        about: "Threads that hash. `auto`: one while training goes on, every core while the program waits.",
        show: Show::Whole,
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
        show: Show::Whole,
        read: |config, value| {
            config.spool = if value.text() == "off" {
                None
            } else {
                Some(value.path()?)
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_DRAIN_TIMEOUT",
        values: "duration, such as 90s or 5m",
        default: "120s",
        about: "How long the program's end may wait for signatures. What is left then stays in the spool.",
        show: Show::Whole,
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
        show: Show::Whole,
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
        variable: "MODEL_SIGNING_CONFIG",
        values: "path",
        default: "",
        about: "A configuration file (see below) that goes before those in their usual places.",
        show: Show::Whole,
        read: |_, value| value.path().map(drop),
    },
];

/// How alike two names must be for one to be a slip for the other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// The row of `variable`.
pub(crate) fn setting(variable: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.variable == variable)
}

/// The variable that `key` of a configuration file stands for.
pub(crate) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase())
}

/// The key that stands for `variable` in a configuration file.
pub(crate) fn key_of(variable: &str) -> String {
    variable.trim_start_matches(PREFIX).to_ascii_lowercase()
}

/// The setting that is meant by a name that is none, if it looks like one with a slip in it.
pub(crate) fn nearest(name: &str) -> Option<&'static str> {
    let name = variable_of(&key_of(&name.to_ascii_uppercase()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Settings};

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
        let told: Vec<_> = Settings::from(environment)
            .warnings()
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
        let (config, errors) = Config::read(&environment.into());
        assert_eq!(errors.len(), 1);
        assert!(config.keyless.guard().is_err());
    }
}
