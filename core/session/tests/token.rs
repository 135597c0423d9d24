//! A private key on a token, as far as settings go. Tokens: framework-tests/interop/test_token_settings.py.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_session::{Config, Environment, Error, Examination, Report, Settings};
use autosign_signing::{Error as SigningError, Pkcs11Fault, signature_path};
use common::{Fixture, PATIENCE, key};

const PIN: &str = "73550608";
const URI: &str = "pkcs11:token=Release;object=models?module-path=/no/such.so&pin-value=73550608";

fn read(variables: &[(&str, &str)]) -> (Config, Vec<Error>) {
    let environment: Environment = variables.iter().copied().collect();
    Config::read(&environment.into())
}

#[test]
fn a_spooled_checkpoint_says_whose_it_is_and_no_pin() {
    let signer = |variables: &[(&str, &str)]| read(variables).0.signer().unwrap();
    let (own, leaf) = (
        ("MODEL_SIGNING_PRIVATE_KEY", URI),
        ("MODEL_SIGNING_CERTIFICATE", "/leaf.pem"),
    );
    let name = "key:pkcs11:token=Release;object=models";
    assert_eq!(signer(&[own]), name);
    let elsewhere = URI.split('?').next().unwrap().to_owned() + "?module-name=other";
    assert_eq!(signer(&[("MODEL_SIGNING_PRIVATE_KEY", &elsewhere)]), name);
    for method in ["auto", "certificate", "pkcs11"] {
        let method = ("MODEL_SIGNING_METHOD", method);
        assert_eq!(signer(&[own, leaf, method]), "certificate:/leaf.pem");
    }
    let by_key = ("MODEL_SIGNING_METHOD", "key");
    assert_eq!(signer(&[own, leaf, by_key]), name);
}

#[test]
fn a_token_that_cannot_be_used_fails_no_save() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_PRIVATE_KEY", URI)]);
    let model = fixture.write("last.pt", b"weights");
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(PATIENCE).failed, 1);
    assert_eq!(fixture.said("\"/no/such.so\" cannot be loaded"), 1);
    let [left] = fixture.records().try_into().unwrap();
    let left = format!("{left:?}");
    assert!(
        left.contains("/no/such.so") && !left.contains(PIN),
        "{left}"
    );
    assert_eq!(fixture.said(PIN), 0);

    // Whoever wants to be told is.
    let raise = ("MODEL_SIGNING_ON_ERROR", "raise");
    let session = fixture.start(&[("MODEL_SIGNING_PRIVATE_KEY", URI), raise]);
    let error = session.saved(&model, "test").unwrap().wait().unwrap_err();
    let Error::Signing(error) = error else {
        panic!("{error:?}")
    };
    let load = matches!(&error, SigningError::Pkcs11(Pkcs11Fault::ModuleLoad { .. }));
    assert!(load, "{error:?}");
    assert!(!signature_path(&model).exists());
}

#[test]
fn where_the_uri_is_wrong_nobody_else_signs() {
    let fixture = Fixture::new();
    let token = ("MODEL_SIGNING_IDENTITY_TOKEN", "e30.e30.e30");
    for wrong in [
        "pkcs11:object=a;object=b?module-name=m&pin-value=73550608",
        "PKCS11:object=a;pin-value=73550608?module-name=m",
        "pkcs11:",
    ] {
        let (config, errors) = read(&[("MODEL_SIGNING_PRIVATE_KEY", wrong), token]);
        let [error] = errors.as_slice() else {
            panic!("{wrong}")
        };
        let text = error.to_string();
        assert!(
            text.contains("MODEL_SIGNING_PRIVATE_KEY") && !text.contains(PIN),
            "{text}"
        );
        assert!(config.signs_with_key());
        assert!(!config.signer().unwrap().contains(PIN));
    }
    let file = key("p256.pem");
    let session = fixture.start(&[
        ("MODEL_SIGNING_PRIVATE_KEY", file.to_str().unwrap()),
        ("MODEL_SIGNING_METHOD", "pkcs11"),
        ("MODEL_SIGNING_ON_ERROR", "raise"),
    ]);
    let model = fixture.write("last.pt", b"weights");
    let error = session.saved(&model, "test").unwrap().wait().unwrap_err();
    assert!(matches!(error, Error::NotOnToken), "{error:?}");
    assert!(error.hint().contains("pkcs11:"));
}

#[test]
fn a_configuration_file_has_no_pin() {
    let fixture = Fixture::new();
    let line = format!("private_key = \"{URI}\"\n");
    let file = fixture.write("config.toml", line.as_bytes());
    let named = ("MODEL_SIGNING_CONFIG", file.to_str().unwrap());
    let root = fixture.path("root");
    let (config, errors) = Config::read(&Settings::read(Environment::from_iter([named]), &root));
    let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
    assert!(
        told[0].contains("a PIN, which belongs into a file of its own"),
        "{told:?}"
    );
    assert!(told.iter().all(|line| !line.contains(PIN)), "{told:?}");
    assert!(config.signs_with_key(), "not through Sigstore instead");

    let hidden = line.replace("pin-value=73550608", "pin-source=/run/pin");
    std::fs::write(&file, hidden).unwrap();
    let (config, errors) = Config::read(&Settings::read(Environment::from_iter([named]), &root));
    assert!(errors.is_empty() && config.private_key.is_some());
}

#[test]
fn the_doctor_says_what_is_missing_and_no_pin() {
    let environment = Environment::from_iter([("MODEL_SIGNING_PRIVATE_KEY", URI)]);
    let report = Report::new(&environment.into(), &Examination::default());
    assert!(!report.is_ready());
    let text = report.to_json();
    assert!(
        text.contains("/no/such.so") && !text.contains(PIN),
        "{text}"
    );
}
