//! What an index names is signed with it, or not there.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::path::PathBuf;

use autosign_signing::{
    Error, ErrorKind, Hashing, Ignore, IndexFault, Manner, Model, Policy, RelPath, Statement, hash,
    hash_model, missing_shards, publish, seal, sign, verify,
};
use common::{Fixture, signer, verifier};

const INDEX: &str = "model.safetensors.index.json";
/// Of the variant `non.ema`.
const VARIANT: &str = "model.safetensors.index.non.ema.json";
const ONE: &str = "model-00001-of-00002.safetensors";
const TWO: &str = "model-00002-of-00002.safetensors";
/// Of two ranks, as torch wrote it.
const METADATA: &[u8] = include_bytes!("indexes/torch-2.15.metadata");

/// What an index of Hugging Face has, which names `files`.
fn index(files: &[&str]) -> Vec<u8> {
    let map: serde_json::Map<_, _> = (0..)
        .map(|layer: usize| format!("layer.{layer}.weight"))
        .zip(files.iter().map(|file| (*file).into()))
        .collect();
    serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map})
        .to_string()
        .into_bytes()
}

/// Signs without `paths`, relative to the model.
fn sign_without(fixture: &Fixture, paths: &[&str]) -> Result<(), Error> {
    let paths: Vec<PathBuf> = paths.iter().map(|path| fixture.model.join(path)).collect();
    let ignore = Ignore::new(&fixture.model, Some(&fixture.signature), &paths, true)?;
    let hashing = Hashing::default();
    sign(
        &fixture.model,
        &fixture.signature,
        &ignore,
        &signer("p256.pem"),
        hashing,
    )
    .map(drop)
}

/// The same by a signer who does not look into indexes, as others do not.
fn sign_blindly_without(fixture: &Fixture, paths: &[&str]) {
    let paths: Vec<PathBuf> = paths.iter().map(|path| fixture.model.join(path)).collect();
    let ignore = Ignore::new(&fixture.model, Some(&fixture.signature), &paths, true).unwrap();
    let manifest = hash(&fixture.model, &ignore, Hashing::default()).unwrap();
    let sealed = seal(&Statement::new(manifest, ignore), &signer("p256.pem")).unwrap();
    publish(&fixture.signature, &sealed, Manner::Plain).unwrap();
}

fn missing(fixture: &Fixture) -> Vec<(String, Vec<String>)> {
    let list = || Model::open(&fixture.model, &Ignore::git());
    let manifest = hash_model(list, Hashing::default()).unwrap();
    let missing = missing_shards(&manifest, list).unwrap();
    let text = |name: RelPath| name.to_string();
    let told = missing.into_iter();
    told.map(|one| (text(one.index), one.names.into_iter().map(text).collect()))
        .collect()
}

#[test]
fn a_file_that_nobody_signed_is_not_to_be_named() {
    let policies = [
        Policy {
            ignore_unsigned: true,
            ..Policy::default()
        },
        Policy::default(),
    ];
    // As Python writes it where the loss is none.
    let odd =
        format!(r#"{{"metadata": {{"loss": NaN}}, "weight_map": {{"\ud800": ["{TWO}", 1]}}}}"#);
    let odd = odd.into_bytes();
    for (name, content, shard) in [
        (INDEX, index(&[ONE, TWO]), TWO),
        ("__0.metadata", METADATA.to_vec(), "__1_0.distcp"),
        (".metadata", METADATA.to_vec(), "__1_0.distcp"),
        ("w.weights.json", index(&[TWO]), TWO),
        (VARIANT, odd, TWO),
    ] {
        // Signed where the shard was not yet there; the second policy has it in its own list.
        for (round, mut policy) in policies.clone().into_iter().enumerate() {
            let fixture = Fixture::signed(&[(name, &content), (ONE, b"1")]);
            fixture.verify_with(&policy).unwrap();
            fixture.write(shard, b"of somebody else");
            if round == 1 {
                policy.ignore.push(fixture.model.join(shard));
            }
            let fault = refused(fixture.verify_with(&policy));
            assert_eq!(fault, unsigned(name, shard));
            // What is not named is as before.
            let other = fixture.model.join("notes.txt");
            std::fs::rename(fixture.model.join(shard), &other).unwrap();
            policy.ignore.push(other);
            fixture.verify_with(&policy).unwrap();
        }
        // The signer's list.
        let fixture = Fixture::unsigned(&[(name, &content), (ONE, b"1"), (shard, b"2")]);
        assert_eq!(
            refused(sign_without(&fixture, &[shard])),
            unsigned(name, shard)
        );
        assert!(!fixture.signature.exists());
        sign_blindly_without(&fixture, &[shard]);
        assert_eq!(refused(fixture.verify()), unsigned(name, shard));
        // With the index, all of it is left out, and told as before.
        sign_without(&fixture, &[name, shard]).unwrap();
        assert_eq!(fixture.verify().unwrap().unsigned().len(), 2);
        fixture.sign().unwrap();
        assert_eq!(fixture.verify().unwrap().files().len(), 3);
    }
}

fn refused<T>(result: Result<T, Error>) -> IndexFault {
    let Err(error) = result else { panic!("taken") };
    assert_eq!(error.kind(), ErrorKind::Differs, "{error}");
    assert!(error.hint().contains("do not load"), "{}", error.hint());
    match error.root() {
        Error::Index(fault) => fault.clone(),
        other => panic!("{other}"),
    }
}

fn unsigned(index: &str, name: &str) -> IndexFault {
    IndexFault::Unsigned {
        index: index.to_owned(),
        name: name.to_owned(),
    }
}

#[test]
fn git_paths_links_and_folders_hide_no_file() {
    let names = [".git/a", "linked", "folder/a"];
    for name in names {
        let fixture = Fixture::signed(&[(INDEX, &index(&[ONE, name])), (ONE, b"1")]);
        let mut policy = Policy::default();
        policy.ignore.push(fixture.model.join("linked"));
        policy.ignore.push(fixture.model.join("folder"));
        fixture.verify_with(&policy).unwrap();
        match name {
            "linked" => {
                let target = fixture.folder.path().join("elsewhere");
                std::os::unix::fs::symlink(target, fixture.model.join(name)).unwrap();
            }
            _ => fixture.write(name, b"of somebody else"),
        }
        assert_eq!(refused(fixture.verify_with(&policy)), unsigned(INDEX, name));
    }
    // A folder is no file to load.
    let fixture = Fixture::signed(&[(INDEX, &index(&["folder"])), ("folder/a", b"1")]);
    fixture.verify().unwrap();
}

#[test]
fn a_name_that_leads_out_of_the_model_is_refused() {
    for name in [
        "../other.safetensors",
        "/etc/hostname",
        "a/../../b",
        "a/../b",
    ] {
        let fixture = Fixture::unsigned(&[(INDEX, &index(&[name])), ("a/b", b"1")]);
        let outside = IndexFault::Outside {
            index: INDEX.to_owned(),
            name: name.to_owned(),
        };
        assert_eq!(refused(fixture.sign()), outside);
        sign_blindly_without(&fixture, &[]);
        assert_eq!(refused(fixture.verify()), outside);
    }
}

#[test]
fn what_is_not_there_is_told_to_its_signer_alone() {
    let fixture = Fixture::unsigned(&[(INDEX, &index(&[ONE, TWO, "more"])), (ONE, b"1")]);
    fixture.write("text_encoder/x.index.json", &index(&["a"]));
    fixture.write("text_encoder/a", b"1");
    fixture.write("a", b"1");
    fixture.write(".metadata", METADATA);
    fixture.sign().unwrap();
    fixture.verify().unwrap();
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let expected = [
        (
            ".metadata".to_owned(),
            names(&["__0_0.distcp", "__1_0.distcp"]),
        ),
        (INDEX.to_owned(), names(&[TWO, "more"])),
    ];
    assert_eq!(missing(&fixture), expected);
    for name in ["__0_0.distcp", "__1_0.distcp", TWO, "more"] {
        fixture.write(name, b"2");
    }
    assert_eq!(missing(&fixture), []);
    // It was signed that they are not there.
    let error = fixture.verify().unwrap_err();
    assert!(matches!(error.root(), Error::Differs(_)), "{error}");
}

#[test]
fn what_is_no_index_names_nothing() {
    let huge = [vec![b' '; 64 << 20], index(&["../a"])].concat();
    for (name, content) in [
        ("config.json", index(&["../a"])),
        ("index.json", index(&["../a"])),
        (INDEX, b"[]".to_vec()),
        (INDEX, index(&["../a"])[1..].to_vec()),
        (INDEX, huge),
        (".metadata", index(&["../a"])),
        (".metadata", METADATA[..METADATA.len() - 1].to_vec()),
    ] {
        let fixture = Fixture::signed(&[(name, &content)]);
        fixture.verify().unwrap();
        assert_eq!(missing(&fixture), []);
    }
}

#[test]
fn a_model_of_one_file_is_that_file() {
    let fixture = Fixture::unsigned(&[(INDEX, &index(&["../a", ONE])), (ONE, b"1")]);
    let model = fixture.model.join(INDEX);
    let (key, none) = (signer("p256.pem"), Ignore::default());
    sign(&model, &fixture.signature, &none, &key, Hashing::default()).unwrap();
    let policy = Policy::default();
    let trusted = verifier("p256");
    verify(
        &model,
        &fixture.signature,
        &trusted,
        &policy,
        Hashing::default(),
    )
    .unwrap();
}

#[test]
fn files_that_are_signed_together_are_looked_at_together() {
    let fixture = Fixture::unsigned(&[("m.weights.json", &index(&[ONE, TWO])), (ONE, b"1")]);
    let main = fixture.model.join("m.weights.json");
    let files = ["m.weights.json", ONE].map(|name| RelPath::parse(name).unwrap());
    let list = || Model::listed(&main, &files);
    let manifest = hash_model(list, Hashing::default()).unwrap();
    let missing = missing_shards(&manifest, list).unwrap();
    assert_eq!(missing[0].names[0].as_str(), TWO);
    fixture.write(TWO, b"2");
    let fault = refused(missing_shards(&manifest, list));
    assert_eq!(fault, unsigned("m.weights.json", TWO));
}

#[test]
fn a_model_without_an_index_is_not_looked_at() {
    let fixture = Fixture::unsigned(&[("config.json", b"{}"), (ONE, b"1")]);
    let manifest = hash(&fixture.model, &Ignore::git(), Hashing::default()).unwrap();
    let missing = missing_shards(&manifest, || panic!("it is listed")).unwrap();
    assert_eq!(missing, []);
}
