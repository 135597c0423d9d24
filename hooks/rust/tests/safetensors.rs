//! A Rust trainer's safetensors file is the file it would be without us, and signed.
#![cfg(feature = "safetensors")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used
)]

mod common;

use std::collections::HashMap;
use std::path::Path;

use autosign_hooks::{Error, SaveError};
use autosign_signing::{Hashing, KeyVerifier, Policy, signature_path, verify};
use common::{autosign, key, raising, verified};
use safetensors::tensor::{Dtype, TensorView};

fn tensor(bytes: &[u8]) -> TensorView<'_> {
    TensorView::new(Dtype::U8, vec![bytes.len()], bytes).unwrap()
}

#[test]
fn the_file_is_the_same_and_signed_when_the_trainer_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, signed) = (
        folder.path().join("plain.safetensors"),
        folder.path().join("signed.safetensors"),
    );
    safetensors::serialize_to_file([("w", tensor(b"weights"))], None, &plain).unwrap();
    let autosign = autosign(&key("p384.pem"), "warn");
    autosign
        .serialize_to_file([("w", tensor(b"weights"))], None, &signed)
        .unwrap();
    drop(autosign);
    assert_eq!(
        std::fs::read(plain).unwrap(),
        std::fs::read(&signed).unwrap()
    );
    let verifier = KeyVerifier::read(&key("p384.pub.pem")).unwrap();
    verify(
        &signed,
        &signature_path(&signed),
        &verifier,
        &Policy::default(),
        Hashing::default(),
    )
    .unwrap();
}

#[test]
fn a_failed_save_is_the_framework_s_own_error_and_signs_nothing() {
    let path = Path::new("/none/last.safetensors");
    let autosign = autosign(&key("p256.pem"), "warn");
    let error = autosign
        .serialize_to_file([("w", tensor(b"weights"))], None, path)
        .unwrap_err();
    assert!(matches!(error, SaveError::Save(_)));
    assert_eq!(autosign.session().flush(None).signed, 0);
}

#[test]
fn a_missing_key_is_raised_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    autosign(Path::new("/none"), "warn")
        .serialize_to_file([("w", tensor(b"1"))], None, &path)
        .unwrap();
    let raising = autosign(Path::new("/none"), "raise");
    let error = raising
        .serialize_to_file([("w", tensor(b"2"))], None, &path)
        .unwrap_err();
    assert!(matches!(error, SaveError::Sign(Error::Signing(_))));
    assert!(path.exists());
}

#[test]
fn hashed_while_it_is_written_it_is_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, hashed) = (folder.path().join("plain"), folder.path().join("hashed"));
    let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
    let views = || {
        // Not in the order that they are written in, which is by type and then by name.
        let view = |dtype, length: usize, size: usize| {
            TensorView::new(dtype, vec![length], &bytes[..length * size]).unwrap()
        };
        [
            ("z", view(Dtype::U8, 3, 1)),
            ("b.weight", view(Dtype::F32, 512 << 10, 4)),
            ("empty", view(Dtype::F64, 0, 8)),
            ("a.weight", view(Dtype::F32, 5, 4)),
            ("größe", view(Dtype::BF16, 1, 2)),
        ]
    };
    for metadata in [
        None,
        Some(HashMap::from([("step".to_owned(), "3".to_owned())])),
    ] {
        safetensors::serialize_to_file(views(), metadata.clone(), &plain).unwrap();
        raising()
            .serialize_hashed(views(), metadata, &hashed)
            .unwrap();
        let (plain, written) = (std::fs::read(&plain), std::fs::read(&hashed));
        assert_eq!(plain.unwrap(), written.unwrap());
        verified(&hashed).unwrap();
    }
    let none: [(&str, TensorView<'_>); 0] = [];
    let missing = folder.path().join("none/here");
    let error = raising()
        .serialize_hashed(none, None, &missing)
        .unwrap_err();
    assert!(matches!(error, SaveError::Save(_)));
}
