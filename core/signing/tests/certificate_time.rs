//! A timestamp of the real timestamp authority (framework-tests/sigstore) proves when a certificate or a key signed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

#[macro_use]
mod pki;
mod stack;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use autosign_signing::{
    AnnotationFault, Annotations, CertificateFault as Fault, CertificateSigner,
    CertificateVerifier, Clock, Connection, Dialect, Error, Freshness, Hashing, Ignore, JudgedAt,
    KeySigner, KeyVerifier, Manner, Policy, SystemClock, Timestamped, VerifiedModel, publish, seal,
    sign, state, verify as verify_model,
};
use pki::{AS_IT_IS, Leaf, Signed, alone, edit, root};
use rcgen::date_time_ymd;
use serde_json::{Value, json};
use stack::{OTHER, STACK, Stack};

/// Long after the end of every leaf here.
struct Late;

impl Clock for Late {
    fn now(&self) -> SystemTime {
        date_time_ymd(2050, 1, 1).into()
    }

    fn sleep(&self, _: Duration) {}
}

/// Where the instance's timestamp authority is, and its certificates in PEM.
fn authority(stack: &Stack) -> (String, String) {
    let trust = stack.trust_json("trust_config");
    let url = &trust["signingConfig"]["tsaUrls"][0]["url"];
    let chain = &trust["trustedRoot"]["timestampAuthorities"][0]["certChain"]["certificates"];
    let pem = chain.as_array().unwrap().iter().map(|one| {
        let der = one["rawBytes"].as_str().unwrap();
        format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
    });
    (url.as_str().unwrap().to_owned(), pem.collect())
}

fn stamped(leaf: &Leaf, url: &str) -> Result<Signed, Error> {
    stamped_and_said(leaf, url, Annotations::default())
}

fn stamped_and_said(leaf: &Leaf, url: &str, said: Annotations) -> Result<Signed, Error> {
    let place = Signed::not_yet();
    let (key, certificate) = (
        place.file("key.pem", &leaf.key),
        place.file("leaf.pem", &leaf.pem),
    );
    let connection = Connection::new(None, Arc::new(SystemClock))?.with_retries(0);
    let signer = CertificateSigner::read::<&str>(&key, None, &certificate, &[])?;
    let signer = Timestamped::new(Box::new(signer), connection, url.to_owned());
    let hashing = Hashing::default();
    let mut statement = state(Dialect::Oms, &place.model, &Ignore::git(), hashing)?;
    statement.annotate(said);
    publish(&place.signature, &seal(&statement, &signer)?, Manner::Plain)?;
    Ok(place)
}

fn verify(signed: &Signed, root: &str, authorities: &str) -> Result<VerifiedModel, Error> {
    let chain = signed.file("authority.pem", authorities);
    let verifier = CertificateVerifier::from_pem(root.as_bytes())?
        .with_clock(Arc::new(Late))
        .with_timestamp_authorities([&chain])?;
    signed.verify_with(&verifier)
}

#[test]
fn where_a_signer_says_no_time_the_proven_one_counts() {
    let (top, (url, chain)) = (root("Root", AS_IT_IS), authority(&STACK));
    let leaf = top.leaf(&|params| params.not_after = date_time_ymd(2040, 1, 1));
    let signed = stamped(&leaf, &url).unwrap();
    let verified = verify(&signed, &top.pem, &chain).unwrap();
    let proven = verified.manifest().proven_time().unwrap();
    let chain = signed.file("authority.pem", &chain);
    let believed = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
    let believed = believed.with_timestamp_authorities([&chain]).unwrap();
    for (earliest, good) in [(proven, true), (proven + Duration::from_secs(1), false)] {
        let freshness = Freshness {
            not_before: Some(earliest),
            ..Freshness::default()
        };
        let policy = Policy {
            freshness,
            ..Policy::default()
        };
        let (model, signature) = (&signed.model, &signed.signature);
        let found = verify_model(model, signature, &believed, &policy, Hashing::default());
        assert_eq!(found.is_ok(), good);
    }
}

#[test]
fn none_is_saved_after_it_is_proven_to_be_signed() {
    let (top, (url, chain)) = (root("Root", AS_IT_IS), authority(&STACK));
    let leaf = top.leaf(&|params| params.not_after = date_time_ymd(2040, 1, 1));
    let hour = Duration::from_secs(3600);
    for (ahead, good) in [(Duration::from_secs(60), true), (hour, false)] {
        let created = Some(SystemTime::now() + ahead);
        let said = Annotations {
            created,
            ..Annotations::default()
        };
        let signed = stamped_and_said(&leaf, &url, said).unwrap();
        let chain = signed.file("authority.pem", &chain);
        let believed = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
        let believed = believed.with_timestamp_authorities([&chain]).unwrap();
        // A day later it would not be from the future.
        let later = SystemTime::now() + 24 * hour;
        let freshness = Freshness::default().not_older_than(Some(48 * hour), later);
        for (freshness, good) in [(freshness, good), (Freshness::default(), true)] {
            let policy = Policy {
                freshness,
                ..Policy::default()
            };
            let (model, signature) = (&signed.model, &signed.signature);
            let found = verify_model(model, signature, &believed, &policy, Hashing::default());
            assert_eq!(found.is_ok(), good);
            if let Err(error) = found {
                let fault = error.root();
                assert!(
                    matches!(fault, Error::Annotation(AnnotationFault::Future { .. })),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn a_timestamp_proves_the_time_of_signing() {
    let top = root("Root", AS_IT_IS);
    let leaf = top.leaf(&|params| params.not_after = date_time_ymd(2040, 1, 1));
    let ((url, chain), (_, other)) = (authority(&STACK), authority(&OTHER));
    let before = SystemTime::now() - Duration::from_secs(60);
    let signed = stamped(&leaf, &url).unwrap();
    let verified = verify(&signed, &top.pem, &chain).unwrap();
    let judged = verified.manifest().judged_at().unwrap();
    assert!(
        matches!(judged, JudgedAt::Timestamp(time) if time > before),
        "{judged:?}"
    );
    assert!(
        judged
            .to_string()
            .contains("which a timestamp over the signature proves")
    );

    // Of an authority that is not believed it proves nothing, nor does it where none is.
    let error = verify(&signed, &top.pem, &other).err().unwrap();
    assert!(matches!(error.root(), Error::Timestamp { .. }), "{error:?}");
    let unasked = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
    let unasked = unasked.with_clock(Arc::new(Late));
    let text = refused!(signed.verify_with(&unasked), Fault::Expired { .. });
    assert!(text.contains("--timestamp-certificate-chain"), "{text}");
    // Without a timestamp the authority is of no use.
    refused!(
        verify(&Signed::by(&leaf, &[]), &top.pem, &chain),
        Fault::Expired { .. }
    );
}

#[test]
fn a_timestamp_of_another_signature_proves_nothing() {
    let leaf = alone(&|params| params.not_after = date_time_ymd(2040, 1, 1));
    let (url, chain) = authority(&STACK);
    let (signed, another) = (stamped(&leaf, &url).unwrap(), stamped(&leaf, &url).unwrap());
    verify(&signed, &leaf.pem, &chain).unwrap();
    let stamps = "/verificationMaterial/timestampVerificationData";
    let bundle: Value = serde_json::from_slice(&std::fs::read(another.signature).unwrap()).unwrap();
    let foreign = bundle.pointer(stamps).unwrap().clone();
    edit(&signed, |bundle| {
        *bundle.pointer_mut(stamps).unwrap() = foreign;
    });
    let error = verify(&signed, &leaf.pem, &chain).err().unwrap();
    assert!(matches!(error.root(), Error::Timestamp { .. }), "{error:?}");
    edit(&signed, |bundle| {
        *bundle.pointer_mut(stamps).unwrap() = json!({});
    });
    refused!(verify(&signed, &leaf.pem, &chain), Fault::Expired { .. });
}

#[test]
fn without_its_authority_nothing_is_published() {
    let leaf = alone(AS_IT_IS);
    let error = stamped(&leaf, "http://127.0.0.1:1/").err().unwrap();
    assert!(matches!(error, Error::Service { .. }), "{error:?}");
    // A chain of one is no chain, and a signer's is none of a timestamp authority's.
    let (url, _) = authority(&STACK);
    let signed = stamped(&leaf, &url).unwrap();
    let error = verify(&signed, &leaf.pem, &leaf.pem).err().unwrap();
    assert!(
        matches!(error.root(), Error::NoRoot { found: 1 }),
        "{error:?}"
    );
    let error = verify(&signed, &leaf.pem, &[&*leaf.pem, &*leaf.pem].concat());
    let error = error.err().unwrap();
    assert!(matches!(error.root(), Error::Timestamp { .. }), "{error:?}");
}

#[test]
fn a_timestamp_proves_that_a_key_signed_before() {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
    let ((url, chain), (_, other)) = (authority(&STACK), authority(&OTHER));
    let signed = |name: &str| {
        let place = Signed::not_yet();
        let signer = KeySigner::read(&keys.join(name), None)?;
        let connection = Connection::new(None, Arc::new(SystemClock))?.with_retries(0);
        let signer = Timestamped::new(Box::new(signer), connection, url.clone());
        let (model, signature) = (&place.model, &place.signature);
        sign(
            model,
            signature,
            &Ignore::git(),
            &signer,
            Hashing::default(),
        )?;
        Ok::<_, Error>(place)
    };
    let judged = |place: &Signed, authority: Option<&str>| {
        let mut verifier = KeyVerifier::read(&keys.join("p384.pub.pem"))?;
        if let Some(chain) = authority {
            verifier = verifier.with_timestamp_authorities([place.file("authority.pem", chain)])?;
        }
        let (policy, hashing) = (Policy::default(), Hashing::default());
        let (model, signature) = (&place.model, &place.signature);
        let model = verify_model(model, signature, &verifier, &policy, hashing)?;
        Ok::<_, Error>(model.manifest().judged_at())
    };
    let before = SystemTime::now() - Duration::from_secs(60);
    let place = signed("p384.pem").unwrap();
    let time = judged(&place, Some(&chain)).unwrap();
    assert!(
        matches!(time, Some(JudgedAt::Timestamp(time)) if time > before),
        "{time:?}"
    );
    // Whoever believes no authority hears of no time.
    assert_eq!(judged(&place, None).unwrap(), None);
    let error = judged(&place, Some(&other)).unwrap_err();
    assert!(matches!(error.root(), Error::Timestamp { .. }), "{error:?}");

    // Of another signature, or damaged, it is refused; where there is none, nothing is proven.
    let stamps = "/verificationMaterial/timestampVerificationData/rfc3161Timestamps";
    let another = signed("p384.pem").unwrap();
    let bundle: Value = serde_json::from_slice(&std::fs::read(another.signature).unwrap()).unwrap();
    let foreign = bundle.pointer(stamps).unwrap().clone();
    for (stamp, refused) in [
        (foreign, true),
        (json!([{ "signedTimestamp": "AAAA" }]), true),
        (json!([]), false),
    ] {
        edit(&place, |bundle| {
            *bundle.pointer_mut(stamps).unwrap() = stamp;
        });
        match judged(&place, Some(&chain)) {
            Ok(time) => assert!(!refused && time.is_none(), "{time:?}"),
            Err(error) => {
                assert!(
                    refused && matches!(error.root(), Error::Timestamp { .. }),
                    "{error:?}"
                );
            }
        }
    }
}
