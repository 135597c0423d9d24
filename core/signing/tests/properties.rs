//! Whatever a model holds, it verifies as it was signed and in no other way; and so does what its statement says.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::collections::BTreeMap;

use autosign_signing::{
    Bundle, Difference, Digest, Error, GIT_PATHS, RelPath, Renamed, Verifier, seal,
};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::{Engine, engine::general_purpose::STANDARD};
use common::{Fixture, key, signer, verifier};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

/// The content of files by their names.
type Files = BTreeMap<String, Vec<u8>>;

#[derive(Clone, Debug)]
enum Node {
    File(Vec<u8>),
    Folder(BTreeMap<String, Node>),
}

/// Of a file or folder: any text without `/` and NUL, but for the two that the system has taken.
fn names() -> impl Strategy<Value = String> {
    let any = "[^/\0]{1,12}".prop_filter("taken", |name| name != "." && name != "..");
    // Those that sort around `/`, look like shards, or begin with a dot come too seldom by chance.
    prop_oneof![any, r"[a-b][-.0:]?[a-b]?", r"\.[a-z]{1,3}", "[a-b]:0:[1-9]"]
}

/// None, few, and as many bytes as are read at one go, or one more or less.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let large = (any::<u8>(), (1_usize << 20) - 1..=(1 << 20) + 1);
    prop_oneof![
        2 => Just(Vec::new()),
        8 => prop::collection::vec(any::<u8>(), 1..40),
        1 => large.prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn trees() -> impl Strategy<Value = Files> {
    let file = contents().prop_map(Node::File);
    let node = file.prop_recursive(3, 16, 4, |node| {
        prop::collection::btree_map(names(), node, 1..4).prop_map(Node::Folder)
    });
    prop::collection::btree_map(names(), node, 1..5).prop_filter_map("no file", |nodes| {
        let mut files = Files::new();
        list("", nodes, &mut files);
        files.retain(|name, _| is_free(name));
        (!files.is_empty()).then_some(files)
    })
}

fn list(above: &str, nodes: BTreeMap<String, Node>, files: &mut Files) {
    for (name, node) in nodes {
        let name = format!("{above}{name}");
        match node {
            Node::File(content) => drop(files.insert(name, content)),
            Node::Folder(nodes) => list(&format!("{name}/"), nodes, files),
        }
    }
}

/// Whether a file of this name is part of a model, whatever the rules.
fn is_free(name: &str) -> bool {
    let top = name.split('/').next().unwrap();
    !GIT_PATHS.contains(&top) && top != "model.sig"
}

fn signed(files: &Files) -> Fixture {
    let files: Vec<_> = files
        .iter()
        .map(|(name, content)| (&**name, &**content))
        .collect();
    Fixture::signed(&files)
}

fn difference(missing: &[&str], changed: &[&str], added: &[&str]) -> Difference {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|name| RelPath::parse(name).unwrap())
            .collect()
    };
    Difference {
        missing: names(missing),
        changed: names(changed),
        added: names(added),
        renamed: Vec::new(),
    }
}

fn renamed(signed_as: &str, name: &str) -> Difference {
    Difference {
        renamed: vec![Renamed {
            signed_as: RelPath::parse(signed_as).unwrap(),
            name: RelPath::parse(name).unwrap(),
        }],
        ..difference(&[signed_as], &[], &[name])
    }
}

fn differs(fixture: &Fixture) -> Difference {
    match fixture.verify() {
        Err(Error::Differs(difference)) => difference,
        other => panic!("{other:?}"),
    }
}

/// One byte more, and where there are any, one less, and one bit flipped at the end or anywhere.
fn altered(content: &[u8], pick: Index, bit: u8) -> Vec<Vec<u8>> {
    let mut all = vec![[content, &[bit]].concat()];
    if let Some((last, others)) = content.split_last() {
        all.extend([others.to_vec(), [others, &[last ^ (1 << bit)]].concat()]);
        let mut flipped = content.to_vec();
        flipped[pick.index(content.len())] ^= 1 << bit;
        all.push(flipped);
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_verifies_until_it_is_another(files in trees(), pick: Index, bit in 0_u8..8, new in names()) {
        let (name, content) = files.iter().nth(pick.index(files.len())).unwrap();
        let other = name.rsplit_once('/').map_or(new.clone(), |(folder, _)| format!("{folder}/{new}"));
        let below = format!("{other}/");
        prop_assume!(is_free(&other) && files.keys().all(|file| *file != other && !file.starts_with(&below)));

        let fixture = signed(&files);
        let verified = fixture.verify().unwrap();
        prop_assert!(verified.files().iter().map(RelPath::as_str).eq(files.keys()));
        prop_assert!(verified.unsigned().is_empty());

        for changed in altered(content, pick, bit) {
            fixture.write(name, &changed);
            prop_assert_eq!(differs(&fixture), difference(&[], &[name], &[]));
        }

        fixture.write(name, content);
        fixture.write(&other, content);
        prop_assert_eq!(differs(&fixture), difference(&[], &[], &[&other]));

        std::fs::rename(fixture.model.join(name), fixture.model.join(&other)).unwrap();
        prop_assert_eq!(differs(&fixture), renamed(name, &other));

        std::fs::remove_file(fixture.model.join(&other)).unwrap();
        prop_assert_eq!(differs(&fixture), difference(&[name], &[], &[]));

        fixture.write(name, content);
        fixture.verify().unwrap();
    }
}

/// Signs what its signer's key signed, once it has been changed: only reading it can refuse it.
struct Forger {
    fixture: Fixture,
    statement: Value,
}

impl Forger {
    fn new(files: &Files) -> Self {
        let fixture = signed(files);
        let payload = fixture.bundle()["dsseEnvelope"]["payload"].take();
        let payload = STANDARD.decode(payload.as_str().unwrap()).unwrap();
        let statement = serde_json::from_slice(&payload).unwrap();
        Self { fixture, statement }
    }

    fn sign(&self, change: impl FnOnce(&mut Vec<Value>), root: Root) -> &Fixture {
        let mut statement = self.statement.clone();
        let resources = statement["predicate"]["resources"].as_array_mut().unwrap();
        change(resources);
        if root == Root::New {
            let digest = root_digest(resources);
            statement["subject"][0]["digest"]["sha256"] = digest.into();
        }
        let payload = statement.to_string();
        let kind = "application/vnd.in-toto+json";
        let signed = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
        let private = pem::parse(std::fs::read(key("p256.pem")).unwrap()).unwrap();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let private = EcdsaKeyPair::from_pkcs8(algorithm, private.contents()).unwrap();
        let signature = private
            .sign(&SystemRandom::new(), signed.as_bytes())
            .unwrap();
        let mut bundle = self.fixture.bundle();
        bundle["dsseEnvelope"]["payload"] = STANDARD.encode(payload).into();
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = STANDARD.encode(signature).into();
        self.fixture.set_bundle(bundle.to_string());
        &self.fixture
    }
}

/// What becomes of the root digest when resources are changed.
#[derive(Clone, Copy, PartialEq)]
enum Root {
    Kept,
    New,
}

fn root_digest(resources: &[Value]) -> String {
    let digests = resources
        .iter()
        .map(|resource| resource["digest"].as_str().unwrap());
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let bytes: Vec<_> = digests
        .flat_map(|digest| digest.as_bytes().chunks(2).map(byte))
        .collect();
    Digest::of(&bytes).to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_statement_of_other_resources_is_refused_whoever_signed_it(files in trees(), pick: Index, place: Index) {
        let forger = Forger::new(&files);
        let at = pick.index(files.len());
        let name = files.keys().nth(at).unwrap();
        let digests = |resources: &Vec<Value>| resources.iter().map(|one| one["digest"].clone()).collect::<Vec<_>>();
        let listed = forger.statement["predicate"]["resources"].as_array().unwrap();

        // In another order. OMS sorts by name, upstream 1.1.1 by the parts of names: any is read, as long as the root
        // digest is over that order.
        let mut turned = listed.clone();
        turned.rotate_left(at);
        let verified = forger.sign(|resources| resources.rotate_left(at), Root::New).verify().unwrap();
        prop_assert_eq!(verified.files().len(), files.len());
        let kept = forger.sign(|resources| resources.rotate_left(at), Root::Kept).verify();
        if digests(&turned) == digests(listed) {
            kept.unwrap();
        } else {
            let refused = kept.unwrap_err();
            prop_assert!(matches!(refused.root(), Error::RootDigest { .. }), "{:?}", refused);
        }

        // Twice, even where both say the same.
        for root in [Root::New, Root::Kept] {
            let twice = |resources: &mut Vec<Value>| resources.insert(place.index(files.len() + 1), listed[at].clone());
            let refused = forger.sign(twice, root).verify().unwrap_err();
            prop_assert!(matches!(refused.root(), Error::DuplicateName { name: found } if found == name), "{:?}", refused);
        }

        // Not at all.
        let without = |resources: &mut Vec<Value>| drop(resources.remove(at));
        let refused = forger.sign(without, Root::New).verify().unwrap_err();
        match refused.root() {
            Error::EmptyManifest => prop_assert_eq!(files.len(), 1),
            Error::Differs(found) => prop_assert_eq!(found, &difference(&[], &[], &[name])),
            other => prop_assert!(false, "{:?}", other),
        }

        // By another name, which the root digest does not cover.
        let other = format!("{name}+");
        prop_assume!(!files.contains_key(&other) && !files.keys().any(|file| file.starts_with(&format!("{other}/"))));
        let named = |resources: &mut Vec<Value>| resources[at]["name"] = json!(other);
        prop_assert_eq!(differs(forger.sign(named, Root::Kept)), renamed(&other, name));

        // With another digest.
        let changed = |resources: &mut Vec<Value>| resources[at]["digest"] = json!("00".repeat(32));
        prop_assert_eq!(differs(forger.sign(changed, Root::New)), difference(&[], &[name], &[]));
        let refused = forger.sign(changed, Root::Kept).verify().unwrap_err();
        prop_assert!(matches!(refused.root(), Error::RootDigest { .. }), "{:?}", refused);
    }
}

#[test]
fn no_bit_is_free() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let statement = fixture.verify().unwrap().manifest().statement().clone();
    for curve in ["p256", "p384", "p521"] {
        let bundle = seal(&statement, &signer(&format!("{curve}.pem"))).unwrap();
        let bundle: Value = serde_json::from_slice(&bundle).unwrap();
        let verifier = verifier(curve);
        for place in ["/dsseEnvelope/payload", "/dsseEnvelope/signatures/0/sig"] {
            let bytes = bundle.pointer(place).unwrap().as_str().unwrap();
            let bytes = STANDARD.decode(bytes).unwrap();
            let check = |bytes: &[u8]| {
                let mut bundle = bundle.clone();
                *bundle.pointer_mut(place).unwrap() = STANDARD.encode(bytes).into();
                verifier.verify(&Bundle::parse(bundle.to_string().as_bytes()).unwrap())
            };
            check(&bytes).unwrap();
            for at in 0..8 * bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at / 8] ^= 1 << (at % 8);
                let refused = check(&flipped).unwrap_err();
                assert!(
                    matches!(refused.root(), Error::SignatureInvalid { .. }),
                    "{curve} {place} {at}: {refused:?}"
                );
            }
        }
    }
}
