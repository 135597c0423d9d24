//! How much of the value of a setting may be shown.

use std::ffi::OsStr;

use autosign_signing::TokenCommand;

/// In the place of what must not be shown.
const HIDDEN: &str = "***";

/// How much of a value may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Show {
    /// All of it.
    Whole,
    /// A program, and how many arguments it gets.
    Command,
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
            Self::Url => url(value),
            Self::Hidden => HIDDEN.to_owned(),
        }
    }
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
