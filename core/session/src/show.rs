//! How much of the value of a setting may be shown.

use std::ffi::OsStr;

use autosign_signing::TokenCommand;

/// In the place of what must not be shown.
const HIDDEN: &str = "***";
const SCHEME: &str = "pkcs11:";

/// How much of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// All of it.
    Whole,
    /// A program, and how many arguments it gets.
    Command,
    /// A path; a PKCS#11 URI without what may hold the PIN.
    Key,
    /// A URL without user and query.
    Url,
    /// Nothing: it is a secret.
    Hidden,
}

impl Show {
    /// What may be shown of `value`.
    pub(crate) fn of(self, value: &OsStr) -> String {
        match self {
            Self::Whole => value.to_string_lossy().into_owned(),
            Self::Command => command(value),
            Self::Key => {
                let text = value.to_string_lossy();
                uri_shown(&text).unwrap_or_else(|| text.into_owned())
            }
            Self::Url => url(value),
            Self::Hidden => HIDDEN.to_owned(),
        }
    }
}

/// A PKCS#11 URI up to where a PIN could stand; nothing where it is none.
pub(crate) fn uri_shown(text: &str) -> Option<String> {
    let scheme = text.get(..SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) {
        return None;
    }
    let mut shown = text.split('?').next().unwrap_or_default();
    // In a wrong place it is a PIN as well.
    let lower = shown.to_ascii_lowercase();
    let pins = [":pin", ";pin", "&pin"].iter();
    if let Some(at) = pins.filter_map(|pin| lower.find(pin)).min() {
        shown = shown.get(..=at).unwrap_or_default();
    }
    let rest = if shown.len() < text.len() { "…" } else { "" };
    Some(format!("{shown}{rest}"))
}

/// A URL without its query, and without the user before its host: both may hold a secret.
fn url(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let address = text.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let shown = match authority.rfind('@') {
        Some(at) => format!("…{}", rest.get(at..).unwrap_or_default()),
        None => rest.to_owned(),
    };
    let query = if address.len() < text.len() {
        "?…"
    } else {
        ""
    };
    format!("{scheme}{shown}{query}")
}

/// A command without its arguments.
fn command(value: &OsStr) -> String {
    let command = TokenCommand::parse(&value.to_string_lossy());
    command.map_or_else(|_| HIDDEN.to_owned(), |command| command.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_what_may_be_secret() {
        for (text, shown) in [
            ("https://a.example/b", "https://a.example/b"),
            (
                "https://a.example/b?key=sesame&aud={audience}",
                "https://a.example/b?…",
            ),
            ("https://a.example/b#sesame?x", "https://a.example/b?…"),
            ("https://me:sesame@a.example/b@c", "https://…@a.example/b@c"),
            ("https://me:ses@me@a.example?x", "https://…@a.example?…"),
            ("me:sesame@a.example", "…@a.example"),
            ("", ""),
        ] {
            assert_eq!(url(OsStr::new(text)), shown, "{text}");
        }
    }

    #[test]
    fn a_key_is_shown_without_its_pin() {
        for (text, shown) in [
            ("/keys/own.pem?pin-value=1", "/keys/own.pem?pin-value=1"),
            ("pkcs11:token=a;object=b", "pkcs11:token=a;object=b"),
            (
                "pkcs11:token=a;object=b?pin-value=73550608&module-name=m",
                "pkcs11:token=a;object=b…",
            ),
            ("PKCS11:object=b;pin-value=73550608", "PKCS11:object=b;…"),
            ("pkcs11:object=b&PIN-value=73550608", "pkcs11:object=b&…"),
            ("pkcs11:pin=73550608;object=b", "pkcs11:…"),
            (
                "pkcs11:token=Spin;object=b?x=y",
                "pkcs11:token=Spin;object=b…",
            ),
            ("pkcs11", "pkcs11"),
        ] {
            assert_eq!(Show::Key.of(OsStr::new(text)), shown, "{text}");
        }
    }

    #[test]
    fn a_command_is_shown_without_its_arguments() {
        for (text, shown) in [
            ("/bin/token", "/bin/token (0 arguments)"),
            (
                "'/my dir/token' --password='open sesame'",
                "/my dir/token (1 argument)",
            ),
            ("token -p sesame", "token (2 arguments)"),
            ("token 'sesame", "***"),
            ("", "***"),
        ] {
            assert_eq!(command(OsStr::new(text)), shown, "{text}");
        }
    }
}
