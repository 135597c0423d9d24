//! Certificates that were revoked (RFC 5280 section 5), and the time that somebody vouches for.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

#[macro_use]
mod pki;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use autosign_signing::{
    CertificateFault as Fault, CertificateVerifier, Error, JudgedAt, VerifiedModel,
};
use pki::{AS_IT_IS, Authority, Signed, alone, ca, forced, numbered, root};
use rcgen::date_time_ymd;

/// A leaf, number 3, below one authority, number 2, below a root.
struct Chain {
    top: Authority,
    one: Authority,
    signed: Signed,
}

impl Chain {
    fn new() -> Self {
        let top = root("Root", &numbered(1));
        let one = top.authority("One", &numbered(2));
        let signed = Signed::by(&one.leaf(&numbered(3)), &[&one.pem]);
        Self { top, one, signed }
    }

    fn verify(&self, lists: &[String]) -> Result<VerifiedModel, Error> {
        self.verify_at(lists, None)
    }

    fn verify_at(&self, lists: &[String], at: Option<SystemTime>) -> Result<VerifiedModel, Error> {
        let mut verifier = CertificateVerifier::from_pem(self.top.pem.as_bytes())?;
        if !lists.is_empty() {
            let file = self.signed.file("lists.pem", &lists.concat());
            verifier = verifier.with_revocation_lists([&file])?;
        }
        if let Some(at) = at {
            verifier = verifier.with_time(at);
        }
        self.signed.verify_with(&verifier)
    }
}

fn new_year(year: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs((year - 1970) * 31_556_952)
}

#[test]
fn what_was_revoked_is_refused() {
    let chain = Chain::new();
    let (top, one) = (&chain.top, &chain.one);
    chain.verify(&[]).unwrap();
    let good = [top.revoked(&[9], 2090), one.revoked(&[9], 2090)];
    chain.verify(&good).unwrap();
    for lists in [
        [top.revoked(&[9], 2090), one.revoked(&[9, 3], 2090)],
        [top.revoked(&[2], 2090), one.revoked(&[], 2090)],
    ] {
        let text = refused!(chain.verify(&lists), Fault::Revoked);
        assert!(text.contains("\"CN=Alice\""), "{text}");
    }
    // The same number of another authority is another certificate.
    chain
        .verify(&[top.revoked(&[3], 2090), one.revoked(&[2], 2090)])
        .unwrap();
}

#[test]
fn of_several_lists_of_one_issuer_each_counts() {
    let chain = Chain::new();
    let (top, one) = (&chain.top, &chain.one);
    let top_good = top.revoked(&[], 2090);
    let (good, bad) = (one.revoked(&[], 2090), one.revoked_in(2025, &[3], 2090));
    let revoked_once = one.revoked(&[3], 2025); // and ended since
    let top_bad = top.revoked_in(2025, &[2], 2090);
    for lists in [
        [&top_good, &good, &bad],
        [&top_good, &bad, &good],
        [&good, &bad, &top_good],
        [&top_good, &good, &revoked_once],
        [&revoked_once, &top_good, &good],
        [&top_good, &top_bad, &good],
        [&top_bad, &top_good, &good],
        [&good, &top_good, &top_bad],
    ] {
        refused!(chain.verify(&lists.map(String::clone)), Fault::Revoked);
        // In files of their own, too.
        let files = ["a", "b", "c"].map(|name| format!("{name}.pem"));
        let files = files.iter().zip(lists);
        let files: Vec<_> = files
            .map(|(name, list)| chain.signed.file(name, list))
            .collect();
        let verifier = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
        let verifier = verifier.with_revocation_lists(&files).unwrap();
        refused!(chain.signed.verify_with(&verifier), Fault::Revoked);
    }
    // The newest says whether it has ended.
    let (ended, newer) = (one.revoked(&[], 2025), one.revoked_in(2025, &[], 2090));
    for lists in [[&top_good, &ended, &newer], [&newer, &ended, &top_good]] {
        chain.verify(&lists.map(String::clone)).unwrap();
    }
}

#[test]
fn a_list_must_say_that_a_certificate_is_good() {
    let chain = Chain::new();
    let (top, one) = (&chain.top, &chain.one);
    for lists in [
        vec![top.revoked(&[], 2090)],
        vec![one.revoked(&[], 2090)],
        vec![top.revoked(&[], 2090), one.revoked(&[], 2025)], // it ended
        vec![root("Other", &numbered(1)).revoked(&[], 2090)],
    ] {
        refused!(chain.verify(&lists), Fault::RevocationUnknown { .. });
    }
    // One in an authority's name that is not signed by it says nothing.
    let false_one = root("One", &numbered(1)).revoked(&[], 2090);
    let lists = [top.revoked(&[], 2090), false_one];
    refused!(chain.verify(&lists), Fault::Refused { .. });

    // A leaf that is an authority's is beyond rustls-webpki, and its lists with it.
    let signed = forced(&top.leaf(&ca), &[]);
    let verifier = || CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
    signed.verify_with(&verifier()).unwrap();
    let file = signed.file("list.pem", &top.revoked(&[], 2090));
    let verifier = verifier().with_revocation_lists([&file]).unwrap();
    refused!(
        signed.verify_with(&verifier),
        Fault::RevocationUnknown { .. }
    );
    // One that is itself the given root is nobody's to revoke.
    let leaf = alone(AS_IT_IS);
    let signed = Signed::by(&leaf, &[]);
    let verifier = CertificateVerifier::from_pem(leaf.pem.as_bytes()).unwrap();
    let verifier = verifier.with_revocation_lists([&file]).unwrap();
    signed.verify_with(&verifier).unwrap();
}

#[test]
fn lists_that_cannot_be_used() {
    let top = root("Root", &numbered(1));
    let signed = Signed::not_yet();
    let read = |file: &Path| {
        let verifier = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
        verifier.with_revocation_lists([file]).map(drop)
    };
    let list = top.revoked(&[], 2090);
    let der = signed.folder.path().join("list.der");
    std::fs::write(&der, pem::parse(&list).unwrap().contents()).unwrap();
    read(&der).unwrap();
    let all = list.repeat(2) + &top.pem; // other blocks are passed over
    read(&signed.file("all.pem", &all)).unwrap();

    for (name, text) in [("empty", ""), ("text", "no list")] {
        let error = read(&signed.file(name, text)).unwrap_err();
        assert!(matches!(error.root(), Error::RevocationList { .. }));
        assert!(error.to_string().contains(name) && !error.hint().is_empty());
    }
    let error = read(&signed.file("certificate.pem", &top.pem)).unwrap_err();
    assert!(matches!(error.root(), Error::KeyForm { .. }), "{error:?}");
}

#[test]
fn a_time_that_somebody_vouches_for() {
    let top = root("Root", AS_IT_IS);
    let leaf = top.leaf(&|params| {
        params.not_before = date_time_ymd(2021, 1, 1);
        params.not_after = date_time_ymd(2023, 1, 1);
    });
    let signed = forced(&leaf, &[]);
    let at = |year| {
        let verifier = CertificateVerifier::from_pem(top.pem.as_bytes()).unwrap();
        signed.verify_with(&verifier.with_time(new_year(year)))
    };
    let verified = at(2022).unwrap();
    let judged = verified.manifest().judged_at();
    assert_eq!(judged, Some(JudgedAt::Given(new_year(2022))));
    refused!(at(2024), Fault::Expired { .. });
    refused!(at(2020), Fault::NotYetValid { .. });

    // Lists are those of that time, too.
    let chain = Chain::new();
    let lists = [chain.top.revoked(&[], 2025), chain.one.revoked(&[], 2025)];
    chain.verify_at(&lists, Some(new_year(2025))).unwrap();
    refused!(
        chain.verify_at(&lists, Some(new_year(2027))),
        Fault::RevocationUnknown { .. }
    );
}
