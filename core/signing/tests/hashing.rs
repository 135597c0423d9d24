//! Files and shards, three hashes: what is signed verifies, and nothing else does.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use autosign_signing::{
    Digest, Error, HashAlgorithm, Hashing, Ignore, Policy, Progress, SerializationFault,
    SerializationMethod, Statement, hash, sign,
};
use common::{Fixture, signer};
use proptest::prelude::*;
use serde_json::{Value, json};

fn shards(size: u64) -> SerializationMethod {
    SerializationMethod::Shards {
        size: size.try_into().unwrap(),
    }
}

fn signed(fixture: &Fixture, algorithm: HashAlgorithm, method: SerializationMethod) {
    let hashing = Hashing {
        algorithm,
        method,
        ..Hashing::default()
    };
    let ignore = Ignore::new(&fixture.model, Some(&fixture.signature), &[], true).unwrap();
    let (model, signature) = (&fixture.model, &fixture.signature);
    sign(model, signature, &ignore, &signer("p256.pem"), hashing).unwrap();
}

/// The statement of a model with `a`, 25 bytes, and `b`, 3 bytes, in shards of 10 bytes.
fn statement() -> Value {
    let fixture = Fixture::unsigned(&[("a", &[7; 25]), ("b", b"abc")]);
    signed(&fixture, HashAlgorithm::Sha256, shards(10));
    let verified = fixture.verify().unwrap();
    serde_json::from_slice(&verified.manifest().statement().to_json().unwrap()).unwrap()
}

/// Parses what `change` makes of that statement, with the root digest that belongs to it.
fn parsed(change: impl FnOnce(&mut Value)) -> Result<Statement, Error> {
    let mut statement = statement();
    change(&mut statement);
    let resources = statement["predicate"]["resources"].as_array().unwrap();
    let raw = resources.iter().flat_map(|resource| {
        let hex = resource["digest"].as_str().unwrap();
        *Digest::from_hex(hex).unwrap().as_bytes()
    });
    let root = Digest::of(&raw.collect::<Vec<_>>()).to_string();
    statement["subject"][0]["digest"]["sha256"] = json!(root);
    Statement::parse(statement.to_string().as_bytes())
}

macro_rules! refused {
    ($result:expr, $variant:pat) => {{
        let error = $result.err().expect("accepted");
        assert!(matches!(error, $variant), "{error:?}");
        let text = format!("{error}; {}", error.hint());
        assert!(!text.contains('\n') && text.len() > 20, "{text}");
    }};
}

#[test]
fn the_form_is_that_of_oms() {
    let statement = statement();
    let serialization = &statement["predicate"]["serialization"];
    assert_eq!(serialization["method"], "shards");
    assert_eq!(serialization["shard_size"], 10);
    assert!(serialization["shard_size"].is_u64());
    let resources = statement["predicate"]["resources"].as_array().unwrap();
    let names: Vec<_> = resources.iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["a:0:10", "a:10:20", "a:20:25", "b:0:3"]);
    assert!(resources.iter().all(|one| one["algorithm"] == "sha256"));
    parsed(|_| ()).unwrap();
}

#[test]
fn names_of_shards_are_sorted_by_code_point() {
    let fixture = Fixture::unsigned(&[("a", &[7; 101]), ("a-b", b"1")]);
    let hashing = Hashing {
        method: shards(20),
        ..Hashing::default()
    };
    let manifest = hash(&fixture.model, &Ignore::git(), hashing).unwrap();
    let names: Vec<_> = manifest
        .resources()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        names,
        [
            "a-b:0:1",
            "a:0:20",
            "a:100:101",
            "a:20:40",
            "a:40:60",
            "a:60:80",
            "a:80:100"
        ]
    );
}

#[test]
fn the_dialect_of_upstream_is_read() {
    parsed(|s| {
        s["predicate"]["serialization"]["shard_size"] = json!(10.0);
        for resource in s["predicate"]["resources"].as_array_mut().unwrap() {
            resource["algorithm"] = json!("sha256-sharded-10");
        }
    })
    .unwrap();
    for label in [
        "sha256-sharded-20",
        "sha256-sharded-",
        "sha256-10",
        "blake2b",
        "sha256-sharded-010",
    ] {
        let label = |s: &mut Value| s["predicate"]["resources"][0]["algorithm"] = json!(label);
        refused!(
            parsed(label),
            Error::Serialization(SerializationFault::Algorithm { .. })
        );
    }
    for size in [json!(0), json!(-10), json!(10.5), json!(1e30), Value::Null] {
        let size = |s: &mut Value| s["predicate"]["serialization"]["shard_size"] = size;
        refused!(
            parsed(size),
            Error::Serialization(SerializationFault::ShardSize { .. })
        );
    }
}

#[test]
fn what_is_not_all_of_a_file_in_shards_is_refused() {
    fn name(at: usize, name: &'static str) -> impl Fn(&mut Value) {
        move |s| s["predicate"]["resources"][at]["name"] = json!(name)
    }
    fn resources(s: &mut Value) -> &mut Vec<Value> {
        s["predicate"]["resources"].as_array_mut().unwrap()
    }
    for gone in [0, 1] {
        refused!(
            parsed(|s| drop(resources(s).remove(gone))),
            Error::Serialization(SerializationFault::Missing { .. })
        );
    }
    refused!(
        parsed(name(1, "a:15:25")),
        Error::Serialization(SerializationFault::Missing { .. })
    );
    refused!(
        parsed(name(1, "a:5:15")),
        Error::Serialization(SerializationFault::Overlap { .. })
    );
    refused!(
        parsed(name(1, "a:10:21")),
        Error::Serialization(SerializationFault::Overlap { .. })
    );
    refused!(
        parsed(name(3, "b:0:11")),
        Error::Serialization(SerializationFault::Length { .. })
    );
    refused!(parsed(name(1, "a:0:10")), Error::DuplicateName { .. });
    refused!(parsed(name(3, "a/b:0:3")), Error::NameConflict { .. });
    refused!(parsed(name(3, "../b:0:3")), Error::Name { .. });
    refused!(parsed(name(3, ".:0:3")), Error::Name { .. });
    for bad in ["b", "b:3", "b:3:0", "b:0:03", "b:+0:3", "b:0:3:"] {
        refused!(
            parsed(name(3, bad)),
            Error::Serialization(SerializationFault::Name { .. })
        );
    }
    let other_size = |s: &mut Value| s["predicate"]["serialization"]["shard_size"] = json!(20);
    refused!(
        parsed(other_size),
        Error::Serialization(SerializationFault::Length { .. })
    );
    let files = |s: &mut Value| s["predicate"]["serialization"]["method"] = json!("files");
    refused!(
        parsed(files),
        Error::Serialization(SerializationFault::ShardSize {
            method: "files",
            ..
        })
    );

    // In another order, with the root digest of that order: upstream's is by number.
    parsed(|s| resources(s).reverse()).unwrap();
    // Without it, or with digests that have changed places, it is not what was signed.
    let mut swapped = statement();
    resources(&mut swapped).swap(0, 3);
    refused!(
        Statement::parse(swapped.to_string().as_bytes()),
        Error::RootDigest { .. }
    );
}

#[test]
fn a_file_of_another_length_differs() {
    for length in [0, 20, 24, 26, 30] {
        let fixture = Fixture::unsigned(&[("a", &[7; 25])]);
        signed(&fixture, HashAlgorithm::Sha256, shards(10));
        fixture.write("a", &vec![7; length]);
        let Err(Error::Differs(difference)) = fixture.verify() else {
            panic!("{length} bytes accepted")
        };
        assert_eq!(difference.changed.len(), 1, "{length}");
    }
}

#[test]
fn a_file_without_bytes_has_no_shard_and_is_told_of() {
    let fixture = Fixture::unsigned(&[("a", b"1"), ("empty", b"")]);
    signed(&fixture, HashAlgorithm::Sha256, shards(10));
    let verified = fixture.verify().unwrap();
    assert_eq!(verified.files().len(), 1);
    assert_eq!(verified.unsigned()[0].as_str(), "empty");
    fixture.write("empty", b"no more");
    let Err(Error::Differs(difference)) = fixture.verify() else {
        panic!("an unsigned file accepted")
    };
    assert_eq!(difference.added[0].as_str(), "empty");

    // Files are signed whatever their length.
    signed(&fixture, HashAlgorithm::Sha256, SerializationMethod::Files);
    fixture.write("more", b"");
    assert!(matches!(fixture.verify(), Err(Error::Differs(_))));

    let nothing = Fixture::unsigned(&[("empty", b"")]);
    let hashing = Hashing {
        method: shards(10),
        ..Hashing::default()
    };
    refused!(
        hash(&nothing.model, &Ignore::git(), hashing),
        Error::EmptyModel { .. }
    );
}

#[test]
fn shards_without_end_are_refused_before_they_are_counted_out() {
    let fixture = Fixture::unsigned(&[]);
    let huge = std::fs::File::create(fixture.model.join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    let hashing = Hashing {
        method: shards(1),
        ..Hashing::default()
    };
    refused!(
        hash(&fixture.model, &Ignore::git(), hashing),
        Error::Serialization(SerializationFault::Count { .. })
    );
}

#[test]
fn a_model_that_is_one_file() {
    let fixture = Fixture::unsigned(&[("last.pt", &[7; 25])]);
    let one = Fixture {
        model: fixture.model.join("last.pt"),
        signature: fixture.folder.path().join("sig"),
        folder: fixture.folder,
    };
    for algorithm in HashAlgorithm::ALL {
        signed(&one, algorithm, shards(10));
        assert_eq!(one.verify().unwrap().files().len(), 1);
    }
    std::fs::write(&one.model, [8; 25]).unwrap();
    assert!(matches!(one.verify(), Err(Error::Differs(_))));
}

#[test]
fn a_change_in_one_shard_while_another_is_hashed_is_seen() {
    struct Meddler<'a>(&'a Fixture);
    impl Progress for Meddler<'_> {
        fn advance(&self, _: u64) -> ControlFlow<()> {
            self.0.write("a", &[8; 25]);
            ControlFlow::Continue(())
        }
    }
    let fixture = Fixture::unsigned(&[("a", &[7; 25])]);
    let hashing = Hashing {
        method: shards(10),
        progress: &Meddler(&fixture),
        ..Hashing::default()
    };
    refused!(
        hash(&fixture.model, &Ignore::git(), hashing),
        Error::ChangedWhileHashing { .. }
    );
}

fn methods() -> impl Strategy<Value = SerializationMethod> {
    prop_oneof![
        Just(SerializationMethod::Files),
        (1_u64..40).prop_map(shards)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Any tree round-trips with every hash and shard size; then one flipped byte anywhere in it is found.
    #[test]
    fn any_tree_round_trips_and_any_flip_is_found(
        tree in prop::collection::btree_map("[a-z:]{1,3}(/[A-Z :]{1,3}x){0,2}", prop::collection::vec(any::<u8>(), 0..100), 1..6),
        first in prop::collection::vec(any::<u8>(), 1..100),
        algorithm in prop::sample::select(&HashAlgorithm::ALL[..]),
        method in methods(),
        threads in 1_usize..4,
        pick in any::<prop::sample::Index>(),
        bit in 0_u8..8,
    ) {
        let tree: BTreeMap<_, _> = tree.iter().filter(|(name, _)| !tree.keys().any(|other| other.starts_with(&format!("{name}/")))).collect();
        let mut files: Vec<(&str, &[u8])> = tree.iter().map(|(name, content)| (name.as_str(), content.as_slice())).collect();
        files.push(("0", &first));
        let fixture = Fixture::unsigned(&files);
        signed(&fixture, algorithm, method);
        let verified = fixture.verify().unwrap();
        prop_assert_eq!(verified.files().len() + verified.unsigned().len(), files.len());
        prop_assert!(verified.unsigned().iter().all(|name| std::fs::metadata(fixture.model.join(name.as_str())).unwrap().len() == 0));
        let one = Hashing { algorithm, method, threads: threads.try_into().unwrap(), ..Hashing::default() };
        let ignore = Ignore::new(&fixture.model, Some(&fixture.signature), &[], true).unwrap();
        prop_assert_eq!(&hash(&fixture.model, &ignore, one).unwrap(), verified.manifest().manifest());

        let full: Vec<_> = files.into_iter().filter(|(_, content)| !content.is_empty()).collect();
        let (name, content) = full[pick.index(full.len())];
        let mut flipped = content.to_vec();
        let place = pick.index(flipped.len());
        flipped[place] ^= 1 << bit;
        fixture.write(name, &flipped);
        let Err(Error::Differs(difference)) = fixture.verify_with(&Policy::default()) else { panic!("accepted") };
        prop_assert_eq!(difference.changed[0].as_str(), name);
    }
}
