//! A key file, public or private: a key that is taken is the same key when it is written anew, and a private one signs what
//! its own public one believes.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::sync::LazyLock;

use autosign_signing::{
    CertificateVerifier, Digest, Ignore, KeySigner, KeyVerifier, Manifest, RelPath, Resource,
    Serialization, Statement, seal,
};
use libfuzzer_sys::fuzz_target;
use pem::{EncodeConfig, LineEnding};

static STATEMENT: LazyLock<Statement> = LazyLock::new(|| {
    let weights = Resource {
        name: RelPath::parse("weights.bin").unwrap(),
        shard: None,
        digest: Digest::of(b"weights").into(),
    };
    let manifest = Manifest::new("m".into(), Serialization::default(), vec![weights]).unwrap();
    Statement::new(manifest, Ignore::default())
});

fuzz_target!(|text: &[u8]| {
    if let Ok(key) = KeyVerifier::from_pem(text) {
        let blocks = pem::parse_many(text).unwrap();
        let block = blocks
            .iter()
            .find(|block| block.tag() == "PUBLIC KEY")
            .unwrap();
        let bare = pem::Pem::new(block.tag(), block.contents());
        let written =
            pem::encode_config(&bare, EncodeConfig::new().set_line_ending(LineEnding::LF));
        let again = KeyVerifier::from_pem(written.as_bytes()).unwrap();
        assert_eq!(again.hint(), key.hint());
        assert_eq!(key.hint(), Digest::of(written.as_bytes()).to_string());
    }
    for password in [None, Some(&b"checkpoint"[..])] {
        if let Ok(key) = KeySigner::from_pem(text, password) {
            seal(&STATEMENT, &key).unwrap();
        }
    }
    if let Ok(verifier) = CertificateVerifier::from_pem(text) {
        assert!(!verifier.fingerprints().is_empty());
    }
});
