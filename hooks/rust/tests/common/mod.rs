//! A trainer with a key of the tests, and looking at what it signed. Each test program uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use autosign_hooks::AutoSign;
use autosign_session::{Config, Environment, Session};
use autosign_signing::{Hashing, KeyVerifier, Policy, VerifiedModel, signature_path, verify};

pub(crate) fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../core/signing/tests/keys")
        .join(name)
}

pub(crate) fn autosign(key: &Path, on_error: &str) -> AutoSign {
    let settings = [
        ("MODEL_SIGNING_PRIVATE_KEY", key.to_str().unwrap()),
        ("MODEL_SIGNING_ON_ERROR", on_error),
        ("MODEL_SIGNING_SPOOL", "off"),
    ];
    let (config, _) = Config::read(&Environment::from_iter(settings).into());
    AutoSign::new(Session::start(config, Box::new(|_| ())))
}

/// One whose saves wait for their signatures.
pub(crate) fn raising() -> AutoSign {
    autosign(&key("p256.pem"), "raise")
}

/// One that signs nothing.
pub(crate) fn disabled() -> AutoSign {
    let settings = [("MODEL_SIGNING_MODE", "disabled")];
    let (config, _) = Config::read(&Environment::from_iter(settings).into());
    AutoSign::new(Session::start(config, Box::new(|_| ())))
}

/// Verifies `model` with the public key of `raising`.
pub(crate) fn verified(model: &Path) -> Result<VerifiedModel, autosign_signing::Error> {
    verify(
        model,
        &signature_path(model),
        &KeyVerifier::read(&key("p256.pub.pem")).unwrap(),
        &Policy::default(),
        Hashing::default(),
    )
}
