//! Method `sigstore` against the real services: what is signed verifies, and every altered bundle is refused.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod stack;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use autosign_signing::{
    Bundle, Error, ErrorKind, ExpectedSigner, JudgedAt, KeylessVerifier, SignedBy, Signer,
    Verifier, seal,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stack::{OTHER, STACK, parse, parsed, statement};

const ALICE: &str = "alice@example.test";

/// A bundle over Rekor v2, one over Rekor v1, and another one of each, all with logs that hold more than one entry.
static V2: LazyLock<[Value; 2]> = LazyLock::new(|| pair("trust_config"));
static V1: LazyLock<[Value; 2]> = LazyLock::new(|| pair("trust_config_v1"));

fn pair(trust: &str) -> [Value; 2] {
    let first = STACK.bundle(trust, b"first");
    [STACK.bundle(trust, b"weights"), first]
}

fn expected(identity: &str) -> ExpectedSigner {
    ExpectedSigner::new(identity, &STACK.provider("email")).unwrap()
}

fn verifier(trust: &Value) -> KeylessVerifier {
    KeylessVerifier::new(&parsed(trust), expected(ALICE)).unwrap()
}

fn verify(bundle: &Value) -> Result<String, Error> {
    verify_with(&STACK.trust_json("trust_config"), bundle)
}

fn verify_with(trust: &Value, bundle: &Value) -> Result<String, Error> {
    let verified = verifier(trust).verify(&parse(bundle)?)?;
    Ok(verified.signer().to_owned())
}

/// The material of `bundle`.
fn material(bundle: &mut Value) -> &mut Value {
    &mut bundle["verificationMaterial"]
}

fn altered(bundle: &Value, alter: impl FnOnce(&mut Value)) -> Result<String, Error> {
    let mut bundle = bundle.clone();
    alter(&mut bundle);
    verify(&bundle)
}

/// Flips one bit in the middle of a base64 text.
fn flip(value: &mut Value) {
    let mut bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    *value = json!(STANDARD.encode(bytes));
}

#[test]
fn what_is_signed_verifies_over_both_logs() {
    for [bundle, _] in [&*V2, &*V1] {
        let signer = verify(bundle).unwrap();
        assert_eq!(signer, format!("{ALICE} ({})", STACK.provider("email")));
        let entry = &bundle["verificationMaterial"]["tlogEntries"][0];
        assert!(entry["logIndex"].is_string(), "upstream wants one: {entry}");
    }
    assert_eq!(
        V2[0]["verificationMaterial"]["tlogEntries"][0]["kindVersion"]["kind"],
        "hashedrekord"
    );
    assert_eq!(
        V1[0]["verificationMaterial"]["tlogEntries"][0]["kindVersion"]["kind"],
        "dsse"
    );
}

#[test]
fn the_time_of_signing_is_told_and_what_proves_it() {
    let judged = |trust: &str, bundle: &Value| {
        let verified = verifier(&STACK.trust_json(trust)).verify(&parse(bundle).unwrap());
        let verified = verified.unwrap();
        let expected = SignedBy::Identity {
            identity: ALICE.to_owned(),
            provider: STACK.provider("email"),
        };
        assert_eq!(*verified.signed_by(), expected);
        verified.judged_at().unwrap()
    };
    let bundle = parse(&V2[0]).unwrap();
    let stamped = bundle.timestamps().remove(0).unwrap();
    assert_eq!(judged("trust_config", &V2[0]), JudgedAt::Timestamp(stamped));
    assert_eq!(bundle.log_entries()[0].time, None);

    // Rekor v1 dates its entries, too.
    let mut unstamped = V1[0].clone();
    material(&mut unstamped)["timestampVerificationData"] = json!({});
    let logged = parse(&unstamped).unwrap().log_entries()[0].time.unwrap();
    assert_eq!(judged("trust_config_v1", &unstamped), JudgedAt::Log(logged));
    assert!(judged("trust_config_v1", &V1[0]).time() <= logged);
}

#[test]
fn every_kind_of_token_gets_its_name() {
    for (issuer, identity) in [
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
        let connection =
            autosign_signing::Connection::new(None, std::sync::Arc::new(stack::Hurried::default()));
        let token = autosign_signing::TokenText::new(STACK.token(issuer, &json!({}), ""));
        let trust = STACK.trust("trust_config");
        let signer = autosign_signing::KeylessSigner::new(
            trust,
            autosign_signing::Sources::only(Box::new(token), connection.unwrap()),
        );
        let bytes = seal(&statement(issuer.as_bytes()), &signer.unwrap()).unwrap();
        let expected = ExpectedSigner::new(identity, &STACK.provider(issuer)).unwrap();
        let verifier = KeylessVerifier::new(&STACK.trust("trust_config"), expected).unwrap();
        let bundle = Bundle::parse(&bytes).unwrap();
        verifier.verify(&bundle).unwrap();
        let claimed = bundle.certificates().remove(0).content.unwrap();
        assert_eq!(claimed.names, [identity]);
        let somebody = ExpectedSigner::new("somebody!127.0.0.1", &STACK.provider(issuer));
        let verifier = KeylessVerifier::new(&STACK.trust("trust_config"), somebody.unwrap());
        let error = verifier.unwrap().verify(&bundle).unwrap_err();
        assert!(matches!(&error, Error::Identity { found, .. } if found.starts_with(identity)));
        if issuer == "github" {
            claims_can_be_required(&bytes, identity);
        }
    }
}

fn claims_can_be_required(bytes: &[u8], identity: &str) {
    let judged = |repository: &str, reference: &str| {
        let expected = ExpectedSigner::new(identity, &STACK.provider("github"))
            .unwrap()
            .from_repository(Some(repository.to_owned()))
            .from_ref(Some(reference.to_owned()))
            .from_workflow(Some(identity.to_owned()));
        let verifier = KeylessVerifier::new(&STACK.trust("trust_config"), expected).unwrap();
        verifier.verify(&Bundle::parse(bytes).unwrap())
    };
    judged("https://github.com/acme/train", "refs/heads/main").unwrap();
    for (repository, reference) in [
        ("https://github.com/acme/other", "refs/heads/main"),
        ("https://github.com/acme/train", "refs/heads/evil"),
    ] {
        assert!(matches!(
            judged(repository, reference),
            Err(Error::Identity { .. })
        ));
    }
}

#[test]
fn somebody_else_is_refused() {
    let judged = |identity: &str, provider: &str| {
        let expected = ExpectedSigner::new(identity, provider).unwrap();
        let verifier = KeylessVerifier::new(&STACK.trust("trust_config"), expected).unwrap();
        verifier.verify(&parse(&V2[0]).unwrap()).map(|_| ())
    };
    let provider = STACK.provider("email");
    for identity in [
        ALICE,
        "glob:*@example.test",
        "re:(alice|bob)@example\\.test",
    ] {
        judged(identity, &provider).unwrap();
    }
    for identity in [
        "bob@example.test",
        "alice@example.tes",
        "glob:*@example.org",
        "re:alice@",
    ] {
        let error = judged(identity, &provider).unwrap_err();
        let Error::Identity { found, .. } = &error else {
            panic!("{error}")
        };
        assert!(found.contains(ALICE), "{error}");
    }
    for provider in ["", &STACK.provider("gcp"), &format!("{provider}/")] {
        assert!(
            matches!(judged(ALICE, provider), Err(Error::Identity { .. })),
            "{provider}"
        );
    }
}

#[test]
fn a_log_entry_must_be_of_this_bundle_and_in_the_log() {
    let mut reasons = BTreeSet::new();
    for [bundle, other] in [&*V2, &*V1] {
        let entries = |value: &mut Value| material(value)["tlogEntries"].take();
        for (what, result) in [
            (
                "another bundle's",
                // The later one's, whose time is never before the certificate's.
                altered(other, |b| {
                    material(b)["tlogEntries"] = entries(&mut bundle.clone());
                }),
            ),
            (
                "inclusion hash",
                altered(bundle, |b| {
                    flip(&mut material(b)["tlogEntries"][0]["inclusionProof"]["hashes"][0]);
                }),
            ),
            (
                "root hash",
                altered(bundle, |b| {
                    flip(&mut material(b)["tlogEntries"][0]["inclusionProof"]["rootHash"]);
                }),
            ),
            (
                "checkpoint",
                altered(bundle, |b| {
                    let envelope = &mut material(b)["tlogEntries"][0]["inclusionProof"]["checkpoint"]
                        ["envelope"];
                    let (text, signed) = envelope.as_str().unwrap().rsplit_once(' ').unwrap();
                    let mut signed = json!(signed.trim_end());
                    flip(&mut signed);
                    *envelope = json!(format!("{text} {}\n", signed.as_str().unwrap()));
                }),
            ),
            (
                "body",
                altered(bundle, |b| {
                    flip(&mut material(b)["tlogEntries"][0]["canonicalizedBody"]);
                }),
            ),
            (
                "index",
                altered(bundle, |b| {
                    material(b)["tlogEntries"][0]["inclusionProof"]["logIndex"] = json!("0");
                }),
            ),
        ] {
            let error = result.expect_err(what);
            let other =
                matches!(error, Error::SignatureNotCertified { .. }) && what.starts_with("another");
            assert!(
                other || matches!(error, Error::LogEntry { .. }),
                "{what}: {error}"
            );
            reasons.insert(error.to_string());
        }
    }
    assert!(
        reasons.len() > 6,
        "each is refused for its own reason: {reasons:#?}"
    );
}

#[test]
fn no_envelope_is_logged_as_hashedrekord_of_v1() {
    let error = altered(&V1[0], |b| {
        material(b)["tlogEntries"][0]["kindVersion"] =
            json!({"kind": "hashedrekord", "version": "0.0.1"});
    });
    assert!(matches!(error, Err(Error::LogEntry { reason }) if reason.contains("0.0.1")));
}

#[test]
fn the_time_of_a_v1_entry_is_the_log_s() {
    for alter in [
        |entry: &mut Value| flip(&mut entry["inclusionPromise"]["signedEntryTimestamp"]),
        |entry: &mut Value| {
            let time: u64 = entry["integratedTime"].as_str().unwrap().parse().unwrap();
            entry["integratedTime"] = json!((time - 1).to_string());
        },
    ] {
        let error = altered(&V1[0], |b| alter(&mut material(b)["tlogEntries"][0])).unwrap_err();
        assert!(matches!(error, Error::LogEntry { .. }), "{error}");
    }
}

#[test]
fn exactly_one_log_entry_and_one_signature() {
    for bundle in [&V2[0], &V1[0]] {
        let twice = altered(bundle, |b| {
            let entries = material(b)["tlogEntries"].as_array_mut().unwrap();
            entries.push(entries[0].clone());
        });
        assert!(matches!(twice, Err(Error::LogEntryCount { found: 2 })));
        let none = altered(bundle, |b| material(b)["tlogEntries"] = json!([]));
        assert!(matches!(none, Err(Error::LogEntryCount { found: 0 })));
        let many = altered(bundle, |b| {
            let entries = material(b)["tlogEntries"].as_array_mut().unwrap();
            *entries = vec![entries[0].clone(); 9];
        });
        assert!(matches!(many, Err(Error::TooMany { found: 9, .. })));
        let signatures = altered(bundle, |b| {
            let signatures = b["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
            signatures.push(signatures[0].clone());
        });
        assert!(matches!(
            signatures,
            Err(Error::SignatureCount { found: 2 })
        ));
    }
}

#[test]
fn signature_and_certificate_belong_together() {
    for [bundle, other] in [&*V2, &*V1] {
        let certificate = altered(bundle, |b| {
            material(b)["certificate"] = material(&mut other.clone())["certificate"].take();
        });
        assert!(matches!(
            certificate,
            Err(Error::SignatureNotCertified { .. }
                | Error::LogEntry { .. }
                | Error::Timestamp { .. })
        ));
        let broken = altered(bundle, |b| {
            flip(&mut material(b)["certificate"]["rawBytes"]);
        });
        assert!(
            matches!(broken, Err(Error::Certificate { .. })),
            "{broken:?}"
        );
        let payload = altered(bundle, |b| {
            b["dsseEnvelope"]["payload"] = other["dsseEnvelope"]["payload"].clone();
        });
        assert!(payload.is_err());
        let envelope = altered(bundle, |b| {
            b["dsseEnvelope"] = other["dsseEnvelope"].clone();
        });
        assert!(envelope.is_err());
    }
}

#[test]
fn the_trusted_root_decides() {
    let trust = STACK.trust_json("trust_config");
    let other = OTHER.trust_json("trust_config");
    let judged = |root: &Value| verify_with(&json!(root), &V2[0]).unwrap_err();

    let wrong = judged(&other["trustedRoot"]);
    assert!(matches!(wrong, Error::OtherInstance), "{wrong}");
    assert_eq!(wrong.kind(), ErrorKind::Signer);
    let hint = wrong.hint();
    assert!(hint.contains("--trust-config") && hint.contains("never from where the model"));
    let mut root = trust["trustedRoot"].clone();
    root["certificateAuthorities"] = other["trustedRoot"]["certificateAuthorities"].clone();
    assert!(matches!(judged(&root), Error::Certificate { .. }));

    let mut root = trust["trustedRoot"].clone();
    root["ctlogs"] = other["trustedRoot"]["ctlogs"].clone();
    let error = judged(&root);
    assert!(
        matches!(&error, Error::Certificate { reason } if reason.contains("certificate timestamp")),
        "an SCT of another log: {error}"
    );

    let mut root = trust["trustedRoot"].clone();
    root["tlogs"] = other["trustedRoot"]["tlogs"].clone();
    assert!(matches!(judged(&root), Error::OtherInstance));

    let mut root = trust["trustedRoot"].clone();
    root["timestampAuthorities"] = other["trustedRoot"]["timestampAuthorities"].clone();
    assert!(matches!(judged(&root), Error::Timestamp { .. }));

    let expired = std::fs::read(STACK.told("trusted_root_expired")).unwrap();
    let error = judged(&serde_json::from_slice(&expired).unwrap());
    assert!(
        matches!(error, Error::Certificate { .. }),
        "an expired intermediate: {error}"
    );
}

#[test]
fn a_timestamp_is_of_this_signature_by_a_known_authority() {
    let [bundle, other] = &*V2;
    let none = altered(bundle, |b| {
        material(b)["timestampVerificationData"] = json!({});
    });
    assert!(matches!(none, Err(Error::Timestamp { .. })));
    let swapped = altered(bundle, |b| {
        material(b)["timestampVerificationData"] =
            material(&mut other.clone())["timestampVerificationData"].take();
    });
    assert!(matches!(swapped, Err(Error::Timestamp { .. })));

    // Over this very signature, by the authority of another instance.
    let mut trust = STACK.trust_json("trust_config");
    trust["signingConfig"]["tsaUrls"] =
        OTHER.trust_json("trust_config")["signingConfig"]["tsaUrls"].clone();
    let signer = STACK.signer(parsed(&trust));
    let stamped = signer.sign(&statement(b"weights")).unwrap();
    let refused = verifier(&STACK.trust_json("trust_config")).verify(&stamped);
    assert!(matches!(refused, Err(Error::Timestamp { .. })));
    assert!(seal(&statement(b"weights"), &signer).is_err());
}

#[test]
fn methods_are_not_mixed() {
    let key = autosign_signing::KeySigner::read("tests/keys/p256.pem".as_ref(), None).unwrap();
    let bundle = key.sign(&statement(b"weights")).unwrap();
    let refused = verifier(&STACK.trust_json("trust_config")).verify(&bundle);
    assert!(matches!(refused, Err(Error::MethodMismatch { .. })));
    let refused = key.verifier().verify(&parse(&V2[0]).unwrap());
    assert!(matches!(refused, Err(Error::MethodMismatch { .. })));
}
