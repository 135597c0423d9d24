//! A payload of upstream 0.2, signed as that did it: where such a thing is asked for it is read, with the names and digests
//! that it has, and nowhere else.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::LazyLock;

use autosign_fuzz::{PRIVATE_KEY, PUBLIC_KEY, bundle, has_a_key_twice};
use autosign_signing::{Bundle, Error, Format, KeyVerifier, RelPath, Verifier};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

static KEY: LazyLock<EcdsaKeyPair> = LazyLock::new(|| {
    let key = pem::parse(PRIVATE_KEY).unwrap();
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_ASN1_SIGNING, key.contents()).unwrap()
});
static STRICT: LazyLock<KeyVerifier> = LazyLock::new(|| KeyVerifier::from_pem(PUBLIC_KEY).unwrap());
static LENIENT: LazyLock<KeyVerifier> = LazyLock::new(|| {
    KeyVerifier::from_pem(PUBLIC_KEY)
        .unwrap()
        .with_legacy_format()
});

fuzz_target!(|payload: &[u8]| {
    let signature = KEY
        .sign(&SystemRandom::new(), encoded(payload).as_bytes())
        .unwrap();
    let bytes = bundle(&json!({"publicKey": {}}), payload, signature.as_ref());
    let bundle = Bundle::parse(&bytes).unwrap();
    // A payload that says that it is of 0.2 is known as such, by a signature over the same bytes.
    let refused = STRICT.verify(&bundle).unwrap_err();
    let known = matches!(refused, Error::LegacyFormat);
    assert!(known || matches!(refused, Error::SignatureInvalid { .. }));
    let value: Value = serde_json::from_slice(payload).unwrap_or_default();
    let claims = value["predicateType"] == "https://model_signing/Digests/v0.1";
    assert!(known || !claims || has_a_key_twice(payload));
    let Ok(verified) = LENIENT.verify(&bundle) else {
        return;
    };
    assert!(known && claims && !has_a_key_twice(payload));
    assert_eq!(verified.format(), Format::Legacy);
    let all = value["subject"].as_array().unwrap().iter();
    let all: BTreeMap<_, _> = all
        .map(|one| {
            (
                one["name"].as_str().unwrap(),
                one["digest"]["sha256"].as_str().unwrap(),
            )
        })
        .collect();
    let manifest = verified.manifest();
    assert_eq!(
        manifest.resources().len(),
        value["subject"].as_array().unwrap().len()
    );
    assert_eq!(manifest.resources().len(), all.len());
    for resource in manifest.resources() {
        let name = resource.name.as_str();
        assert_eq!(all[name], resource.digest.to_string());
        assert!(RelPath::parse(name).is_ok() || (name == "." && all.len() == 1));
    }
});

/// `f"DSSEV1 {len(kind)} {kind} {len(payload)} {payload!r}"` in Python, for a payload with `"` in it.
fn encoded(payload: &[u8]) -> String {
    let mut text = format!(
        "DSSEV1 28 application/vnd.in-toto+json {} b'",
        payload.len()
    );
    for &byte in payload {
        match byte {
            b'\'' => text.push_str("\\'"),
            b'\\' => text.push_str("\\\\"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            0x20..0x7f => text.push(char::from(byte)),
            _ => write!(text, "\\x{byte:02x}").unwrap(),
        }
    }
    text.push('\'');
    text
}
