//! Certificates in DER, one behind the other. As those of a bundle, they lead to the given root only where the leaf is the
//! one that signed; as given roots, they stand for that leaf only where the key of its issuer is among theirs.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::sync::LazyLock;

use autosign_fuzz::{CERTIFIED, Noon, ROOT};
use autosign_signing::{Bundle, CertificateVerifier, Error, Verifier};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use libfuzzer_sys::fuzz_target;
use pem::Pem;
use serde_json::{Value, json};

/// Bytes at the end of the root's `SubjectPublicKeyInfo`: a point on P-256.
const POINT: usize = 65;
/// More than a bundle may have.
const MOST: usize = 12;

static SIGNED: LazyLock<Bundle> = LazyLock::new(|| Bundle::parse(CERTIFIED).unwrap());
static BELIEVED: LazyLock<CertificateVerifier> = LazyLock::new(|| {
    CertificateVerifier::from_pem(ROOT)
        .unwrap()
        .with_clock(Noon::clock())
});
static LEAF: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let written: Value = serde_json::from_slice(CERTIFIED).unwrap();
    let chain = &written["verificationMaterial"]["x509CertificateChain"]["certificates"];
    STANDARD
        .decode(chain[0]["rawBytes"].as_str().unwrap())
        .unwrap()
});
/// The bundle but for its certificates.
static ENVELOPE: LazyLock<Value> = LazyLock::new(|| serde_json::from_slice(CERTIFIED).unwrap());
static ISSUER: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // uncompressed point, in a bit string without unused bits
    let root = pem::parse(ROOT).unwrap().into_contents();
    let head = [0x03, 0x42, 0x00, 0x04];
    let place = root
        .windows(head.len())
        .position(|window| window == head)
        .unwrap();
    root[place + 3..place + 3 + POINT].to_vec()
});

fuzz_target!(|bytes: &[u8]| {
    let chain = split(bytes);
    brought(&chain);
    given(&chain);
});

/// As the chain of a bundle.
fn brought(chain: &[&[u8]]) {
    let certificate = |der: &&[u8]| json!({"rawBytes": STANDARD.encode(der)});
    let mut written = ENVELOPE.clone();
    written["verificationMaterial"]["x509CertificateChain"]["certificates"] =
        chain.iter().map(certificate).collect();
    let Ok(bundle) = Bundle::parse(written.to_string().as_bytes()) else {
        assert!(chain.is_empty() || chain.len() > 10);
        return;
    };
    assert_eq!(bundle.certificates().len(), chain.len());
    if let Ok(verified) = BELIEVED.verify(&bundle) {
        assert_eq!(chain[0], *LEAF, "{}", verified.signer());
    }
}

/// As what a person believes.
fn given(chain: &[&[u8]]) {
    let blocks: Vec<_> = chain
        .iter()
        .map(|der| Pem::new("CERTIFICATE", *der))
        .collect();
    match CertificateVerifier::from_pem(pem::encode_many(&blocks).as_bytes()) {
        Ok(verifier) => {
            assert_eq!(verifier.fingerprints().len(), chain.len());
            if verifier.with_clock(Noon::clock()).verify(&SIGNED).is_ok() {
                let has_key = |der: &&[u8]| der.windows(POINT).any(|part| part == *ISSUER);
                assert!(chain.iter().any(|der| has_key(der) || **der == **LEAF));
            }
        }
        Err(Error::KeyForm { .. }) => assert!(chain.is_empty()),
        Err(Error::CertificateRefused { .. } | Error::NoRoot { .. } | Error::TooLarge { .. }) => {}
        Err(other) => panic!("{other:?}"),
    }
}

/// At most [`MOST`], each as long as the head says; the last one may be anything.
fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while !bytes.is_empty() && all.len() < MOST {
        let length = match *bytes {
            [_, 0x82, high, low, ..] => 4 + usize::from(high) * 256 + usize::from(low),
            [_, 0x81, low, ..] => 3 + usize::from(low),
            [_, low, ..] => 2 + usize::from(low),
            _ => bytes.len(),
        };
        let (one, rest) = bytes.split_at(length.min(bytes.len()));
        all.push(one);
        bytes = rest;
    }
    all
}
