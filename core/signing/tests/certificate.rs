//! Method `certificate`: what is signed verifies under the given root, and under no other.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

#[macro_use]
mod pki;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use autosign_signing::{
    CertificateFault as Fault, CertificateVerifier, Clock, Error, VerifiedModel,
};
use pki::{AS_IT_IS, Signed, alone, ca, forced, named, root};
use rcgen::{CertificateParams, GeneralSubtree, NameConstraints, SanType, date_time_ymd};

struct At(SystemTime);

impl Clock for At {
    fn now(&self) -> SystemTime {
        self.0
    }

    fn sleep(&self, _: Duration) {}
}

fn at(year: i32) -> Arc<dyn Clock> {
    Arc::new(At(date_time_ymd(year, 6, 1).into()))
}

fn years(params: &mut CertificateParams, from: i32, to: i32) {
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
}

fn by(verified: &VerifiedModel) -> &str {
    verified.manifest().signer()
}

#[test]
fn chains_of_every_length() {
    let top = root("Root", AS_IT_IS);
    let leaf = top.leaf(AS_IT_IS);
    let signed = Signed::by(&leaf, &[]);
    assert_eq!(
        by(&signed.verify(&[&top.pem]).unwrap()),
        "CN=Alice (by CN=Root)"
    );

    let one = top.authority("One", AS_IT_IS);
    let two = one.authority("Two", AS_IT_IS);
    for (leaf, between) in [
        (one.leaf(AS_IT_IS), vec![&*one.pem]),
        (two.leaf(AS_IT_IS), vec![&*two.pem, &*one.pem]),
        (two.leaf(AS_IT_IS), vec![&*one.pem, &*two.pem]),
    ] {
        let with_root = [between.as_slice(), &[&*top.pem]].concat();
        Signed::by(&leaf, &between).verify(&[&top.pem]).unwrap();
        Signed::by(&leaf, &with_root).verify(&[&top.pem]).unwrap();
        // The verifier may have them instead.
        let given = [&[&*top.pem], between.as_slice()].concat();
        Signed::by(&leaf, &[]).verify(&given).unwrap();
    }
}

#[test]
fn a_leaf_that_signed_itself_is_its_own_root() {
    let edits: [&dyn Fn(&mut CertificateParams); 3] =
        [AS_IT_IS, &ca, &|params| params.extended_key_usages.clear()];
    for edit in edits {
        let leaf = alone(edit);
        let signed = Signed::by(&leaf, &[]);
        assert_eq!(
            by(&signed.verify(&[&leaf.pem]).unwrap()),
            "CN=Alice (by CN=Alice)"
        );
        // Neither it nor another one of its name is believed otherwise.
        refused!(
            signed.verify(&[&root("Root", AS_IT_IS).pem]),
            Fault::IssuerUnknown { .. }
        );
        refused!(
            signed.verify(&[&alone(edit).pem]),
            Fault::NotAnAuthority | Fault::IssuerSignature { .. }
        );
    }
}

#[test]
fn a_leaf_that_is_an_authority_s() {
    let top = root("Root", AS_IT_IS);
    let one = top.authority("One", AS_IT_IS);
    let leaf = one.leaf(&ca);
    Signed::by(&leaf, &[&one.pem]).verify(&[&top.pem]).unwrap();

    let silent = one.leaf(&|params| {
        ca(params);
        params.extended_key_usages.clear();
    });
    refused!(
        Signed::not_yet().sign(&silent, &[&one.pem]),
        Fault::AuthorityLeaf
    );

    let constrained = top.authority("One", &constrained);
    let leaf = constrained.leaf(&ca);
    let signed = forced(&leaf, &[&constrained.pem]);
    refused!(signed.verify(&[&top.pem]), Fault::NameConstraints);
}

fn constrained(params: &mut CertificateParams) {
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName("good.example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
}

#[test]
fn name_constraints_hold() {
    let top = root("Root", &constrained);
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let leaf = |name: &str| top.leaf(&|params| params.subject_alt_names = vec![dns(name)]);
    let signed = Signed::by(&leaf("a.good.example"), &[]);
    signed.verify(&[&top.pem]).unwrap();
    let signed = Signed::by(&leaf("a.bad.example"), &[]);
    let text = refused!(signed.verify(&[&top.pem]), Fault::Refused { .. });
    assert!(text.contains("NameConstraint"), "{text}");
}

#[test]
fn only_given_roots_are_believed() {
    let (top, other) = (root("Root", AS_IT_IS), root("Other", AS_IT_IS));
    let one = top.authority("One", AS_IT_IS);
    let leaf = one.leaf(AS_IT_IS);
    // It brings its own root, which proves nothing.
    let signed = Signed::by(&leaf, &[&one.pem, &top.pem]);
    let text = refused!(signed.verify(&[&other.pem]), Fault::IssuerUnknown { .. });
    assert!(
        text.contains("\"CN=One\" was issued by \"CN=Root\""),
        "{text}"
    );
    let impostor = root("Root", AS_IT_IS);
    refused!(
        signed.verify(&[&impostor.pem]),
        Fault::IssuerSignature { .. }
    );
    // Beside the right one it does no harm.
    signed.verify(&[&impostor.pem, &top.pem]).unwrap();

    // No file, no certificate, or only one between is nothing to believe in; the web's authorities are not the default.
    let nobody = CertificateVerifier::read::<&str>(&[]);
    assert!(matches!(nobody.err(), Some(Error::NoRoot { found: 0 })));
    let Err(error) = signed.verify(&[&one.pem]) else {
        panic!("accepted")
    };
    assert!(matches!(error, Error::NoRoot { found: 1 }) && error.hint().contains("root"));
    let Err(error) = signed.verify(&[&leaf.key]) else {
        panic!("accepted")
    };
    assert!(matches!(error, Error::KeyForm { .. }), "{error:?}");
    assert!(
        error
            .to_string()
            .contains("no certificate in PEM form, but PRIVATE KEY")
    );
}

#[test]
fn a_chain_with_a_link_missing_or_of_another_key() {
    let top = root("Root", AS_IT_IS);
    let (one, twin) = (
        top.authority("One", AS_IT_IS),
        top.authority("One", AS_IT_IS),
    );
    let leaf = one.leaf(AS_IT_IS);
    let signed = Signed::by(&leaf, &[]);
    refused!(signed.verify(&[&top.pem]), Fault::IssuerUnknown { .. });
    let signed = Signed::by(&leaf, &[&twin.pem]);
    refused!(signed.verify(&[&top.pem]), Fault::IssuerSignature { .. });
    // Of two of one name the right one is found.
    let signed = Signed::by(&leaf, &[&twin.pem, &one.pem]);
    signed.verify(&[&top.pem]).unwrap();
}

#[test]
fn validity_is_judged_now_or_if_asked_as_of_the_leaf_s_begin() {
    let top = root("Root", &|params| years(params, 2020, 2040));
    let leaf = top.leaf(&|params| years(params, 2021, 2023));
    refused!(Signed::not_yet().sign(&leaf, &[]), Fault::Expired { .. });
    let signed = forced(&leaf, &[]);
    let verifier = || CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
    let text = refused!(signed.verify(&[&top.pem]), Fault::Expired { .. });
    assert!(
        text.contains("2023-01-01T00:00:00Z") && text.contains("--legacy"),
        "{text}"
    );
    signed
        .verify_with(&verifier().with_clock(at(2022)))
        .unwrap();
    let early = verifier().with_clock(at(2019));
    let text = refused!(signed.verify_with(&early), Fault::NotYetValid { .. });
    assert!(text.contains("--legacy"), "{text}");
    signed.verify_with(&verifier().with_legacy_time()).unwrap();

    // The whole way must be valid, the root too, whatever it is judged by.
    for (root_begins, between_begins) in [(2022, 2020), (2020, 2022)] {
        let top = root("Root", &|params| years(params, root_begins, 2040));
        let one = top.authority("One", &|params| years(params, between_begins, 2040));
        let leaf = one.leaf(&|params| years(params, 2021, 2040));
        let signed = Signed::by(&leaf, &[&one.pem]);
        let verifier = || CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
        let legacy = verifier().with_legacy_time();
        refused!(signed.verify_with(&legacy), Fault::NotYetValid { .. });
        let late = verifier().with_clock(at(2041));
        refused!(signed.verify_with(&late), Fault::Expired { .. });
    }
    let top = root("Root", &|params| years(params, 2020, 2025));
    let leaf = top.leaf(&|params| years(params, 2021, 2040));
    let text = refused!(
        Signed::by(&leaf, &[]).verify(&[&top.pem]),
        Fault::Expired { .. }
    );
    assert!(text.contains("\"CN=Root\""), "{text}");
}

#[test]
fn who_signed_is_told_and_can_be_required() {
    let top = root("Root", AS_IT_IS);
    let leaf = top.leaf(&|params| {
        params.subject_alt_names = vec![
            SanType::Rfc822Name("alice@example.com".try_into().unwrap()),
            SanType::URI("https://example.com/alice".try_into().unwrap()),
        ];
    });
    let signed = Signed::by(&leaf, &[]);
    let who = signed.verify(&[&top.pem]).unwrap();
    assert_eq!(
        by(&who),
        "alice@example.com, https://example.com/alice (by CN=Root)"
    );
    let by = |identity: &str| {
        let verifier = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
        signed.verify_with(&verifier.with_identity(identity)?)
    };
    for right in [
        "alice@example.com",
        "https://example.com/alice",
        "CN=Alice",
        "glob:*@example.com",
    ] {
        by(right).unwrap();
    }
    for wrong in [
        "bob@example.com",
        "Alice",
        "alice@example.co",
        "glob:*@example.org",
        "CN=Root",
    ] {
        let error = by(wrong).err().unwrap();
        let Error::Identity { expected, found } = error.root() else {
            panic!("{error:?}")
        };
        assert!(
            expected == wrong && found.contains("alice@example.com") && found.contains("CN=Alice")
        );
    }
    assert!(matches!(by("re:("), Err(Error::IdentityPattern { .. })));

    // A name can neither pass for another field nor move the cursor.
    let odd = top.leaf(&|params| named(params, "Mallory,O=Good\u{1b}[2J\u{202e}"));
    let shown = Signed::by(&odd, &[]).verify(&[&top.pem]).unwrap();
    let shown = shown.manifest().signer();
    assert!(
        !shown.chars().any(|c| c.is_control() || c == '\u{202e}'),
        "{shown}"
    );
    assert!(!shown.contains("Mallory,O"), "{shown}");

    // Nor is the name of a host an email address or a URI.
    let odd = top.leaf(&|params| {
        named(params, "Mallory");
        let names = [
            "alice@example.com",
            "https://example.com/alice",
            "example.com",
        ];
        let names = names.map(|name| SanType::DnsName(name.try_into().unwrap()));
        params.subject_alt_names = names.into();
    });
    let shown = Signed::by(&odd, &[]).verify(&[&top.pem]).unwrap();
    assert_eq!(
        shown.manifest().signer().to_string(),
        "example.com (by CN=Root)"
    );
}

#[test]
fn a_name_of_one_kind_is_not_taken_for_one_of_another() {
    let top = root("Root", AS_IT_IS);
    let refused = |common_name: &str, name: SanType, identity: &str| {
        let leaf = top.leaf(&|params| {
            named(params, common_name);
            params.subject_alt_names = vec![name.clone()];
        });
        let verifier = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
        let verifier = verifier.with_identity(identity).unwrap();
        let result = Signed::by(&leaf, &[]).verify_with(&verifier);
        matches!(result.err(), Some(error) if matches!(error.root(), Error::Identity { .. }))
    };
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let email = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    for identity in [
        "x@vendor.example",
        "glob:*@vendor.example",
        "re:.*@vendor.*",
    ] {
        assert!(refused("x@vendor.example", dns("other.example"), identity));
        assert!(refused("Mallory", uri("evil:x@vendor.example"), identity));
        assert!(refused("CN=x@vendor.example", dns("a.example"), identity));
        assert!(!refused("Mallory", email("x@vendor.example"), identity));
    }
    for identity in ["CN=Release", "glob:CN=Rel*", "re:CN=Rel.*"] {
        assert!(refused("Mallory", dns("CN=Release"), identity));
        assert!(refused("Mallory", uri("CN=Release"), identity));
        assert!(!refused("Release", dns("a.example"), identity));
    }
    for identity in ["https://vendor.example/x", "glob:https://vendor.example/*"] {
        assert!(refused(
            "https://vendor.example/x",
            dns("a.example"),
            identity
        ));
        assert!(refused(
            "Mallory",
            email("https://vendor.example/x"),
            identity
        ));
        assert!(!refused(
            "Mallory",
            uri("https://vendor.example/x"),
            identity
        ));
    }
    for identity in ["build.vendor.example", "glob:*.vendor.example", "re:.*"] {
        assert!(refused("build.vendor.example", dns(""), identity));
        assert!(!refused("Mallory", dns("build.vendor.example"), identity));
    }
}
