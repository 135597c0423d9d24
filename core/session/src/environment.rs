//! The process environment as a value: read once, handed down, replaced in tests.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What every setting begins with.
pub(crate) const PREFIX: &str = "MODEL_SIGNING_";

/// Other variables that a setting's default, or a login, depends on.
const OTHERS: [&str; 6] = [
    "BROWSER",
    "HOME",
    "SIGSTORE_IDENTITY_TOKEN",
    "SIGSTORE_ID_TOKEN",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
];

/// The variables that settings are read from. No `Debug`: a password may be among them.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    /// The variables of this process as they are now.
    #[must_use]
    pub fn of_process() -> Self {
        let known = |name: &str| name.starts_with(PREFIX) || OTHERS.contains(&name);
        Self(
            std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .filter(|(name, _)| known(name))
                .collect(),
        )
    }

    /// The value of `name`; an empty one counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0
            .get(name)
            .map(OsString::as_os_str)
            .filter(|value| !value.is_empty())
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Self(
            variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}
