//! Signatures that upstream's releases made, in the folder `bundles`: each is read, those of 0.2 on request alone.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::path::{Path, PathBuf};

use autosign_signing::{
    Bundle, CertificateVerifier, Error, ErrorKind, ExpectedSigner, Format, Hashing,
    KeylessVerifier, Policy, TrustConfig, VerifiedModel, Verifier, verify,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Fixture, verifier};
use serde_json::{Value, json};

const RELEASES: [&str; 4] = ["0.2.0", "0.3.1", "1.0.1", "1.1.0"];
const CURVES: [&str; 2] = ["p256", "p384"];
/// As in bundles/remake.py.
const MODEL: [(&str, &[u8]); 3] = [
    ("config.json", b"{}"),
    ("tokenizer/größe's.txt", b"1\n"),
    ("weights.bin", b"weights"),
];

fn bundle(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/bundles")
        .join(name)
}

fn by_root() -> CertificateVerifier {
    CertificateVerifier::read(&[bundle("root.pem")]).unwrap()
}

fn check(model: &Path, name: &str, verifier: &dyn Verifier) -> Result<VerifiedModel, Error> {
    verify(
        model,
        &bundle(name),
        verifier,
        &Policy::default(),
        Hashing::default(),
    )
}

fn format(release: &str, method: &str) -> Format {
    match (release, method) {
        ("0.2.0", _) => Format::Legacy,
        ("1.1.0", _) | (_, "certificate") => Format::Current,
        _ => Format::NoKeyHint,
    }
}

#[test]
fn every_release_is_read() {
    let fixture = Fixture::unsigned(&MODEL);
    for release in RELEASES {
        for curve in CURVES {
            let key = verifier(curve).with_legacy_format();
            let verified = check(&fixture.model, &format!("{release}-key-{curve}.sig"), &key);
            let verified = verified.unwrap_or_else(|error| panic!("{release} {curve}: {error}"));
            assert_eq!(verified.files().len(), MODEL.len());
            assert_eq!(verified.manifest().format(), format(release, "key"));
            if release == "0.3.1" {
                continue; // it could not sign with certificates
            }
            let name = format!("{release}-certificate-{curve}.sig");
            let certificate = by_root().with_legacy_format();
            let verified = check(&fixture.model, &name, &certificate);
            let verified = verified.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(verified.manifest().format(), format(release, "certificate"));
            assert_eq!(
                verified.manifest().signer(),
                format!("CN={curve} (by CN=root)")
            );
        }
        let one = fixture.model.join("weights.bin");
        let key = verifier("p256").with_legacy_format();
        let single = format!("{release}-single.sig");
        check(&one, &single, &key).unwrap();
        // It names no file, so it is good for none of a folder.
        let error = check(&fixture.model, &single, &key).unwrap_err();
        assert!(matches!(error, Error::SingleFileExpected { .. }), "{error}");
    }
}

#[test]
fn what_was_signed_is_compared() {
    let fixture = Fixture::unsigned(&MODEL);
    fixture.write("weights.bin", b"tampered");
    fixture.write("added", b"");
    std::fs::remove_file(fixture.model.join("config.json")).unwrap();
    for release in RELEASES {
        let key = verifier("p256").with_legacy_format();
        let refused = check(&fixture.model, &format!("{release}-key-p256.sig"), &key);
        let Err(Error::Differs(difference)) = refused else {
            panic!("{release}: tampering accepted")
        };
        assert_eq!(difference.changed.len(), 1, "{release}");
        assert_eq!(difference.added.len(), 1, "{release}");
        assert_eq!(difference.missing.len(), 1, "{release}");
    }
}

#[test]
fn the_format_of_0_2_needs_a_word() {
    let fixture = Fixture::unsigned(&MODEL);
    for curve in CURVES {
        let strict: [(&str, Box<dyn Verifier>); 2] = [
            ("key", Box::new(verifier(curve))),
            ("certificate", Box::new(by_root().with_legacy_time())),
        ];
        for (method, strict) in strict {
            let name = format!("0.2.0-{method}-{curve}.sig");
            let error = check(&fixture.model, &name, strict.as_ref()).unwrap_err();
            assert!(matches!(error.root(), Error::LegacyFormat), "{error}");
            assert!(error.hint().contains("--legacy"), "{}", error.hint());
        }
        // Another key is another key, with the word and without.
        let other = verifier(if curve == "p256" { "p384" } else { "p256" });
        let name = format!("0.2.0-key-{curve}.sig");
        for other in [other, verifier("p521").with_legacy_format()] {
            let error = check(&fixture.model, &name, &other).unwrap_err();
            assert!(
                matches!(error.root(), Error::SignatureInvalid { .. }),
                "{error}"
            );
        }
    }
}

const KEYLESS: &str = "0.2.0-sigstore.sig";

/// Whom the local instance certified, by its root; the provider's address is another one at each `make bundles`.
fn by_identity(identity: &str) -> KeylessVerifier {
    let claims = Bundle::read(&bundle(KEYLESS)).unwrap().certificates();
    let provider = claims[0].content.as_ref().unwrap().provider.clone();
    let expected = ExpectedSigner::new(identity, &provider.unwrap()).unwrap();
    let trust = TrustConfig::read(&bundle("trusted_root.json")).unwrap();
    KeylessVerifier::new(&trust, expected).unwrap()
}

#[test]
fn what_0_2_signed_through_sigstore_needs_the_word_and_the_signer() {
    let fixture = Fixture::unsigned(&MODEL);
    let alice = || by_identity("alice@example.test");
    let verified = check(&fixture.model, KEYLESS, &alice().with_legacy_format()).unwrap();
    assert_eq!(verified.files().len(), MODEL.len());
    assert_eq!(verified.manifest().format(), Format::Legacy);
    assert!(verified.manifest().signer().starts_with("alice@"));

    let error = check(&fixture.model, KEYLESS, &alice()).unwrap_err();
    assert!(matches!(error.root(), Error::LegacyFormat), "{error}");
    let mallory = by_identity("mallory@example.test").with_legacy_format();
    let error = check(&fixture.model, KEYLESS, &mallory).unwrap_err();
    assert!(matches!(error.root(), Error::Identity { .. }), "{error}");

    fixture.write("weights.bin", b"tampered");
    let error = check(&fixture.model, KEYLESS, &alice().with_legacy_format()).unwrap_err();
    assert!(matches!(error.root(), Error::Differs(_)), "{error}");
}

#[test]
fn what_0_2_signed_through_sigstore_cannot_be_altered() {
    let whole: Value = serde_json::from_slice(&std::fs::read(bundle(KEYLESS)).unwrap()).unwrap();
    let key = std::fs::read(bundle("0.2.0-key-p256.sig")).unwrap();
    let key: Value = serde_json::from_slice(&key).unwrap();
    let payload = whole["dsseEnvelope"]["payload"].as_str().unwrap();
    let other = String::from_utf8(STANDARD.decode(payload).unwrap()).unwrap();
    let other = STANDARD.encode(other.replace("weights.bin", "weights.pt"));
    for (at, other) in [
        ("/dsseEnvelope/payload", json!(other)),
        // 0.2's own encoding of the same statement is no good here.
        (
            "/dsseEnvelope/signatures",
            key["dsseEnvelope"]["signatures"].clone(),
        ),
        ("/verificationMaterial/tlogEntries", json!([])),
        (
            "/verificationMaterial/tlogEntries/0/integratedTime",
            json!("1"),
        ),
    ] {
        let mut altered = whole.clone();
        *altered.pointer_mut(at).unwrap() = other;
        let altered = Bundle::parse(altered.to_string().as_bytes()).unwrap();
        let verifier = by_identity("alice@example.test").with_legacy_format();
        let error = verifier.verify(&altered).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signer, "{at}: {error}");
    }
}

/// The bundle of 0.2 with another payload, or of today's payload with its signature.
fn altered(change: impl FnOnce(&mut Value)) -> Error {
    let text = std::fs::read(bundle("0.2.0-key-p256.sig")).unwrap();
    let mut bundle: Value = serde_json::from_slice(&text).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap());
    let mut payload: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
    change(&mut payload);
    bundle["dsseEnvelope"]["payload"] = STANDARD.encode(payload.to_string()).into();
    let bundle = Bundle::parse(bundle.to_string().as_bytes()).unwrap();
    let key = verifier("p256").with_legacy_format();
    key.verify(&bundle).unwrap_err()
}

#[test]
fn what_0_2_signed_cannot_be_altered() {
    for error in [
        altered(|_| ()), // another layout of the same JSON
        altered(|payload| payload["subject"][0]["name"] = json!("other")),
        altered(|payload| {
            payload["predicateType"] = json!("https://model_signing/signature/v1.0");
        }),
    ] {
        assert!(
            matches!(error.root(), Error::SignatureInvalid { .. }),
            "{error}"
        );
    }
}
