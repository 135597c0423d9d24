//! Values as people write them: sizes, durations, rates, yes and no.

use std::time::Duration;

use autosign_signing::{MAX_RUN_BYTES, Rate};

use crate::RateLimit;

/// Units of size, the largest of each kind last.
const DECIMAL: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
const BINARY: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

/// `bytes` in the largest decimal unit of which there is one, rounded down to a tenth.
pub(crate) fn size_text(bytes: u64) -> String {
    let mut unit = "B";
    let mut whole = bytes;
    let mut rest = 0;
    for larger in &DECIMAL[1..] {
        if whole < 1000 {
            break;
        }
        (rest, whole, unit) = (whole % 1000 / 100, whole / 1000, larger);
    }
    if unit == "B" {
        format!("{whole} B")
    } else {
        format!("{whole}.{rest} {unit}")
    }
}

/// Bytes: a whole number and a unit, with nothing between them. No unit is bytes.
pub(crate) fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let power = |units: [&str; 5]| {
        let power = units.iter().position(|known| *known == unit)?;
        u32::try_from(power).ok()
    };
    let bytes = match (power(DECIMAL), power(BINARY)) {
        _ if unit.is_empty() => 1,
        (Some(power), _) => 1000_u64.pow(power),
        (None, Some(power)) => 1024_u64.pow(power),
        (None, None) => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// The name of a run: 1 to [`MAX_RUN_BYTES`] bytes that move no cursor; nothing for any other text.
#[must_use]
pub fn run_name(text: &str) -> Option<&str> {
    let good = (1..=MAX_RUN_BYTES).contains(&text.len()) && !text.contains(char::is_control);
    good.then_some(text)
}

/// A whole number of seconds, or of the unit `s`, `m`, `h` or `d`; nothing for any other text.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(autosign_session::duration("2d"), Some(Duration::from_secs(172_800)));
/// ```
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h', 'd']) {
        Some(number) if text.ends_with('m') => (number, 60),
        Some(number) if text.ends_with('h') => (number, 3600),
        Some(number) if text.ends_with('d') => (number, 24 * 3600),
        Some(number) => (number, 1),
        None => (text, 1),
    };
    Some(Duration::from_secs(
        number.parse::<u64>().ok()?.checked_mul(unit)?,
    ))
}

pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Some(true),
        "0" | "false" | "no" | "off" => Some(false),
        _ => None,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_written() {
        assert_eq!(size_text(0), "0 B");
        assert_eq!(size_text(999), "999 B");
        assert_eq!(size_text(1_000), "1.0 kB");
        assert_eq!(size_text(1_250_000), "1.2 MB");
        assert_eq!(size_text(3_999_999_999), "3.9 GB");
    }

    #[test]
    fn sizes_read() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("7B", 7),
            ("1kB", 1000),
            ("10MB", 10_000_000),
            ("2GB", 2_000_000_000),
            ("3TB", 3_000_000_000_000),
            ("1KiB", 1024),
            ("1MiB", 1 << 20),
            ("1GiB", 1 << 30),
            ("16TiB", 1 << 44),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for wrong in [
            "",
            "B",
            "MB",
            "-1",
            "+1",
            "1.5GB",
            "1 MB",
            "1mb",
            "1KB",
            "1M",
            "1MBs",
            "MB1",
            "1MB1",
            "0x10",
            "1e3",
            " 1",
            "1 ",
            "18446744073709551616",
            "18446744073709551615kB",
        ] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
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

    #[test]
    fn booleans() {
        for (text, value) in [
            ("1", true),
            ("True", true),
            ("YES", true),
            ("on", true),
            ("0", false),
            ("false", false),
            ("No", false),
            ("off", false),
        ] {
            assert_eq!(boolean(text), Some(value), "{text}");
        }
        for wrong in ["", "2", "y", "enabled", "true "] {
            assert_eq!(boolean(wrong), None, "{wrong}");
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
}
