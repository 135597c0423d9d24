//! How much of the value of a setting may be shown.

use std::ffi::OsStr;
use std::path::Path;

use autosign_signing::{TokenCommand, as_far_as_there, url_shown, without_secrets};

use crate::{Origin, Value};

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
    /// A path; a PKCS#11 URI without what may hold the PIN; of a key nothing.
    Key,
    /// A path.
    Path,
    /// The path of a file that holds a secret, as far as it is there: it may be the secret itself.
    SecretFile,
    /// A URL without user and query.
    Url,
    /// Nothing: it is a secret.
    Hidden,
}

impl Show {
    /// What may be shown of `value`; in no case a key or a token.
    pub(crate) fn of(self, value: &Value) -> String {
        let text = value.text();
        without_secrets(&match self {
            Self::Whole => text.to_string_lossy().into_owned(),
            Self::Command => command(text),
            Self::Key => uri_shown(&text.to_string_lossy()).unwrap_or_else(|| path(value)),
            Self::Path => path(value),
            Self::SecretFile => as_far_as_there(Path::new(&path(value)))
                .display()
                .to_string(),
            Self::Url => url_shown(&text.to_string_lossy()),
            Self::Hidden => HIDDEN.to_owned(),
        })
    }

    /// Whether it is for a path.
    pub(crate) fn is_path(self) -> bool {
        matches!(self, Self::Key | Self::Path | Self::SecretFile)
    }

    /// Whether a secret in `text` is where it belongs.
    pub(crate) fn may_hold(self, text: &str) -> bool {
        match self {
            Self::Command | Self::Hidden | Self::Key => true,
            Self::Url => text.starts_with("http"),
            Self::Path | Self::SecretFile | Self::Whole => false,
        }
    }
}

/// A path as it was written; one in a file, where that leads to.
fn path(value: &Value) -> String {
    let text = value.text().to_string_lossy().into_owned();
    match value.origin() {
        // `off` and `-` are no paths.
        Origin::File(_) | Origin::Locked(_) if !matches!(text.as_str(), "off" | "-") => {
            value.path().map_or(text, |path| path.display().to_string())
        }
        _ => text,
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

/// A URL without what may be secret, and nothing in its place: the user before its host, and its query.
pub(crate) fn address(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split('/').next().unwrap_or_default();
    let user = authority.rfind('@');
    let host = user.and_then(|at| rest.get(at + 1..));
    without_secrets(&host.map_or(url.to_owned(), |host| format!("{scheme}://{host}")))
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
            let value = Value::given(text);
            assert_eq!(Show::Key.of(&value), shown, "{text}");
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
