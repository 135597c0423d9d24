//! What is signed verifies, and nothing else does.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_signing::{
    Error, Hashing, Ignore, Policy, RelPath, hash, sign, signature_path, verify,
};
use common::{Fixture, signer, verifier};

#[test]
fn every_curve_and_key_form() {
    for (key, curve) in [
        ("p256.pem", "p256"),
        ("p256.sec1.pem", "p256"),
        ("p256.encrypted.pem", "p256"),
        ("scrypt.encrypted.pem", "p256"),
        ("p384.pem", "p384"),
        ("p384.sec1.pem", "p384"),
        ("p384.encrypted.pem", "p384"),
        ("p521.pem", "p521"),
        ("p521.sec1.pem", "p521"),
        ("p521.encrypted.pem", "p521"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("last.pt");
        std::fs::write(&model, b"weights").unwrap();
        let signature = signature_path(&model);
        sign(
            &model,
            &signature,
            &Ignore::git(),
            &signer(key),
            Hashing::default(),
        )
        .unwrap();
        let verified = verify(
            &model,
            &signature,
            &verifier(curve),
            &Policy::default(),
            Hashing::default(),
        );
        assert_eq!(
            verified.unwrap().files(),
            [RelPath::parse("last.pt").unwrap()],
            "{key}"
        );
        for other in ["p256", "p384", "p521"]
            .into_iter()
            .filter(|other| *other != curve)
        {
            let refused = verify(
                &model,
                &signature,
                &verifier(other),
                &Policy::default(),
                Hashing::default(),
            );
            assert!(
                matches!(refused.unwrap_err().root(), Error::SignatureInvalid { .. }),
                "{key} {other}"
            );
        }
    }
}

#[test]
fn a_key_file_with_parameters_before_the_key() {
    signer("with-params.pem");
}

#[test]
fn missing_changed_and_added_files_are_named() {
    let fixture = Fixture::signed(&[("a", b"1"), ("sub/b", b"2"), ("c", b"3")]);
    fixture.verify().unwrap();
    std::fs::remove_file(fixture.model.join("a")).unwrap();
    fixture.write("sub/b", b"X");
    fixture.write("sub/new", b"4");
    let Err(Error::Differs(difference)) = fixture.verify() else {
        panic!("tampering accepted")
    };
    let names = |names: &[RelPath]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&difference.missing), ["a"]);
    assert_eq!(names(&difference.changed), ["sub/b"]);
    assert_eq!(names(&difference.added), ["sub/new"]);
}

#[test]
fn a_renamed_file_is_missing_and_added() {
    let fixture = Fixture::signed(&[("a", b"1"), ("b", b"1")]);
    std::fs::rename(fixture.model.join("a"), fixture.model.join("c")).unwrap();
    let Err(Error::Differs(difference)) = fixture.verify() else {
        panic!("renaming accepted")
    };
    assert_eq!(difference.missing.len() + difference.added.len(), 2);
}

#[test]
fn what_is_left_out_is_reported_and_what_was_signed_is_always_checked() {
    let fixture = Fixture::unsigned(&[("a", b"1"), (".git/config", b"git"), ("log/x", b"log")]);
    let ignore = Ignore::new(
        &fixture.model,
        Some(&fixture.signature),
        &[fixture.model.join("log")],
        true,
    )
    .unwrap();
    sign(
        &fixture.model,
        &fixture.signature,
        &ignore,
        &signer("p256.pem"),
        Hashing::default(),
    )
    .unwrap();
    let verified = fixture.verify().unwrap();
    let unsigned: Vec<_> = verified.unsigned().iter().map(RelPath::as_str).collect();
    assert_eq!(unsigned, [".git/config", "log/x"]);

    // A verifier that names its own paths does not take the signer's list.
    let own = Policy {
        ignore: vec![fixture.model.join("other")],
        ..Policy::default()
    };
    let Err(Error::Differs(difference)) = fixture.verify_with(&own) else {
        panic!("signer's list won")
    };
    assert_eq!(difference.added, [RelPath::parse("log/x").unwrap()]);

    // Nor does a strict one.
    let strict = Policy {
        strict: true,
        ..Policy::default()
    };
    let Err(Error::Differs(difference)) = fixture.verify_with(&strict) else {
        panic!("signer's list won")
    };
    assert_eq!(difference.added, [RelPath::parse("log/x").unwrap()]);

    // A signed file stays signed when the verifier leaves it out.
    let leave_out = Policy {
        ignore: vec![fixture.model.join("a"), fixture.model.join("log")],
        ..Policy::default()
    };
    fixture.write("a", b"tampered");
    assert!(matches!(
        fixture.verify_with(&leave_out),
        Err(Error::Differs(_))
    ));
}

#[test]
fn unsigned_files_may_be_tolerated() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    fixture.write("b", b"2");
    assert!(fixture.verify().is_err());
    let tolerant = Policy {
        ignore_unsigned: true,
        ..Policy::default()
    };
    assert_eq!(fixture.verify_with(&tolerant).unwrap().unsigned().len(), 1);
}

#[test]
fn names_are_sorted_by_code_point() {
    let fixture = Fixture::unsigned(&[("a/b", b"1"), ("a-b", b"2"), ("\u{e9}", b"3"), ("Z", b"4")]);
    let manifest = hash(&fixture.model, &Ignore::git(), Hashing::default()).unwrap();
    let names: Vec<_> = manifest
        .resources()
        .iter()
        .map(|resource| resource.name.as_str())
        .collect();
    assert_eq!(names, ["Z", "a-b", "a/b", "\u{e9}"]);
}

#[test]
fn many_files_and_threads_give_the_digests_of_one() {
    let names: Vec<String> = (0..200).map(|n| format!("{}/{n}", n % 7)).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .map(|name| (name.as_str(), name.as_bytes()))
        .collect();
    let fixture = Fixture::unsigned(&files);
    let with = |threads: usize| {
        let hashing = Hashing {
            threads: threads.try_into().unwrap(),
            ..Hashing::default()
        };
        hash(&fixture.model, &Ignore::git(), hashing).unwrap()
    };
    assert_eq!(with(1), with(8));
}
