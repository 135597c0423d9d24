//! Training goes on for weeks, and tokens for an hour.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod stack;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use autosign_signing::{
    Bundle, Clock, Connection, Error, ExpectedSigner, KeylessSigner, KeylessVerifier, Sources,
    TokenFile, Verifier, seal,
};
use serde_json::json;
use stack::{STACK, statement};

const HOUR: Duration = Duration::from_secs(3600);

/// A clock that a test sets.
struct Set(Mutex<SystemTime>);

impl Clock for Set {
    fn now(&self) -> SystemTime {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, pause: Duration) {
        *self.0.lock().unwrap() += pause;
    }
}

/// Three weeks, a checkpoint an hour, and something that renews the token's file shortly before its hour is over. Each
/// three days are a job of their own, so that seven of them wait for the log at once.
#[test]
fn every_checkpoint_of_three_weeks_is_signed() {
    let jobs: Vec<_> = (0..7)
        .map(|job| std::thread::spawn(move || three_days(job * 72)))
        .collect();
    let signed = jobs.into_iter().flat_map(|job| job.join().unwrap());
    let expected = ExpectedSigner::new("alice@example.test", &STACK.provider("email")).unwrap();
    let verifier = KeylessVerifier::new(&STACK.trust("trust_config"), expected).unwrap();
    let mut certificates = BTreeSet::new();
    for bundle in signed {
        verifier.verify(&Bundle::parse(&bundle).unwrap()).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&bundle).unwrap();
        let certificate = &json["verificationMaterial"]["certificate"]["rawBytes"];
        certificates.insert(certificate.as_str().unwrap().to_owned());
    }
    assert_eq!(
        certificates.len(),
        504,
        "each ends before the next checkpoint"
    );
}

fn three_days(first_hour: u32) -> Vec<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let begin = SystemTime::now();
    let clock = Arc::new(Set(Mutex::new(begin)));
    let renew = |at: SystemTime| {
        let ends = at.duration_since(SystemTime::UNIX_EPOCH).unwrap() + HOUR;
        let token = STACK.token("email", &json!({"exp": ends.as_secs()}), "");
        std::fs::write(&path, token).unwrap();
    };
    let connection = Connection::new(None, clock.clone()).unwrap();
    let sources = Sources::only(Box::new(TokenFile::new(path.clone())), connection);
    let signer = KeylessSigner::new(STACK.trust("trust_config_v1"), sources).unwrap();

    let hours = first_hour..first_hour + 72;
    let bundles = hours.map(|hour| {
        let now = begin + HOUR * hour;
        *clock.0.lock().unwrap() = now;
        // Renewed ten minutes before its end: what is in the file is never older than 50 minutes.
        renew(now - Duration::from_secs(u64::from(hour % 5) * 600));
        seal(&statement(&hour.to_le_bytes()), &signer)
            .unwrap_or_else(|error| panic!("checkpoint {hour}: {error}"))
    });
    let bundles = bundles.collect();

    // And if nothing renews it any more, nobody is asked for a certificate.
    *clock.0.lock().unwrap() += 2 * HOUR;
    let error = seal(&statement(b"late"), &signer).unwrap_err();
    assert!(matches!(error.root(), Error::Token { reason } if reason.contains("expired")));
    bundles
}
