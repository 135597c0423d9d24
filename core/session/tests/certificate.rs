//! What is saved is signed with a certificate where the settings name one.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_session::{Config, Environment, Error};
use autosign_signing::{
    CertificateFault, CertificateVerifier, Error as SigningError, Hashing, Policy, signature_path,
    verify,
};
use common::{Fixture, PATIENCE, key};
use rcgen::{CertificateParams, KeyPair, KeyUsagePurpose};

/// The certificate of the key in p256.pem, which signed it.
fn certificate(edit: impl FnOnce(&mut CertificateParams)) -> String {
    let pair = KeyPair::from_pem(&std::fs::read_to_string(key("p256.pem")).unwrap()).unwrap();
    let mut params = CertificateParams::new(vec!["trainer.example".to_owned()]).unwrap();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    edit(&mut params);
    params.self_signed(&pair).unwrap().pem()
}

#[test]
fn what_is_saved_is_signed_with_the_certificate() {
    for method in ["auto", "certificate"] {
        let fixture = Fixture::new();
        let leaf = fixture.write("leaf.pem", certificate(|_| ()).as_bytes());
        let leaf = leaf.to_str().unwrap();
        let session = fixture.start(&[
            ("MODEL_SIGNING_METHOD", method),
            ("MODEL_SIGNING_CERTIFICATE", leaf),
            ("MODEL_SIGNING_CERTIFICATE_CHAIN", leaf),
        ]);
        let model = fixture.write("last.pt", b"weights");
        session.saved(&model, "test").unwrap().wait().unwrap();
        assert_eq!(session.flush(PATIENCE).signed, 1);
        let verifier = CertificateVerifier::read(&[leaf]).unwrap();
        let verifier = verifier.with_identity("trainer.example").unwrap();
        let (policy, hashing) = (Policy::default(), Hashing::default());
        verify(&model, &signature_path(&model), &verifier, &policy, hashing).unwrap();
    }
}

#[test]
fn a_certificate_that_ended_signs_nothing_and_the_reason_is_told() {
    let fixture = Fixture::new();
    let ended = certificate(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    let leaf = fixture.write("leaf.pem", ended.as_bytes());
    let session = fixture.start(&[
        ("MODEL_SIGNING_CERTIFICATE", leaf.to_str().unwrap()),
        ("MODEL_SIGNING_ON_ERROR", "raise"),
    ]);
    let model = fixture.write("last.pt", b"weights");
    let error = session.saved(&model, "test").unwrap().wait().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("ended at 2020-01-01T00:00:00Z"), "{text}");
    assert!(!signature_path(&model).exists());
    let fault = |error: &Error| match error {
        Error::Signing(error) => matches!(
            error.root(),
            SigningError::CertificateRefused {
                fault: CertificateFault::Expired { .. },
                ..
            }
        ),
        _ => false,
    };
    assert!(fault(&error), "{error:?}");
}

#[test]
fn a_timestamp_authority_is_asked_where_one_is_set() {
    let fixture = Fixture::new();
    let leaf = fixture.write("leaf.pem", certificate(|_| ()).as_bytes());
    for leaf in [leaf.to_str().unwrap(), ""] {
        let session = fixture.start(&[
            ("MODEL_SIGNING_CERTIFICATE", leaf),
            ("MODEL_SIGNING_TIMESTAMP_URL", "http://127.0.0.1:1/"),
            ("MODEL_SIGNING_RETRIES", "0"),
            ("MODEL_SIGNING_ON_ERROR", "raise"),
        ]);
        let model = fixture.write("last.pt", b"weights");
        let error = session.saved(&model, "test").unwrap().wait().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("the timestamp authority at"), "{text}");
        assert!(!signature_path(&model).exists());
    }
}

#[test]
fn the_method_says_whether_a_certificate_counts() {
    let read = |variables: &[(&str, &str)]| {
        let environment: Environment = variables.iter().copied().collect();
        Config::read(&environment.into()).0
    };
    let (own, leaf) = (
        ("MODEL_SIGNING_PRIVATE_KEY", "/key.pem"),
        ("MODEL_SIGNING_CERTIFICATE", "/leaf.pem"),
    );
    let signer = |variables: &[(&str, &str)]| read(variables).signer();
    assert_eq!(signer(&[own, leaf]).unwrap(), "certificate:/leaf.pem");
    let by_key = ("MODEL_SIGNING_METHOD", "key");
    assert_eq!(signer(&[own, leaf, by_key]).unwrap(), "key:/key.pem");
    // Half of it is nobody: least of all whom a token may name.
    let by_certificate = ("MODEL_SIGNING_METHOD", "certificate");
    for half in [&[leaf][..], &[own, by_certificate]] {
        assert!(read(half).signs_with_key());
        assert_eq!(signer(half), None);
    }
}
