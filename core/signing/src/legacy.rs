//! What upstream 0.2 signed (2025): the files as subjects, with keys and certificates under an encoding of its own, through
//! Sigstore as an envelope like any other. It is read on request alone, and never written.

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::{self, Object};
use crate::statement::{STATEMENT_TYPE, named};
use crate::{Digest, Error, HashAlgorithm, Ignore, Resource, Serialization, Statement};

pub(crate) const PREDICATE_TYPE: &str = "https://model_signing/Digests/v0.1";
/// What 0.2 calls SHA-256 of a file.
const FILE_SHA256: &str = "file-sha256";

/// Whether `payload` says of itself that it is of 0.2.
pub(crate) fn claims(payload: &[u8]) -> bool {
    let kind: Result<Object<Kind<'_>>, _> = serde_json::from_slice(payload);
    kind.is_ok_and(|kind| kind.predicate_type == PREDICATE_TYPE)
}

/// The bytes that a signature of 0.2 covers. It was to be DSSE's encoding; but the name is misspelt, and Python wrote the
/// payload as `b'...'`, as it shows bytes to a person.
pub(crate) fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
    let kind = crate::envelope::IN_TOTO;
    let head = format!("DSSEV1 {} {kind} {} b'", kind.len(), payload.len());
    let mut encoded = head.into_bytes();
    for &byte in payload {
        match byte {
            b'\t' => encoded.extend(b"\\t"),
            b'\n' => encoded.extend(b"\\n"),
            b'\r' => encoded.extend(b"\\r"),
            // Python prefers other quotes where it need not escape; never here, for JSON's own are in the way.
            b'\\' | b'\'' => encoded.extend([b'\\', byte]),
            b' '..=b'~' => encoded.push(byte),
            _ => encoded.extend(format!("\\x{byte:02x}").bytes()),
        }
    }
    encoded.push(b'\'');
    encoded
}

/// Reads a payload of 0.2. It names no model, and says of nothing that it was left out.
pub(crate) fn parse(payload: &[u8]) -> Result<Statement, Error> {
    let Object(wire): Object<Wire<'_>> = json::read("statement", payload)?;
    if wire.kind != STATEMENT_TYPE {
        return Err(Error::StatementType {
            found: wire.kind.into_owned(),
        });
    }
    let resources = wire.subject.iter().map(|subject| subject.parse());
    let resources = resources.collect::<Result<_, _>>()?;
    let manifest = named(String::new(), Serialization::default(), resources)?;
    Ok(Statement::new(manifest, Ignore::default()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind<'a> {
    #[serde(borrow)]
    predicate_type: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, rename = "_type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    subject: Vec<Object<Subject<'a>>>,
}

#[derive(Deserialize)]
struct Subject<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    digest: Object<Sha256<'a>>,
    #[serde(borrow, default)]
    annotations: Object<Annotations<'a>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sha256<'a> {
    #[serde(borrow)]
    sha256: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
struct Annotations<'a> {
    #[serde(borrow, default)]
    actual_hash_algorithm: Option<Cow<'a, str>>,
}

impl Subject<'_> {
    fn parse(&self) -> Result<Resource, Error> {
        let known = [FILE_SHA256, HashAlgorithm::Sha256.name()];
        let algorithm = self.annotations.actual_hash_algorithm.as_deref();
        if let Some(found) = algorithm.filter(|found| !known.contains(found)) {
            return Err(Error::Algorithm {
                found: found.to_owned(),
            });
        }
        let digest = Digest::from_hex(&self.digest.sha256);
        Ok(Resource {
            name: crate::statement::resource_name(&self.name)?,
            shard: None,
            digest: digest
                .ok_or_else(|| Error::DigestForm {
                    name: self.name.clone().into_owned(),
                    digits: 2 * HashAlgorithm::Sha256.bytes(),
                })?
                .into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_as_python_shows_them() {
        let encoded = pre_authentication_encoding(b"{\"a\\u00f6'\":\t\r\n\x7f\xc3}");
        let expected =
            br#"DSSEV1 28 application/vnd.in-toto+json 18 b'{"a\\u00f6\'":\t\r\n\x7f\xc3}'"#;
        assert_eq!(encoded, expected);
    }

    fn with(subject: &str) -> Result<Statement, Error> {
        parse(format!(r#"{{"_type":"{STATEMENT_TYPE}","subject":[{subject}]}}"#).as_bytes())
    }

    fn subject(name: &str, digest: &str, label: &str) -> String {
        format!(
            r#"{{"name":"{name}","digest":{digest},"annotations":{{"actual_hash_algorithm":"{label}"}}}}"#
        )
    }

    #[test]
    fn what_could_not_be_compared_is_refused() {
        let digest = format!(r#"{{"sha256":"{}"}}"#, Digest::of(b""));
        let file = |name: &str| subject(name, &digest, FILE_SHA256);
        let both = |a: &str, b: &str| with(&format!("{},{}", file(a), file(b)));
        assert!(both("a", "b").is_ok());
        assert!(matches!(both("a", "a"), Err(Error::DuplicateName { .. })));
        assert!(matches!(both("a", "a/b"), Err(Error::NameConflict { .. })));
        assert!(matches!(both("a", "."), Err(Error::Name { .. })));
        assert!(matches!(both("a", "../b"), Err(Error::Name { .. })));
        assert!(matches!(with(""), Err(Error::EmptyManifest)));
        let blake = subject("a", &digest, "file-blake2");
        assert!(matches!(with(&blake), Err(Error::Algorithm { .. })));
        let short = subject("a", r#"{"sha256":"00"}"#, FILE_SHA256);
        assert!(matches!(with(&short), Err(Error::DigestForm { .. })));
        let array = format!("[{:?}]", Digest::of(b"").to_string());
        let twice = r#"{"sha256":"","sha256":""}"#;
        for other in [r#"{"sha512":"00"}"#, twice, &array] {
            let other = subject("a", other, FILE_SHA256);
            let refused = with(&other);
            assert!(matches!(
                refused,
                Err(Error::Json { .. } | Error::DuplicateKey { .. })
            ));
        }
        let kind = parse(br#"{"_type":"x","subject":[]}"#);
        assert!(matches!(kind, Err(Error::StatementType { .. })));
    }
}
