//! What services, programs and people say, made fit for an error message: without private keys and tokens.

use std::ops::Range;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;

/// How the base64 of a PEM text begins.
const PEM_IN_BASE64: &str = "LS0tLS1CRUdJTi";
/// No key fits in fewer characters of base64.
const SHORTEST_KEY: usize = 60;
/// Neither does a part of a token that holds a JSON object.
const SHORTEST_PART: usize = 8;

/// Whether a private key or a token is in `text`, where something else was asked for.
#[must_use]
pub fn is_secret(text: &str) -> bool {
    next_secret(text).is_some()
}

/// `text` with a word in the place of every private key (PEM, or its base64) and every token (JWT).
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let mut clean = String::new();
    let mut rest = text;
    while let Some((at, word)) = next_secret(rest) {
        clean.push_str(rest.get(..at.start).unwrap_or_default());
        clean.push_str(word);
        rest = rest.get(at.end..).unwrap_or_default();
    }
    clean.push_str(rest);
    clean
}

/// A URL without its query, and without the user before its host: both may hold a secret, as a token in its path does.
#[must_use]
pub fn url_shown(url: &str) -> String {
    let address = url.split(['?', '#']).next().unwrap_or_default();
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let shown = match authority.rfind('@') {
        Some(at) => format!("…{}", rest.get(at..).unwrap_or_default()),
        None => rest.to_owned(),
    };
    let query = if address.len() < url.len() {
        "?…"
    } else {
        ""
    };
    without_secrets(&format!("{scheme}{shown}{query}"))
}

/// `path` as far as it is there. What names no file may be the secret that belongs into one.
#[must_use]
pub fn as_far_as_there(path: &Path) -> PathBuf {
    let mut there = path.ancestors();
    match there.find(|folder| folder.symlink_metadata().is_ok()) {
        Some(whole) if whole == path => path.to_owned(),
        Some(folder) => folder.join("…"),
        None => "…".into(),
    }
}

/// Where the first secret is, and the word for it.
fn next_secret(text: &str) -> Option<(Range<usize>, &'static str)> {
    let key = || Some((pem_key(text).or_else(|| bare_key(text))?, "[private key]"));
    let token = || Some((token(text)?, "[token]"));
    let all = [key(), token()].into_iter().flatten();
    all.min_by_key(|(at, _)| at.start)
}

/// A PEM text, whose line ends may be escaped; without an end it is all that follows.
fn pem_key(text: &str) -> Option<Range<usize>> {
    const BEGIN: &str = "-----BEGIN ";
    const END: &str = "-----END ";
    let mut from = 0;
    loop {
        let start = from + text.get(from..)?.find(BEGIN)?;
        let tag = text.get(start + BEGIN.len()..)?;
        let tag = tag.split("--").next().unwrap_or(tag);
        if tag.contains("PRIVATE KEY") {
            let end = text.get(start..)?.find(END).map(|end| start + end);
            let end = end.and_then(|end| {
                let tag = end + END.len();
                Some(tag + text.get(tag..)?.find("-----")? + "-----".len())
            });
            return Some(start..end.unwrap_or(text.len()));
        }
        from = start + BEGIN.len();
    }
}

/// The base64 of a private key (RFC 5915, RFC 5958) or of its PEM text, on one line or several.
fn bare_key(text: &str) -> Option<Range<usize>> {
    let mut from = 0;
    while let Some(rest) = text.get(from..).filter(|rest| !rest.is_empty()) {
        let start = from + rest.find(is_base64)?;
        let length = text.get(start..)?.find(|c| !is_base64(c));
        let end = length.map_or(text.len(), |length| start + length);
        let run = text.get(start..end)?;
        // A folder may stand before it, as base64 has a `/` of its own.
        let starts = std::iter::once(0).chain(run.match_indices('/').map(|(at, _)| at + 1));
        let begins = |at: &usize| run.get(*at..).is_some_and(begins_key);
        if let Some(at) = starts.into_iter().find(begins) {
            let body = |c: char| is_base64(c) || c.is_whitespace() || c == '\\';
            let length = text.get(start + at..)?.find(|c| !body(c));
            return Some(start + at..length.map_or(text.len(), |length| start + at + length));
        }
        from = end;
    }
    None
}

fn is_base64(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=')
}

fn begins_key(run: &str) -> bool {
    if run.len() < SHORTEST_KEY {
        return false;
    }
    let head = run.get(..12).unwrap_or_default();
    let head = BASE64_STANDARD_NO_PAD.decode(head).unwrap_or_default();
    // SEQUENCE { INTEGER 0 or 1, ..., and where it is encrypted SEQUENCE { SEQUENCE { OBJECT IDENTIFIER, ...
    let content = match head.as_slice() {
        [0x30, 0x82, _, _, content @ ..] | [0x30, 0x81, _, content @ ..] => content,
        [0x30, length, content @ ..] if *length < 0x80 => content,
        _ => &[],
    };
    run.starts_with(PEM_IN_BASE64) || matches!(content, [2, 1, 0 | 1, ..] | [0x30, _, 6, 9, ..])
}

/// A JWT: three parts, the first two JSON objects in base64url.
fn token(text: &str) -> Option<Range<usize>> {
    let part = |text: &str| {
        let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_')));
        end.unwrap_or(text.len())
    };
    text.match_indices("eyJ").find_map(|(start, _)| {
        let header = part(text.get(start..)?);
        let claims = text.get(start + header..)?.strip_prefix('.')?;
        if header < SHORTEST_PART || !claims.starts_with("ey") {
            return None;
        }
        let end = start + header + 1 + part(claims);
        let signature = text.get(end..)?.strip_prefix('.').map(part);
        Some(start..end + signature.map_or(0, |signature| 1 + signature))
    })
}

/// `text` without control characters and without any run that looks like a JWT: three parts, the first two JSON objects
/// in base64url.
pub(crate) fn redacted(text: &str) -> String {
    let parts = text.split_inclusive(|c: char| {
        !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '='))
    });
    let mut clean = String::with_capacity(text.len());
    for part in parts {
        let run = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if run.contains("eyJ") {
            clean.push_str("[token]");
            clean.push_str(part.get(run.len()..).unwrap_or_default());
        } else {
            clean.push_str(part);
        }
    }
    clean.retain(|c| !c.is_control());
    clean
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_token_is_not_repeated() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzIn0.c2ln";
        for text in [
            format!("bad token {jwt}"),
            format!("{{\"token\":\"{jwt}\"}}"),
            format!("a=b&token={jwt}&c=d"),
            format!("x{jwt}"),
            jwt[..20].to_owned(),
        ] {
            let clean = redacted(&text);
            assert!(!clean.contains("eyJ") && !clean.contains("c2ln"), "{clean}");
        }
        assert_eq!(
            redacted("code 3: not\x1b[2J found."),
            "code 3: not[2J found."
        );
    }

    /// The lines of the test keys, without those that say what they are.
    fn keys() -> Vec<String> {
        let keys = [
            "p256.pem",
            "p384.sec1.pem",
            "p521.pem",
            "p256.encrypted.pem",
            "rsa.pem",
        ];
        let read = |name| std::fs::read_to_string(format!("tests/keys/{name}"));
        keys.into_iter().flat_map(read).collect()
    }

    #[test]
    fn a_private_key_is_known_in_every_form() {
        let keys = keys();
        assert!(keys.len() > 3);
        for key in keys {
            let lines: Vec<_> = key.lines().filter(|line| !line.contains("---")).collect();
            let forms = [
                key.clone(),
                key.trim().replace('\n', "\\n"),
                key.replace('\n', " "),
                lines.concat(),
                lines.join("\n"),
                BASE64_STANDARD_NO_PAD.encode(&key),
                key.split("-----END").next().unwrap_or_default().to_owned(),
            ];
            for form in forms {
                for text in [
                    form.clone(),
                    format!("cannot read {form:?}: No such file"),
                    format!("/work/folder/{form}"),
                ] {
                    let clean = without_secrets(&text);
                    let leak = lines.iter().find(|line| clean.contains(*line));
                    assert!(is_secret(&text) && leak.is_none(), "{clean}");
                    assert!(clean.contains("[private key]"), "{clean}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays_as_it_is() {
        let public = std::fs::read_to_string("tests/keys/p256.pub.pem").unwrap();
        let deep = format!("/home/me/{}/model.safetensors", "abc123".repeat(20));
        for text in [
            "/home/me/keyJar/model.pt",
            "https://a.example/b?c=d",
            "/data/models--org--name/snapshots/86b5e0934494bd15c9632b12f734a8a67f723594/a",
            "MIGHTY",
            deep.as_str(),
            public.as_str(),
            "",
        ] {
            assert_eq!(without_secrets(text), text);
        }
    }

    #[test]
    fn a_token_is_known_within_a_text() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzIn0.c2ln";
        assert_eq!(
            without_secrets(&format!("/x/{jwt}/{jwt}.sig")),
            "/x/[token]/[token].sig"
        );
        assert_eq!(
            without_secrets(&format!("token --is={jwt}")),
            "token --is=[token]"
        );
        assert!(!is_secret("eyJ.eyJ.x"));
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
            assert_eq!(url_shown(text), shown, "{text}");
        }
    }

    #[test]
    fn a_path_is_shown_as_far_as_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, "sesame").unwrap();
        assert_eq!(as_far_as_there(&file), file);
        for name in ["hunter2", "a/b/c", "password/x"] {
            let shown = as_far_as_there(&folder.path().join(name));
            assert!(!shown.ends_with(name) && shown.ends_with("…"), "{shown:?}");
        }
        assert_eq!(as_far_as_there("hunter2".as_ref()), Path::new("…"));
    }
}
