//! How the value of a setting is read, and how it may be shown.

use std::ffi::OsStr;
use std::time::Duration;

use autosign_signing::{Rate, TokenCommand};

use crate::{RateLimit, Value};

/// In the place of what must not be shown.
const HIDDEN: &str = "***";

/// A value that is text.
pub(crate) fn text(value: &Value) -> Option<String> {
    value.to_str().map(str::to_owned)
}

/// A whole number of seconds, or of the unit `s`, `m` or `h`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
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

/// `off`, or a number from 1 and the unit `s`, `min` or `h`.
pub(crate) fn rate(text: &str) -> Option<RateLimit> {
    if text == "off" {
        return Some(RateLimit::Off);
    }
    let (count, unit) = text.split_once('/')?;
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 3600,
        _ => return None,
    };
    Rate::new(count.parse().ok()?, Duration::from_secs(seconds)).map(RateLimit::Any)
}

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
    fn durations() {
        assert_eq!(duration("90"), Some(Duration::from_secs(90)));
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(duration("2h"), Some(Duration::from_secs(7200)));
        for wrong in ["", "s", "-1s", "1.5s", "5 m", "18446744073709551615h"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("off"), Some(RateLimit::Off));
        for (text, count, seconds) in [("5/s", 5, 1), ("30/min", 30, 60), ("1/h", 1, 3600)] {
            let expected = Rate::new(count, Duration::from_secs(seconds)).map(RateLimit::Any);
            assert_eq!(rate(text), expected, "{text}");
        }
        for wrong in [
            "", "30", "0/min", "-1/s", "1.5/s", "30/m", "30 / min", "/s", "Off",
        ] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

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
