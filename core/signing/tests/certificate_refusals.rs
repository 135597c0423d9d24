//! Method `certificate`: every broken rule has its own error.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

#[macro_use]
mod pki;

use autosign_signing::{
    Bundle, CertificateFault as Fault, CertificateSigner, CertificateVerifier, Error, Method,
    VerifiedModel,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use pki::{AS_IT_IS, Leaf, Signed, ca, certificates, edit, forced, named, root};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

#[test]
fn usages_that_are_not_for_signing() {
    let top = root("Root", AS_IT_IS);
    let leaf =
        |edit: &dyn Fn(&mut CertificateParams)| forced(&top.leaf(edit), &[]).verify(&[&top.pem]);
    leaf(AS_IT_IS).unwrap();
    leaf(&|params| params.extended_key_usages.clear()).unwrap();
    // A web server's certificate, and one for anything.
    for purpose in [
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::Any,
    ] {
        let text = refused!(
            leaf(&|params| params.extended_key_usages = vec![purpose.clone()]),
            Fault::ExtendedKeyUsage { .. }
        );
        assert!(text.contains("codeSigning"), "{text}");
    }
    for usages in [vec![], vec![KeyUsagePurpose::KeyAgreement]] {
        let found = usages.len();
        let result = leaf(&|params| params.key_usages.clone_from(&usages));
        let text = refused!(result, Fault::NoDigitalSignature { .. });
        assert_eq!(text.contains("states no key usage"), found == 0, "{text}");
    }
    let result = leaf(&|params| {
        let mut odd = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        odd.set_criticality(true);
        params.custom_extensions.push(odd);
    });
    let text = refused!(result, Fault::CriticalExtension { .. });
    assert!(text.contains("1.2.3.4"), "{text}");
}

#[test]
fn authorities_that_may_not() {
    let top = root("Root", AS_IT_IS);
    let below = |edit: &dyn Fn(&mut CertificateParams)| {
        let one = top.authority("One", edit);
        forced(&one.leaf(AS_IT_IS), &[&one.pem]).verify(&[&top.pem])
    };
    below(AS_IT_IS).unwrap();
    below(&|params| params.key_usages.clear()).unwrap();
    for is_ca in [IsCa::NoCa, IsCa::ExplicitNoCa] {
        refused!(below(&|params| params.is_ca = is_ca), Fault::NotAnAuthority);
    }
    refused!(
        below(&|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]),
        Fault::MayNotCertify
    );
    refused!(
        below(&|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
        Fault::ExtendedKeyUsage { .. }
    );
    // A leaf that issues another one, in its own name.
    let alice = top.authority("Alice", &|params| params.is_ca = IsCa::NoCa);
    let signed = forced(&alice.leaf(&|params| named(params, "Bob")), &[&alice.pem]);
    refused!(signed.verify(&[&top.pem]), Fault::NotAnAuthority);
}

#[test]
fn path_length() {
    let limit = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    };
    let top = root("Root", &limit);
    Signed::by(&top.leaf(AS_IT_IS), &[])
        .verify(&[&top.pem])
        .unwrap();
    let one = top.authority("One", AS_IT_IS);
    let signed = Signed::by(&one.leaf(AS_IT_IS), &[&one.pem]);
    refused!(
        signed.verify(&[&top.pem]),
        Fault::PathLength { limit: 0, found: 1 }
    );
    // A leaf that is an authority's is still no authority below.
    Signed::by(&top.leaf(&ca), &[]).verify(&[&top.pem]).unwrap();

    let top = root("Root", AS_IT_IS);
    let one = top.authority("One", &limit);
    let two = one.authority("Two", AS_IT_IS);
    let signed = forced(&two.leaf(AS_IT_IS), &[&two.pem, &one.pem]);
    refused!(signed.verify(&[&top.pem]), Fault::PathLength { .. });
}

#[test]
fn chains_that_are_too_long() {
    let top = root("Root", AS_IT_IS);
    let mut line = vec![top.authority("1", AS_IT_IS)];
    for name in ["2", "3", "4", "5", "6", "7", "8", "9", "10"] {
        let next = line.last().unwrap().authority(name, AS_IT_IS);
        line.push(next);
    }
    for (leaf, length, good) in [
        (line[5].leaf(AS_IT_IS), 6, true),
        (line[5].leaf(&ca), 6, true),
        (line[6].leaf(AS_IT_IS), 7, false),
        (line[6].leaf(&ca), 7, false),
    ] {
        let chain: Vec<_> = line[..length].iter().map(|one| &*one.pem).collect();
        let result = forced(&leaf, &chain).verify(&[&top.pem]);
        if good {
            result.unwrap();
        } else {
            refused!(result, Fault::PathTooLong { limit: 6 });
        }
    }
    let chain: Vec<_> = line.iter().map(|one| &*one.pem).collect();
    let result = Signed::not_yet().sign(&top.leaf(AS_IT_IS), &chain);
    assert!(
        matches!(
            result,
            Err(Error::TooMany {
                what: "certificates",
                found: 11,
                limit: 10
            })
        ),
        "{result:?}"
    );
}

#[test]
fn what_was_altered_after_signing() {
    let top = root("Root", AS_IT_IS);
    let leaf = top.leaf(AS_IT_IS);
    let signed = Signed::by(&leaf, &[]);
    edit(&signed, |bundle| {
        let payload = &mut bundle["dsseEnvelope"]["payload"];
        let text = STANDARD.decode(payload.as_str().unwrap()).unwrap();
        let text = String::from_utf8(text)
            .unwrap()
            .replace("last.pt", "best.pt");
        *payload = STANDARD.encode(text).into();
    });
    refused!(signed.verify(&[&top.pem]), Fault::SignatureInvalid);

    // The certificate of somebody else of the same root, who did not sign.
    let signed = Signed::by(&leaf, &[]);
    let other = certificates(&top.leaf(&|params| named(params, "Mallory")).pem);
    edit(&signed, |bundle| {
        bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = other;
    });
    refused!(signed.verify(&[&top.pem]), Fault::SignatureInvalid);

    let signed = Signed::by(&leaf, &[]);
    std::fs::write(&signed.model, b"other").unwrap();
    assert!(matches!(signed.verify(&[&top.pem]), Err(Error::Differs(_))));
}

#[test]
fn bundles_that_are_not_what_they_should_be() {
    let top = root("Root", AS_IT_IS);
    let leaf = top.leaf(AS_IT_IS);
    let with = |chain: Value| {
        let signed = Signed::by(&leaf, &[]);
        edit(&signed, |bundle| {
            bundle["verificationMaterial"]["x509CertificateChain"] = chain;
        });
        signed.verify(&[&top.pem])
    };
    let error = |result: Result<VerifiedModel, Error>| result.err().unwrap();
    let none = error(with(json!({"certificates": []})));
    assert!(matches!(none.root(), Error::Material), "{none:?}");
    let text = error(with(json!({"certificates": [{"rawBytes": "!"}]})));
    assert!(
        matches!(text.root(), Error::Base64 { field: "rawBytes" }),
        "{text:?}"
    );
    let junk = with(json!({"certificates": [{"rawBytes": STANDARD.encode(b"junk")}]}));
    refused!(junk, Fault::Malformed { .. });
    // Cut anywhere, or with something behind it, it is no certificate, and nothing panics.
    let good = certificates(&leaf.pem);
    let der = STANDARD
        .decode(good[0]["rawBytes"].as_str().unwrap())
        .unwrap();
    for length in (0..der.len()).step_by(7) {
        let cut = STANDARD.encode(&der[..length]);
        refused!(
            with(json!({"certificates": [{"rawBytes": cut}]})),
            Fault::Malformed { .. }
        );
    }
    let large = with(json!({"certificates": [{"rawBytes": STANDARD.encode([b'0'; 1 << 16])}]}));
    let large = error(large);
    assert!(
        matches!(
            large.root(),
            Error::TooLarge {
                what: "certificate",
                ..
            }
        ),
        "{large:?}"
    );
    let twice = top.leaf(&|params| {
        let one = || CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
        params.custom_extensions = vec![one(), one()];
    });
    let text = refused!(
        forced(&twice, &[]).verify(&[&top.pem]),
        Fault::Malformed { .. }
    );
    assert!(text.contains("1.2.3.4 twice"), "{text}");
    let more = STANDARD.encode([der.as_slice(), b"\0"].concat());
    refused!(
        with(json!({"certificates": [{"rawBytes": more}]})),
        Fault::Malformed { .. }
    );

    let signed = Signed::by(&leaf, &[]);
    let bundle = Bundle::read(&signed.signature).unwrap();
    assert_eq!(bundle.method(), Method::Certificate);
    assert_eq!(bundle.fingerprints().len(), 1);
}

/// Any flipped bit of a leaf is refused, and panics nowhere; by our rules alone, too, where the leaf is an authority's.
#[test]
fn any_flip_in_the_leaf_is_refused() {
    let top = root("Root", AS_IT_IS);
    let verifier = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
    for leaf in [top.leaf(AS_IT_IS), top.leaf(&ca)] {
        let signed = Signed::by(&leaf, &[]);
        let good = certificates(&leaf.pem);
        let der = STANDARD.decode(good[0]["rawBytes"].as_str().unwrap());
        let der = der.unwrap();
        for at in 0..der.len() {
            let mut flipped = der.clone();
            flipped[at] ^= 1 << (at % 8);
            let chain = json!([{"rawBytes": STANDARD.encode(flipped)}]);
            edit(&signed, |bundle| {
                bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] = chain;
            });
            assert!(signed.verify_with(&verifier).is_err(), "byte {at}");
        }
    }
}

#[test]
fn a_key_that_does_not_fit_its_certificate() {
    let top = root("Root", AS_IT_IS);
    let (leaf, other) = (top.leaf(AS_IT_IS), top.leaf(AS_IT_IS));
    let mixed = Leaf {
        key: other.key,
        pem: leaf.pem,
    };
    let text = refused!(Signed::not_yet().sign(&mixed, &[]), Fault::AnotherKey);
    assert!(text.contains("leaf.pem"), "{text}");
    let missing = CertificateSigner::read("no.pem".as_ref(), None, "no.pem".as_ref(), &["no.pem"]);
    assert!(matches!(missing.err(), Some(Error::Io { .. })));
}

/// `forced` with `from` put in the place of `to` in the leaf's DER, as often as `times`.
fn patched(from: &[u8], to: &[u8], times: usize) -> (Signed, String) {
    let top = root("Root", AS_IT_IS);
    let leaf = top.leaf(AS_IT_IS);
    let signed = forced(&leaf, &[]);
    signed.verify(&[&top.pem]).unwrap();
    let good = certificates(&leaf.pem);
    let mut der = STANDARD
        .decode(good[0]["rawBytes"].as_str().unwrap())
        .unwrap();
    let places: Vec<_> = (0..der.len())
        .filter(|&at| der[at..].starts_with(from))
        .collect();
    assert_eq!(places.len(), times);
    for at in places {
        der[at..at + to.len()].copy_from_slice(to);
    }
    edit(&signed, |bundle| {
        bundle["verificationMaterial"]["x509CertificateChain"]["certificates"] =
            json!([{"rawBytes": STANDARD.encode(der)}]);
    });
    (signed, top.pem)
}

#[test]
fn a_signature_algorithm_that_nobody_believes() {
    // ecdsa-with-SHA256 to ecdsa-with-SHA224, in both places.
    let sha = |last: u8| [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last];
    let (signed, root) = patched(&sha(2), &sha(1), 2);
    let text = refused!(signed.verify(&[&root]), Fault::SignatureAlgorithm { .. });
    assert!(text.contains("1.2.840.10045.4.3.1"), "{text}");
}

#[test]
fn certificates_of_an_older_version() {
    let version = |number: u8| [0xa0, 3, 2, 1, number];
    for number in [0, 1] {
        let (signed, root) = patched(&version(2), &version(number), 1);
        let text = refused!(signed.verify(&[&root]), Fault::Malformed { .. });
        assert!(text.contains("not of version 3"), "{text}");
    }
}
