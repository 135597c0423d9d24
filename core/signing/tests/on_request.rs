//! What is refused, or told, to those who ask for more than OMS does: `strict`, `portable`, a name; what identifies a
//! manifest, and what names no model.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_signing::{
    Digest, Error, HashAlgorithm, Hashing, Ignore, Manifest, Manner, Policy, PortabilityFault,
    RelPath, Resource, Serialization, SerializationMethod, hash, publish, sign, signature_path,
    verify,
};
use common::{Fixture, signer, verifier};

const PORTABLE: Hashing<'static> = Hashing {
    algorithm: HashAlgorithm::Sha256,
    method: SerializationMethod::Files,
    symlinks: autosign_signing::Symlinks::Refused,
    portable: true,
    threads: std::num::NonZeroUsize::MIN,
    progress: &(),
};

#[test]
fn hard_links_are_taken_and_told_where_it_is_strict() {
    let fixture = Fixture::unsigned(&[("a", b"1"), ("b", b"2"), ("c/d", b"3")]);
    let outside = fixture.folder.path().join("outside");
    std::fs::hard_link(fixture.model.join("c/d"), &outside).unwrap();
    std::fs::hard_link(fixture.model.join("a"), fixture.model.join("a2")).unwrap();
    fixture.sign().unwrap();
    assert_eq!(fixture.verify().unwrap().hard_linked(), []);
    let strict = Policy {
        strict: true,
        ..Policy::default()
    };
    let verified = fixture.verify_with(&strict).unwrap();
    let names: Vec<_> = verified.hard_linked().iter().map(RelPath::as_str).collect();
    assert_eq!(names, ["a", "a2", "c/d"]);

    // Written through the other name, it is another content here, too.
    std::fs::write(&outside, b"4").unwrap();
    let error = fixture.verify().unwrap_err();
    assert!(matches!(error.root(), Error::Differs(_)), "{error}");
}

#[test]
fn names_that_are_not_good_everywhere_are_refused_on_request() {
    for (name, twin) in [
        ("Model.bin", true),
        ("a/CON.txt", false),
        ("mode\u{301}l", false),
    ] {
        let fixture = Fixture::unsigned(&[("model.bin", b"1"), (name, b"2")]);
        fixture.sign().unwrap();
        fixture.verify().unwrap();
        let portable = Policy {
            portable: true,
            ..Policy::default()
        };
        let refused = [
            fixture.verify_with(&portable).map(drop),
            hash(&fixture.model, &Ignore::git(), PORTABLE).map(drop),
        ];
        for refused in refused {
            if name.starts_with("mode\u{301}") {
                refused.unwrap(); // a composed letter alone is no fault
                continue;
            }
            let error = refused.unwrap_err();
            let Error::NotPortable { fault, .. } = error.root() else {
                panic!("{error}")
            };
            let is_twin = matches!(fault, PortabilityFault::Twin { .. });
            assert_eq!(is_twin, twin, "{error}");
            assert!(error.hint().contains("--portable"), "{}", error.hint());
        }
    }
}

#[test]
fn a_signature_of_another_model_is_refused_where_the_name_is_asked_for() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let named = |name: &str| Policy {
        expect_name: Some(name.to_owned()),
        ..Policy::default()
    };
    fixture.verify_with(&named("model")).unwrap();
    let error = fixture.verify_with(&named("step-2000")).unwrap_err();
    let Error::ModelName { expected, found } = error.root() else {
        panic!("{error}")
    };
    assert_eq!((expected.as_str(), found.as_str()), ("step-2000", "model"));
}

fn manifest(serialization: Serialization, names: &[(&str, &[u8])]) -> Manifest {
    let resource = |(name, content): &(&str, &[u8])| Resource {
        name: RelPath::parse(name).unwrap(),
        shard: None,
        digest: Digest::of(content).into(),
    };
    let resources = names.iter().map(resource).collect();
    Manifest::new("m".to_owned(), serialization, resources).unwrap()
}

#[test]
fn the_root_digest_names_no_model_and_the_manifest_id_does() {
    let files = Serialization::default();
    let one = manifest(files, &[("a", b"1"), ("b", b"2")]);
    let other = manifest(files, &[("x", b"1"), ("y", b"2")]);
    assert_eq!(one.root_digest(), other.root_digest());
    assert_ne!(one.id(), other.id());
    // In whichever order they were signed, and by whatever name the model has.
    assert_eq!(one.id(), manifest(files, &[("b", b"2"), ("a", b"1")]).id());

    // As `sha256sum -z a b | sha256sum` has it.
    let text = format!("{}  a\0{}  b\0", Digest::of(b"1"), Digest::of(b"2"));
    assert_eq!(one.id(), Digest::of(text.as_bytes()));
}

#[test]
fn a_manifest_id_is_of_one_serialization() {
    let fixture = Fixture::unsigned(&[("a", b"1")]);
    let with = |algorithm, method| {
        let hashing = Hashing {
            algorithm,
            method,
            ..Hashing::default()
        };
        hash(&fixture.model, &Ignore::git(), hashing).unwrap().id()
    };
    let shards = |size: u64| SerializationMethod::Shards {
        size: size.try_into().unwrap(),
    };
    let shard = with(HashAlgorithm::Sha256, shards(10));
    let digest = Digest::of(b"1");
    let text = format!("shards sha256 10\0{digest}  a:0:1\0");
    assert_eq!(shard, Digest::of(text.as_bytes()));
    let all = [
        shard,
        with(HashAlgorithm::Sha256, shards(20)),
        with(HashAlgorithm::Sha256, SerializationMethod::Files),
        with(HashAlgorithm::Blake3, SerializationMethod::Files),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(!all[at + 1..].contains(one), "{at}");
    }
    std::fs::rename(fixture.model.join("a"), fixture.model.join("a:0:1")).unwrap();
    assert_ne!(
        with(HashAlgorithm::Sha256, SerializationMethod::Files),
        shard
    );
}

#[test]
fn a_checkpoint_prefix_names_no_file() {
    let fixture =
        Fixture::unsigned(&[("ckpt-1.index", b"i"), ("ckpt-1.data-00000-of-00001", b"d")]);
    let prefix = fixture.model.join("ckpt-1");
    let hashed = hash(&prefix, &Ignore::git(), Hashing::default());
    let error = hashed.unwrap_err();
    assert!(matches!(error, Error::CheckpointPrefix { .. }), "{error}");
    assert!(error.to_string().contains("/ckpt-1.index\""), "{error}");
    let ignored = Ignore::new(&prefix, None, &[], true);
    assert!(matches!(ignored, Err(Error::CheckpointPrefix { .. })));
    let verified = verify(
        &prefix,
        &fixture.signature,
        &verifier("p256"),
        &Policy::default(),
        Hashing::default(),
    );
    assert!(matches!(verified, Err(Error::CheckpointPrefix { .. })));
    let other = fixture.model.join("ckpt-2");
    let hashed = hash(&other, &Ignore::git(), Hashing::default());
    assert!(matches!(hashed, Err(Error::Io { .. })));
}

#[test]
fn what_this_process_is_publishing_is_part_of_no_model_that_it_signs() {
    let fixture = Fixture::unsigned(&[("a", b"1"), ("b/c", b"2")]);
    let own = format!("b/{}", name_while_published());
    fixture.write(&own, b"half a signature");
    fixture.sign().unwrap();
    // To a verifier a file is a file.
    let error = fixture.verify().unwrap_err();
    let Error::Differs(difference) = error.root() else {
        panic!("{error}")
    };
    assert_eq!(difference.added[0].as_str(), own);
    std::fs::remove_file(fixture.model.join(&own)).unwrap();
    fixture.verify().unwrap();
}

/// The name that a signature of this process has until it is in its place, where something is there already.
fn name_while_published() -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sig");
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                publish(&path, b"dev.sigstore.bundle", Manner::Plain).unwrap();
            }
        });
        loop {
            let names = std::fs::read_dir(folder.path()).unwrap();
            let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            if let Some(name) = names.find(|name| name.starts_with(".signature-")) {
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
                return name;
            }
        }
    })
}

/// Hears whether anything is hashed.
struct Silence;

impl autosign_signing::Progress for Silence {
    fn advance(&self, _bytes: u64) -> std::ops::ControlFlow<()> {
        panic!("something was hashed")
    }
}

#[test]
fn a_name_that_leaves_no_room_for_its_signature_is_told_before_hashing() {
    let folder = tempfile::tempdir().unwrap();
    let hashing = Hashing {
        progress: &Silence,
        ..Hashing::default()
    };
    for length in [251, 252, 255] {
        let model = folder.path().join("n".repeat(length));
        std::fs::write(&model, b"weights").unwrap();
        let signature = signature_path(&model);
        let unsigned = verify(
            &model,
            &signature,
            &verifier("p256"),
            &Policy::default(),
            hashing,
        );
        assert!(matches!(unsigned, Err(Error::Unsigned { .. })), "{length}");
        if length == 251 {
            let signed = sign(
                &model,
                &signature,
                &Ignore::git(),
                &signer("p256.pem"),
                Hashing::default(),
            );
            signed.unwrap();
            continue;
        }
        let signed = sign(
            &model,
            &signature,
            &Ignore::git(),
            &signer("p256.pem"),
            hashing,
        );
        let Err(Error::SignatureName {
            length: found,
            limit: 255,
            ..
        }) = signed
        else {
            panic!("{signed:?}")
        };
        assert_eq!(found, length + 4);
        let published = publish(&signature, b"{}", Manner::Plain);
        assert!(matches!(published, Err(Error::SignatureName { .. })));
    }
}
