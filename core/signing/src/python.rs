//! JSON that Python's `json` writes and reads, and RFC 8259 does not know: numbers that are none, and halves of characters.

const REPLACEMENT: &[u8; 4] = b"fffd";

/// Makes JSON of `text` by writing over what is none, in its place: 0 over `NaN` and `Infinity`, U+FFFD over what stands for
/// half a character (a lone surrogate). All else stays, be it JSON or not.
pub(crate) fn tame(text: &mut [u8]) {
    let mut rest = text;
    while let Some(first) = rest.first() {
        let taken = match first {
            b'"' => string(rest),
            b'N' => number(rest, b"NaN"),
            b'I' => number(rest, b"Infinity"),
            _ => 1,
        };
        rest = rest.get_mut(taken..).unwrap_or_default();
    }
}

/// How many bytes are done with: `word`, if they begin with it.
fn number(text: &mut [u8], word: &[u8]) -> usize {
    if !text.starts_with(word) {
        return 1;
    }
    for (at, byte) in text.iter_mut().take(word.len()).enumerate() {
        *byte = if at == 0 { b'0' } else { b' ' };
    }
    word.len()
}

/// How many bytes the string has with which they begin.
fn string(text: &mut [u8]) -> usize {
    let mut at = 1;
    loop {
        let rest = text.get_mut(at..).unwrap_or_default();
        at += match rest {
            [] => return at,
            [b'"', ..] => return at + 1,
            [b'\\', b'u', ..] => escape(rest),
            [b'\\', ..] => 2,
            _ => 1,
        };
    }
}

/// How many bytes `\uXXXX` has, or two of them that are one character.
fn escape(text: &mut [u8]) -> usize {
    match (unit(text), unit(text.get(6..).unwrap_or_default())) {
        (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
        (Some(0xd800..=0xdfff), _) => {
            if let Some(digits) = text.get_mut(2..6) {
                digits.copy_from_slice(REPLACEMENT);
            }
            6
        }
        _ => 2,
    }
}

/// The number of the `\uXXXX` with which `text` begins.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_becomes_some_and_all_else_stays() {
        for (text, expected) in [
            (
                r#"{"a": NaN, "b": [-Infinity,Infinity]}"#,
                r#"{"a": 0  , "b": [-0       ,0       ]}"#,
            ),
            (
                r#"{"NaN": "\"NaN", "Infinity\\": 1}"#,
                r#"{"NaN": "\"NaN", "Infinity\\": 1}"#,
            ),
            (r#""\ud800""#, r#""\ufffd""#),
            (
                r#""\uDFFFx\ud83d\ude00\u00e9""#,
                r#""\ufffdx\ud83d\ude00\u00e9""#,
            ),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\\ud800\\\ud800""#, r#""\\ud800\\\ufffd""#),
            (r#"["\u12", "\u+123", NaN"#, r#"["\u12", "\u+123", 0  "#),
            (r#""\ud80"#, r#""\ud80"#),
            ("\"\\", "\"\\"),
            ("Na Inf \u{e9}", "Na Inf \u{e9}"),
            ("", ""),
        ] {
            let mut tamed = text.as_bytes().to_vec();
            tame(&mut tamed);
            assert_eq!(String::from_utf8(tamed).unwrap(), expected, "{text}");
        }
    }
}
