//! Several checkpoints at once wait for their log entries; each gets the signature of what it is at the end.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "../../signing/tests/stack/mod.rs"]
mod stack;

use std::path::Path;
use std::time::Duration;

use autosign_session::{Config, Environment, Session};
use autosign_signing::{ExpectedSigner, Hashing, KeylessVerifier, Policy, signature_path, verify};
use stack::STACK;

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

fn session(folder: &Path, mode: &str) -> Session {
    let spool = folder.join("spool");
    let environment = Environment::from_iter([
        ("MODEL_SIGNING_MODE", mode),
        ("MODEL_SIGNING_TRUST_CONFIG", STACK.told("trust_config")),
        (
            "MODEL_SIGNING_IDENTITY_TOKEN_FILE",
            STACK.told("token_file"),
        ),
        ("MODEL_SIGNING_SPOOL", spool.to_str().unwrap()),
    ]);
    let (config, errors) = Config::read(&environment.into());
    assert!(errors.is_empty());
    Session::start(config, Box::new(|_| {}))
}

fn verified(model: &Path) {
    let trainer = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer";
    let expected = ExpectedSigner::new(trainer, &STACK.provider("kubernetes")).unwrap();
    let verifier = KeylessVerifier::new(&STACK.trust("trust_config"), expected).unwrap();
    let (signature, policy) = (signature_path(model), Policy::default());
    verify(model, &signature, &verifier, &policy, Hashing::default()).unwrap();
}

#[test]
fn a_burst_of_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    for mode in ["background", "inline"] {
        let session = session(folder.path(), mode);
        let count = if mode == "inline" { 2 } else { 20 };
        let paths: Vec<_> = (0..count)
            .map(|step| folder.path().join(format!("{mode}-{step}.pt")))
            .collect();
        for path in &paths {
            std::fs::write(path, path.to_str().unwrap()).unwrap();
            session.saved(path, "plain").unwrap().wait().unwrap();
        }
        let status = session.flush(PATIENCE);
        assert_eq!(
            (status.signed, status.pending, status.failed),
            (count, 0, 0),
            "{mode}"
        );
        for path in &paths {
            verified(path);
        }
    }
}

#[test]
fn one_path_saved_again_and_again_has_the_signature_of_its_last_content() {
    let folder = tempfile::tempdir().unwrap();
    let session = session(folder.path(), "background");
    let path = folder.path().join("last.pt");
    for step in 0..30_u8 {
        std::fs::write(&path, [step; 100]).unwrap();
        session.saved(&path, "plain").unwrap().wait().unwrap();
        // Saves that meet their predecessors at different points of the way.
        let _ = session.idle_within(Duration::from_millis(u64::from(step) * 3));
    }
    let status = session.flush(PATIENCE);
    assert_eq!((status.pending, status.failed), (0, 0));
    assert!(
        status.signed >= 1 && status.signed + status.superseded == 30,
        "{status:?}"
    );
    verified(&path);
}
