//! A Rust trainer's safetensors file is the file it would be without us, and signed.
#![cfg(feature = "safetensors")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used
)]

use std::path::{Path, PathBuf};

use autosign_hooks::{AutoSign, Error, SaveError};
use autosign_session::{Config, Environment, Session};
use autosign_signing::{Hashing, KeyVerifier, Policy, signature_path, verify};
use safetensors::tensor::{Dtype, TensorView};

fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../core/signing/tests/keys")
        .join(name)
}

fn autosign(key: &Path, on_error: &str) -> AutoSign {
    let settings = [
        ("MODEL_SIGNING_PRIVATE_KEY", key.to_str().unwrap()),
        ("MODEL_SIGNING_ON_ERROR", on_error),
        ("MODEL_SIGNING_SPOOL", "off"),
    ];
    let (config, _) = Config::read(&Environment::from_iter(settings).into());
    AutoSign::new(Session::start(config, Box::new(|_| ())))
}

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
