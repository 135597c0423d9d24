//! The table of settings: one row each feeds the parser, `model-signing env` and the reference page.

mod identity;
mod instance;
mod keys;
mod saving;
mod seeing;

use autosign_signing::is_secret;

use crate::show::{Show, uri_shown};
use crate::{Config, Value};

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
    pub fn shown(&self, value: &Value) -> String {
        self.show.of(value)
    }

    /// Whether nothing of it may be shown.
    pub(crate) fn is_secret(&self) -> bool {
        self.show == Show::Hidden
    }

    /// Which secret is in `text`, if any: what must be in no file that others read.
    pub(crate) fn secret_in(&self, text: &str) -> Option<&'static str> {
        if is_secret(text) {
            return Some("a private key or a token, which belongs into a file of its own");
        }
        let pin = self.show == Show::Key
            && uri_shown(text).is_some()
            && text.to_ascii_lowercase().contains("pin-value");
        pin.then_some("a PIN, which belongs into a file of its own: pin-source names it")
    }
}

/// Every setting, by what it is about, in the order of the reference page.
pub static SETTINGS: &[(&str, &[Setting])] = &[
    ("What is signed, and when", saving::ROWS),
    ("Who signs", keys::ROWS),
    ("Identity", identity::ROWS),
    ("The Sigstore instance", instance::ROWS),
    ("What is said", seeing::ROWS),
];

/// Every setting.
pub fn every_setting() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().flat_map(|(_, rows)| *rows)
}

/// How alike two names must be for one to be a slip for the other, from 0 to 1.
const ALIKE: f64 = 0.7;

/// The row of `variable`.
pub(crate) fn setting(variable: &str) -> Option<&'static Setting> {
    every_setting().find(|setting| setting.variable == variable)
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
    let all = every_setting().map(|setting| (alike(setting), setting));
    let best = all.max_by(|(one, _), (other, _)| one.total_cmp(other));
    best.filter(|(alike, _)| *alike >= ALIKE)
        .map(|(_, setting)| setting.variable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Environment, Settings};
    use autosign_signing::Sources;

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
        let row = every_setting();
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
