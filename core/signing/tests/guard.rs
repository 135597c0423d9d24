//! What must be so before a token leaves the process: Fulcio knows its issuer, and the job may sign as whom it names.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod platform;
mod stack;

use std::sync::Arc;

use autosign_signing::{
    Connection, Credentials, Environment, Error, Guard, KeylessSigner, Sources, Surroundings,
    TokenFile, TokenText, seal,
};
use der::DecodePem;
use platform::Platform;
use rcgen::{
    CertificateParams, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SignatureAlgorithm,
};
use serde_json::{Value, json};
use stack::{Answer, Hurried, OTHER, Proxy, STACK, origin, parsed, redirected, statement};

/// Signs with `token` under `guard`; gives the outcome, and how often Fulcio was asked for a certificate.
fn sign(token: String, guard: Guard, audience: &str) -> (Result<(), Error>, usize) {
    let trust = STACK.trust_json("trust_config");
    let fulcio = Proxy::before(&origin(&trust, "caUrls"), |_, honest| honest);
    let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
    let sources = Sources::only(Box::new(TokenText::new(token)), connection);
    let signer = KeylessSigner::new(redirected(&trust, "caUrls", &fulcio), sources).unwrap();
    let signer = signer.with_guard(guard).with_audience(audience.to_owned());
    let outcome = seal(&statement(b"weights"), &signer).map(drop);
    (outcome, fulcio.asked())
}

fn guard(identity: &str, issuer: &str) -> Guard {
    Guard::new(Some(identity), Some(issuer)).unwrap()
}

#[test]
fn a_token_for_somebody_else_is_not_sent() {
    for (kind, name) in [
        ("email", "alice@example.test"),
        ("gcp", "trainer@proj.iam.gserviceaccount.com"),
        (
            "kubernetes",
            "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer",
        ),
        ("spiffe", "spiffe://example.test/ns/ml/sa/trainer"),
        ("uri", "http://127.0.0.1/trainer"),
        ("username", "trainer!127.0.0.1"),
        (
            "github",
            "https://github.com/acme/train/.github/workflows/t.yml@refs/heads/main",
        ),
        (
            "gitlab",
            "https://gitlab.com/acme/train//.gitlab-ci.yml@refs/heads/main",
        ),
    ] {
        let token = STACK.token(kind, &json!({}), "");
        let issuer = STACK.provider(kind);
        let (outcome, asked) = sign(token.clone(), guard(name, &issuer), "sigstore");
        outcome.unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(asked, 1);
        for wrong in [
            guard("somebody", &issuer),
            guard(name, "https://issuer.example"),
        ] {
            let (outcome, asked) = sign(token.clone(), wrong, "sigstore");
            let error = outcome.unwrap_err();
            let Error::NotExpected { found, .. } = &error else {
                panic!("{kind}: {error}")
            };
            assert!(found.contains(name) && found.contains(&issuer), "{error}");
            assert_eq!(asked, 0, "the token was sent");
        }
    }
}

#[test]
fn a_name_that_cannot_be_told_before_is_looked_at_in_the_certificate() {
    // The last part of a GitLab name cannot be told without this claim; Fulcio's template wants it, too, so that the
    // certificate has another name, or none is given.
    let token = STACK.token("github", &json!({"job_workflow_ref": null}), "");
    let expected = guard("somebody", &STACK.provider("github"));
    let (outcome, _) = sign(token, expected, "sigstore");
    assert!(outcome.is_err());
}

/// A public key on P-256.
struct Key(Vec<u8>);

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

/// The honest answer with another certificate for the same key, for `names`.
fn certified_as(honest: Answer, names: &[SanType]) -> Answer {
    let mut answer: Value = serde_json::from_slice(&honest.body).unwrap();
    let leaf = &mut answer["signedCertificateEmbeddedSct"]["chain"]["certificates"][0];
    let honest_leaf = x509_cert::Certificate::from_pem(leaf.as_str().unwrap()).unwrap();
    let key = honest_leaf.tbs_certificate.subject_public_key_info;
    let key = Key(key.subject_public_key.raw_bytes().to_vec());
    let mut params = CertificateParams::default();
    params.subject_alt_names = names.to_vec();
    let authority = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
    *leaf = json!(params.signed_by(&key, &authority).unwrap().pem());
    Answer {
        body: answer.to_string().into_bytes(),
        ..honest
    }
}

#[test]
fn a_certificate_whose_name_is_not_clear_is_not_signed_with() {
    let username = |text: &str| {
        let oid = [1, 3, 6, 1, 4, 1, 57264, 1, 7];
        SanType::OtherName((oid.to_vec(), text.to_owned().into()))
    };
    let email = || SanType::Rfc822Name("alice@example.test".try_into().unwrap());
    let trust = STACK.trust_json("trust_config");
    for names in [
        vec![],
        vec![username("trainer!127.0.0.1"), email()],
        vec![email(), username("trainer!127.0.0.1")],
        vec![username("trainer!127.0.0.1"), username("trainer!127.0.0.1")],
        vec![username("trainer")],
        vec![username("somebody!127.0.0.1")],
    ] {
        let told = names.clone();
        let fulcio = Proxy::before(&origin(&trust, "caUrls"), move |_, honest| {
            certified_as(honest, &told)
        });
        let token = TokenText::new(STACK.token("username", &json!({}), ""));
        let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
        let sources = Sources::only(Box::new(token), connection);
        let signer = KeylessSigner::new(redirected(&trust, "caUrls", &fulcio), sources).unwrap();
        let expected = Guard::new(Some("trainer!127.0.0.1"), None).unwrap();
        let error = seal(&statement(b"weights"), &signer.with_guard(expected)).unwrap_err();
        let unclear = matches!(error, Error::Certificate { .. });
        let other =
            matches!(&error, Error::NotExpected { found, .. } if found.starts_with("somebody!"));
        assert!(unclear || other, "{names:?}: {error}");
    }
}

#[test]
fn a_token_that_this_fulcio_does_not_take_is_not_sent() {
    let foreign = OTHER.token("email", &json!({}), "");
    let (outcome, asked) = sign(foreign, Guard::default(), "sigstore");
    let error = outcome.unwrap_err();
    assert!(matches!(&error, Error::Token { reason } if reason.contains("takes none of")));
    assert!(error.to_string().contains(&OTHER.provider("email")));
    assert_eq!(asked, 0);

    let token = STACK.token("email", &json!({"aud": ["sigstore", "other"]}), "");
    let (outcome, asked) = sign(token, Guard::default(), "other");
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.contains("set MODEL_SIGNING_AUDIENCE to \"sigstore\""),
        "{error}"
    );
    assert_eq!(asked, 0);
}

#[test]
fn a_fulcio_that_tells_no_issuers_is_asked_all_the_same() {
    for status in [403, 404, 405, 501] {
        let fulcio = Platform::new(move |request| {
            let told = request.target == "/api/v2/configuration";
            (if told { status } else { 400 }, String::new())
        });
        let mut trust = STACK.trust_json("trust_config");
        trust["signingConfig"]["caUrls"][0]["url"] = json!(fulcio.url(""));
        let sign = |guard: Guard| {
            let token = TokenText::new(STACK.token("email", &json!({}), ""));
            let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
            let sources = Sources::only(Box::new(token), connection);
            let signer = KeylessSigner::new(parsed(&trust), sources).unwrap();
            seal(&statement(b"weights"), &signer.with_guard(guard)).unwrap_err()
        };
        let refused = sign(Guard::new(None, Some("https://issuer.example")).unwrap());
        assert!(matches!(refused, Error::NotExpected { .. }), "{refused}");
        assert_eq!(fulcio.seen().len(), 1, "the token was sent");
        let error = sign(Guard::default());
        assert!(
            matches!(
                &error,
                Error::Service {
                    status: Some(400),
                    ..
                }
            ),
            "{error}"
        );
        assert_eq!(fulcio.seen().last().unwrap().target, "/api/v2/signingCert");
    }
}

#[test]
fn a_source_that_fails_stops_no_other_one() {
    let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
    let here = Surroundings::new(Environment::default(), connection);
    let folder = tempfile::tempdir().unwrap();
    let given = |texts: &[String]| -> Sources {
        let mut given: Vec<Box<dyn autosign_signing::TokenSource>> =
            vec![Box::new(TokenFile::new(folder.path().join("missing")))];
        for text in texts {
            given.push(Box::new(TokenText::new(text.clone())));
        }
        Sources::new(here.clone(), given, &Credentials::default())
    };
    let sign = |sources: Sources| {
        let trust = STACK.trust("trust_config");
        let expected = guard("alice@example.test", &STACK.provider("email"));
        let signer = KeylessSigner::new(trust, sources).unwrap();
        seal(&statement(b"weights"), &signer.with_guard(expected)).map(drop)
    };
    let bad = [
        STACK.token("email", &json!({}), "ttl=-60"),
        STACK.token("email", &json!({"aud": "sts.amazonaws.com"}), ""),
        STACK.token("email", &json!({"email": "bob@example.test"}), ""),
        OTHER.token("email", &json!({}), ""),
        "no token".to_owned(),
    ];
    let good = STACK.token("email", &json!({}), "");
    sign(given(&[&bad[..], &[good]].concat())).unwrap();
    let error = sign(given(&bad)).unwrap_err();
    let Error::NoToken { attempts, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(attempts.len(), 6);
    for reason in [
        "the file of the token",
        "expired",
        "sts.amazonaws.com",
        "bob",
        "takes none of",
        "JWT",
    ] {
        assert!(error.to_string().contains(reason), "{reason}: {error}");
    }
    assert!(!error.to_string().contains("eyJ"));
}
