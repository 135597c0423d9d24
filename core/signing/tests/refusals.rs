//! Bad input: each a variant of its own, with the path, and a hint; nothing is lost by trying.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;

use autosign_signing::{
    Bundle, Error, Hashing, Ignore, KeySigner, KeyVerifier, Manner, Progress, SerializationFault,
    Signer, Statement, hash, publish, read_password, seal, sign,
};
use common::{Fixture, key, signer, verifier};
use serde_json::{Value, json};

macro_rules! refused {
    ($result:expr, $variant:pat) => {{
        let Err(error) = $result else {
            panic!("accepted")
        };
        assert!(matches!(error.root(), $variant), "{error:?}");
        let text = format!("{error}; {}", error.hint());
        assert!(!text.contains('\n') && text.len() > 20, "{text}");
        text
    }};
}

#[test]
fn odd_files_in_a_model() {
    let fixture = Fixture::unsigned(&[("a", b"1")]);
    symlink("a", fixture.model.join("link")).unwrap();
    let text = refused!(fixture.sign(), Error::Symlink { .. });
    assert!(text.contains("/link\"") && text.contains("\"a\""), "{text}");
    std::fs::remove_file(fixture.model.join("link")).unwrap();

    let fifo = fixture.model.join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(refused!(fixture.sign(), Error::NotAFile { .. }).contains("FIFO"));
    refused!(
        hash(&fifo, &Ignore::git(), Hashing::default()),
        Error::NotAFile { .. }
    );
    refused!(KeySigner::read(&fifo, None), Error::NotAFile { .. });
    refused!(Bundle::read(&fifo), Error::NotAFile { .. });
    std::fs::remove_file(fifo).unwrap();

    std::fs::write(fixture.model.join(OsStr::from_bytes(b"bad\xff")), b"").unwrap();
    assert!(refused!(fixture.sign(), Error::NameNotUtf8 { .. }).contains("\\xFF"));
    assert!(!fixture.signature.exists());
}

#[test]
fn a_link_as_model_is_followed_to_a_folder_only() {
    let fixture = Fixture::unsigned(&[("a", b"1")]);
    let latest = fixture.folder.path().join("latest");
    symlink("model", &latest).unwrap();
    hash(&latest, &Ignore::git(), Hashing::default()).unwrap();
    let last = fixture.folder.path().join("last.pt");
    symlink("model/a", &last).unwrap();
    refused!(
        hash(&last, &Ignore::git(), Hashing::default()),
        Error::Symlink { .. }
    );
}

#[test]
fn empty_models() {
    let fixture = Fixture::unsigned(&[]);
    refused!(fixture.sign(), Error::EmptyModel { .. });
    fixture.write(".git/config", b"");
    refused!(fixture.sign(), Error::EmptyModel { .. });
    refused!(
        hash(
            &fixture.model.join("none"),
            &Ignore::git(),
            Hashing::default()
        ),
        Error::Io { .. }
    );
    refused!(
        Ignore::new(
            &fixture.model,
            None,
            std::slice::from_ref(&fixture.model),
            true
        ),
        Error::IgnoresEverything { .. }
    );
    refused!(
        Ignore::new(&fixture.model, Some(&fixture.model), &[], true),
        Error::WouldOverwrite { .. }
    );
}

#[test]
fn keys() {
    refused!(KeySigner::read(&key("none"), None), Error::Io { .. });
    refused!(KeySigner::read(&key(""), None), Error::NotAFile { .. });
    assert!(
        refused!(
            KeySigner::read(&key("README.md"), None),
            Error::KeyForm { .. }
        )
        .contains("README.md")
    );
    assert!(
        refused!(
            KeySigner::read(&key("p256.pub.pem"), None),
            Error::KeyForm { .. }
        )
        .contains("PUBLIC KEY")
    );
    assert!(
        refused!(KeyVerifier::read(&key("p256.pem")), Error::KeyForm { .. })
            .contains("but PRIVATE KEY")
    );
    refused!(KeySigner::read(&key("rsa.pem"), None), Error::KeyKind);
    refused!(KeySigner::read(&key("k256.pem"), None), Error::KeyKind);
    refused!(KeyVerifier::read(&key("k256.pub.pem")), Error::KeyKind);
    refused!(
        KeySigner::read(&key("p256.encrypted.pem"), None),
        Error::KeyPassword { given: false }
    );
    refused!(
        KeySigner::read(&key("p256.encrypted.pem"), Some(b"wrong")),
        Error::KeyPassword { given: true }
    );
    refused!(
        KeySigner::read(&key("legacy.encrypted.pem"), Some(b"checkpoint")),
        Error::KeyLegacyEncryption
    );
    refused!(
        KeySigner::from_pem(b"-----BEGIN PRIVATE KEY-----\n", None),
        Error::KeyForm { .. }
    );
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(password.path(), b"caf\xe9\n").unwrap();
    refused!(
        read_password(password.path()),
        Error::PasswordNotUtf8 { .. }
    );
    let hidden = refused!(read_password("hunter2".as_ref()), Error::SecretFile { .. });
    assert!(!hidden.contains("hunter2"), "{hidden}");
    let huge = tempfile::NamedTempFile::new().unwrap();
    huge.as_file().set_len(2 << 20).unwrap();
    refused!(KeySigner::read(huge.path(), None), Error::TooLarge { .. });
}

#[test]
fn signature_files() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let whole = std::fs::read(&fixture.signature).unwrap();
    for length in [0, 1, whole.len() / 2, whole.len() - 1] {
        fixture.set_bundle(&whole[..length]);
        assert!(
            refused!(fixture.verify(), Error::Json { .. }).contains("model.sig"),
            "{length}"
        );
    }
    std::fs::remove_file(&fixture.signature).unwrap();
    refused!(fixture.verify(), Error::Unsigned { .. });
    let huge = std::fs::File::create(&fixture.signature).unwrap();
    huge.set_len((256 << 20) + 1).unwrap();
    refused!(fixture.verify(), Error::TooLarge { .. });
}

#[test]
fn signature_of_another_model() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let other = Fixture::signed(&[("a", b"2"), ("b", b"3")]);
    std::fs::copy(&other.signature, &fixture.signature).unwrap();
    let text = refused!(fixture.verify(), Error::Differs(_));
    assert!(text.contains("changed: \"a\"; missing: \"b\""), "{text}");
}

fn altered(change: impl FnOnce(&mut Value)) -> Result<(), Error> {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let mut bundle = fixture.bundle();
    change(&mut bundle);
    fixture.set_bundle(bundle.to_string());
    fixture.verify().map(drop)
}

#[test]
fn bundles() {
    altered(|_| ()).unwrap();
    altered(|b| {
        b["verificationMaterial"]["publicKey"] =
            json!({"rawBytes": {"rawBytes": "AAAA", "keyDetails": "x"}});
    })
    .unwrap();
    altered(|b| {
        drop(
            b["verificationMaterial"]
                .as_object_mut()
                .unwrap()
                .remove("tlogEntries"),
        );
    })
    .unwrap();
    altered(|b| b["dsseEnvelope"]["signatures"][0]["keyid"] = Value::Null).unwrap();
    refused!(
        altered(|b| b["mediaType"] = json!("application/json")),
        Error::MediaType { .. }
    );
    refused!(altered(|b| b["extra"] = json!(1)), Error::Json { .. });
    refused!(
        altered(|b| b["dsseEnvelope"]["payloadType"] = json!("text/plain")),
        Error::PayloadType { .. }
    );
    refused!(
        altered(|b| b["dsseEnvelope"]["payload"] = json!("*")),
        Error::Base64 { .. }
    );
    refused!(
        altered(|b| {
            let signatures = b["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
            signatures.push(signatures[0].clone());
        }),
        Error::SignatureCount { found: 2 }
    );
    refused!(
        altered(|b| b["dsseEnvelope"]["signatures"] = json!([])),
        Error::SignatureCount { found: 0 }
    );
    refused!(
        altered(|b| b["verificationMaterial"] = json!({"certificate": {"rawBytes": "AAAA"}})),
        Error::MethodMismatch { .. }
    );
    refused!(
        altered(|b| b["verificationMaterial"] = json!({"certificate": {}})),
        Error::Json { .. }
    );
    refused!(
        altered(|b| b["verificationMaterial"]["certificate"] = json!({"rawBytes": "AAAA"})),
        Error::Material
    );
    let parsed = |text: &str| Bundle::parse(text.as_bytes()).map(drop);
    let twice = r#"{"mediaType":"a","mediaType":"b"}"#;
    assert!(refused!(parsed(twice), Error::DuplicateKey { .. }).contains("\"mediaType\""));
    refused!(parsed(&"[".repeat(100_000)), Error::TooDeep { .. });
    // Deep in what is passed on to others unread, too.
    let deep = "[".repeat(100) + &"]".repeat(100);
    let deep: Value = serde_json::from_str(&deep).unwrap();
    refused!(
        altered(|b| b["verificationMaterial"]["tlogEntries"] = json!([deep])),
        Error::TooDeep { .. }
    );
    refused!(
        altered(|b| b["verificationMaterial"]["extra"] = json!(1)),
        Error::Json { .. }
    );
    for (what, place, entry) in [
        ("log entries", "tlogEntries", json!({})),
        (
            "timestamps",
            "timestampVerificationData",
            json!({"signedTimestamp": "AAAA"}),
        ),
    ] {
        let fill = |count: usize| {
            let all = json!(vec![entry.clone(); count]);
            altered(|b| {
                b["verificationMaterial"][place] = match place {
                    "tlogEntries" => all,
                    _ => json!({"rfc3161Timestamps": all}),
                };
            })
        };
        fill(8).unwrap();
        assert!(refused!(fill(9), Error::TooMany { found: 9, .. }).contains(what));
    }
}

/// Whatever a log entry or a timestamp says in the bundle of a key, it counts for nothing: a key is believed by itself.
#[test]
fn proofs_that_nobody_asked_for_prove_nothing() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let entry =
        json!({"logIndex": "7", "integratedTime": "1700000000", "logId": {"keyId": "AAAA"}});
    let mut bundle = fixture.bundle();
    let material = &mut bundle["verificationMaterial"];
    material["tlogEntries"] = json!([entry, entry, {"canonicalizedBody": 3}]);
    let stamp = json!({"signedTimestamp": "AAAA"});
    material["timestampVerificationData"] = json!({"rfc3161Timestamps": [stamp]});
    fixture.set_bundle(bundle.to_string());
    let verified = fixture.verify().unwrap();
    assert_eq!(verified.manifest().judged_at(), None);
    // `show` tells of them all the same, as claims.
    let bundle = Bundle::read(&fixture.signature).unwrap();
    assert_eq!(bundle.log_entries().len(), 3);
    assert_eq!(bundle.log_entries()[0].index, Some(7));
    assert!(matches!(bundle.timestamps().as_slice(), [Err(_)]));
}

/// What is read of `statement` once it was changed.
fn reread(statement: &Value, change: &dyn Fn(&mut Value)) -> Result<Statement, Error> {
    let mut altered = statement.clone();
    change(&mut altered);
    Statement::parse(altered.to_string().as_bytes())
}

#[test]
fn statements() {
    let fixture = Fixture::signed(&[("a", b"1"), ("b", b"2")]);
    let statement = verifier_statement(&fixture);
    let with = |change: &dyn Fn(&mut Value)| reread(&statement, change);
    with(&|_| ()).unwrap();
    with(&|s| s["subject"][0]["annotations"] = json!({"step": 3})).unwrap();
    with(&|s| s["predicate"]["resources"][0]["annotations"] = json!({})).unwrap();
    refused!(
        with(&|s| s["_type"] = json!("x")),
        Error::StatementType { .. }
    );
    refused!(
        with(&|s| s["predicateType"] = json!("https://model_signing/Digests/v0.1")),
        Error::PredicateType { .. }
    );
    refused!(
        with(&|s| s["predicate"]["extra"] = json!(1)),
        Error::Json { .. }
    );
    refused!(
        with(&|s| s["predicate"]["serialization"]["extra"] = json!(1)),
        Error::Json { .. }
    );
    refused!(
        with(&|s| s["predicate"]["serialization"]["method"] = json!("chunks")),
        Error::SerializationMethod { .. }
    );
    refused!(
        with(&|s| s["predicate"]["serialization"]["hash_type"] = json!("md5")),
        Error::Algorithm { .. }
    );
    refused!(
        with(&|s| s["predicate"]["resources"][0]["algorithm"] = json!("blake3")),
        Error::Serialization(SerializationFault::Algorithm { .. })
    );
    refused!(
        with(&|s| s["subject"] = json!([])),
        Error::SubjectCount { found: 0 }
    );
    refused!(
        with(&|s| s["subject"][0]["digest"] = json!({"sha512": "00"})),
        Error::SubjectCount { .. }
    );
    refused!(
        with(&|s| s["subject"][0]["digest"]["sha256"] = json!("00")),
        Error::RootDigest { .. }
    );
    refused!(
        with(&|s| s["predicate"]["resources"] = json!([])),
        Error::EmptyManifest
    );
    refused!(
        with(&|s| s["predicate"]["resources"][0]["digest"] = json!("AA")),
        Error::DigestForm { .. }
    );
    refused!(
        with(&|s| s["predicate"]["resources"][1]["name"] = json!("a")),
        Error::DuplicateName { .. }
    );
    refused!(
        with(&|s| s["predicate"]["resources"][1]["name"] = json!("a/b")),
        Error::NameConflict { .. }
    );
}

#[test]
fn names_keys_and_depth_of_statements() {
    let fixture = Fixture::signed(&[("a", b"1"), ("b", b"2")]);
    let statement = verifier_statement(&fixture);
    let with = |change: &dyn Fn(&mut Value)| reread(&statement, change);
    for name in [
        "../a", "/a", "a/../b", ".", "", "a\0", "./a", "a//b", "a/", "b/..",
    ] {
        refused!(
            with(&|s| s["predicate"]["resources"][1]["name"] = json!(name)),
            Error::Name { .. }
        );
    }
    for entry in [".", "", "./", "/"] {
        refused!(
            with(&|s| s["predicate"]["serialization"]["ignore_paths"] = json!([entry])),
            Error::IgnoresEverything { .. }
        );
    }
    for entry in ["../x", "/etc", "a/../..", "a//b", "./a"] {
        refused!(
            with(&|s| s["predicate"]["serialization"]["ignore_paths"] = json!([entry])),
            Error::Name { .. }
        );
    }
    let twice = statement
        .to_string()
        .replacen("\"method\"", "\"method\":\"files\",\"method\"", 1);
    let text = refused!(
        Statement::parse(twice.as_bytes()),
        Error::DuplicateKey { .. }
    );
    assert!(text.contains("\"method\""), "{text}");
    let deep = "[".repeat(100) + &"]".repeat(100);
    let deep: Value = serde_json::from_str(&deep).unwrap();
    refused!(
        with(&|s| s["subject"][0]["annotations"] = deep.clone()),
        Error::TooDeep { .. }
    );
    refused!(
        with(&|s| {
            let subjects = s["subject"].as_array_mut().unwrap();
            subjects.push(subjects[0].clone());
        }),
        Error::SubjectCount { found: 2 }
    );
    refused!(
        with(&|s| {
            let resources = s["predicate"]["resources"].as_array_mut().unwrap();
            resources.swap(0, 1);
        }),
        Error::RootDigest { .. }
    );
}

fn verifier_statement(fixture: &Fixture) -> Value {
    let verified = fixture.verify().unwrap();
    serde_json::from_slice(&verified.manifest().statement().to_json().unwrap()).unwrap()
}

#[test]
fn a_signature_never_takes_the_place_of_something_else() {
    let fixture = Fixture::unsigned(&[("a", b"weights")]);
    let one = fixture.model.join("a");
    refused!(
        sign(
            &one,
            &one,
            &Ignore::git(),
            &signer("p256.pem"),
            Hashing::default()
        ),
        Error::WouldOverwrite { .. }
    );
    assert_eq!(std::fs::read(&one).unwrap(), b"weights");

    let folder = fixture.folder.path().join("folder.sig");
    std::fs::create_dir(&folder).unwrap();
    refused!(
        publish(&folder, b"{}", Manner::Plain),
        Error::NotAFile { .. }
    );
    let link = fixture.folder.path().join("link.sig");
    symlink(&one, &link).unwrap();
    refused!(publish(&link, b"{}", Manner::Plain), Error::Symlink { .. });
    refused!(
        publish(Path::new("/none/x.sig"), b"{}", Manner::Plain),
        Error::Io { .. }
    );
    assert_eq!(std::fs::read(&one).unwrap(), b"weights");
    let left: Vec<_> = std::fs::read_dir(fixture.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().ends_with(".tmp")),
        "{left:?}"
    );
}

#[test]
fn publishing_keeps_the_folders_times_when_asked() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let modified = || {
        std::fs::metadata(&fixture.model)
            .unwrap()
            .modified()
            .unwrap()
    };
    let before = modified();
    let statement = verifier_statement(&fixture);
    let statement = Statement::parse(statement.to_string().as_bytes()).unwrap();
    publish(
        &fixture.signature,
        &seal(&statement, &signer("p256.pem")).unwrap(),
        Manner::With(&fixture.model),
    )
    .unwrap();
    assert_eq!(modified(), before);
    fixture.verify().unwrap();
}

#[test]
fn a_signer_that_signs_another_statement_is_not_published() {
    struct Liar(KeySigner, Statement);
    impl Signer for Liar {
        fn sign(&self, _: &Statement) -> Result<Bundle, Error> {
            self.0.sign(&self.1)
        }
        fn verifier(&self) -> &dyn autosign_signing::Verifier {
            self.0.verifier()
        }
    }
    let statement = |text: &str| {
        let value = verifier_statement(&Fixture::signed(&[(text, b"1")]));
        Statement::parse(value.to_string().as_bytes()).unwrap()
    };
    let liar = Liar(signer("p256.pem"), statement("b"));
    refused!(seal(&statement("a"), &liar), Error::SigningFailed);
    seal(&statement("b"), &liar).unwrap();
    let _ = verifier("p256");
}

/// Rewrites the model while it is being hashed.
struct Meddler<'a>(&'a Path, fn(&Path));

impl Progress for Meddler<'_> {
    fn advance(&self, _: u64) -> ControlFlow<()> {
        (self.1)(self.0);
        ControlFlow::Continue(())
    }
}

#[test]
fn change_while_hashing_is_seen() {
    let meddle: [fn(&Path); 6] = [
        // A folder, and a file, that become links to what they were.
        |model| swap(&model.join("c")),
        |model| swap(&model.join("c/d")),
        |model| std::fs::write(model.join("a"), b"2").unwrap(),
        |model| std::fs::write(model.join("a"), b"longer").unwrap(),
        |model| std::fs::write(model.join("new"), b"").unwrap(),
        |model| drop(std::fs::remove_file(model.join("b"))),
    ];
    for change in meddle {
        let fixture = Fixture::unsigned(&[("a", b"1"), ("b", b"2"), ("c/d", b"3")]);
        let hashing = Hashing {
            threads: 1.try_into().unwrap(),
            progress: &Meddler(&fixture.model, change),
            ..Hashing::default()
        };
        let error = hash(&fixture.model, &Ignore::git(), hashing).expect_err("accepted");
        assert!(
            matches!(error, Error::ChangedWhileHashing { .. } | Error::Io { .. }),
            "{error:?}"
        );
    }
}

/// Puts a link in the place of `path`, once: it is called again and again.
fn swap(path: &Path) {
    let model = path.ancestors().find(|path| path.ends_with("model"));
    let elsewhere = model.unwrap().with_file_name("was");
    if !elsewhere.exists() {
        std::fs::rename(path, &elsewhere).unwrap();
        symlink(&elsewhere, path).unwrap();
    }
}

#[test]
fn hashing_can_be_cancelled() {
    struct Stop;
    impl Progress for Stop {
        fn advance(&self, _: u64) -> ControlFlow<()> {
            ControlFlow::Break(())
        }
    }
    let fixture = Fixture::unsigned(&[("a", b"1")]);
    let hashing = Hashing {
        progress: &Stop,
        ..Hashing::default()
    };
    refused!(
        hash(&fixture.model, &Ignore::git(), hashing),
        Error::Cancelled
    );
}
