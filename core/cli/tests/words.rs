//! What `verify` says of the commonest slips and accidents, all of which are refused.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_cli::{BAD, GOOD, UNSIGNED, USAGE};
use common::{Place, SIGN, VERIFY};
use serde_json::Value;

const ALARM: &str = "do not load this model: restore it";

#[test]
fn the_method_is_that_of_the_options() {
    let place = Place::new();
    assert_eq!(place.run(SIGN).code, GOOD);
    for command in [
        "verify @last.pt --public-key %p256.pub.pem",
        "verify --public_key=%p256.pub.pem @last.pt --json",
    ] {
        let said = place.run(command);
        assert_eq!(said.code, GOOD, "{command}: {}", said.err);
    }
    place.refuses(
        "verify @last.pt --public-key %p384.pub.pem",
        &["not made by this key"],
    );
    let log = place.run("log verify @. --public-key %p256.pub.pem");
    assert_eq!(log.code, GOOD, "{}", log.err);
}

#[test]
fn the_signature_says_which_method_it_wants() {
    let place = Place::new();
    assert_eq!(place.run(SIGN).code, GOOD);
    for command in [
        "verify @last.pt",
        "verify certificate @last.pt",
        "verify sigstore @last.pt --identity-provider p --json",
        "verify @other --signature @last.pt.sig",
    ] {
        let said = place.run(command);
        assert_eq!((said.code, said.out.as_str()), (USAGE, ""), "{command}");
        let expected = "last.pt.sig\": this signature was made with a key: `model-signing verify key MODEL --public-key KEY`";
        assert!(said.err.contains(expected), "{command}: {}", said.err);
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    }
    // Nothing to say of what is missing otherwise.
    for command in ["verify key @last.pt", "verify @none", "verify"] {
        let said = place.run(command);
        assert_eq!(said.code, USAGE, "{command}");
        assert!(!said.err.contains("made with"), "{command}: {}", said.err);
    }
    let given = "verify @last.pt --identity a --identity-provider https://p --offline";
    place.refuses(
        given,
        &["method `key`", "verify key MODEL --public-key KEY"],
    );
}

#[test]
fn a_file_that_was_renamed_is_refused_and_its_name_is_told() {
    let place = Place::new();
    assert_eq!(place.run(SIGN).code, GOOD);
    std::fs::rename(place.path("last.pt"), place.path("best.pt")).unwrap();
    let said = place.run("verify key @best.pt --signature @last.pt.sig --public-key %p256.pub.pem");
    assert_eq!(said.code, BAD);
    let renamed = "renamed: \"best.pt\" was signed as \"last.pt\"; where you renamed it yourself";
    assert!(said.err.contains(renamed), "{}", said.err);
    assert!(
        !said.err.contains(ALARM) && !said.err.contains("missing"),
        "{}",
        said.err
    );

    let said =
        place.run("verify key @best.pt --signature @last.pt.sig --public-key %p256.pub.pem --json");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let error = &told["error"];
    assert_eq!(error["renamed"][0]["name"], "best.pt");
    assert_eq!(error["renamed"][0]["signed_as"], "last.pt");
    assert_eq!(error["missing"][0], "last.pt");
    assert_eq!(error["added"][0], "best.pt");

    std::fs::write(place.path("best.pt"), b"weighty").unwrap();
    let said = place.run("verify key @best.pt --signature @last.pt.sig --public-key %p256.pub.pem");
    assert!(said.code == BAD && said.err.contains(ALARM), "{}", said.err);
}

/// A folder with two files, signed in shards or as files.
fn folder(place: &Place, how: &str) {
    std::fs::create_dir(place.path("m")).unwrap();
    std::fs::write(place.path("m/config.json"), b"{}").unwrap();
    std::fs::write(place.path("m/model.safetensors"), vec![7; 3000]).unwrap();
    let sign = format!("sign key @m --signature @m/model.sig --private-key %p256.pem {how}");
    assert_eq!(place.run(&sign).code, GOOD);
}

const FOLDER: &str = "verify @m --public-key %p256.pub.pem";

#[test]
fn files_that_were_only_added_are_told_from_an_attack() {
    for how in ["", "--shard-size 1000"] {
        let place = Place::new();
        folder(&place, how);
        std::fs::create_dir_all(place.path("m/.cache/huggingface/download")).unwrap();
        for name in [
            "README.md",
            ".cache/huggingface/download/config.json.metadata",
        ] {
            std::fs::write(place.path("m").join(name), b"---").unwrap();
        }
        let said = place.run(FOLDER);
        assert_eq!(said.code, BAD, "it is refused all the same");
        assert!(
            said.err.contains("added: \".cache/huggingface/download"),
            "{}",
            said.err
        );
        assert!(
            said.err.contains("--ignore-paths") && !said.err.contains(ALARM),
            "{}",
            said.err
        );

        for loaded in ["setup.py", "adapter_config.json", "extra.bin"] {
            std::fs::write(place.path("m").join(loaded), b"import os").unwrap();
            let said = place.run(FOLDER);
            assert!(said.code == BAD && said.err.contains(ALARM), "{}", said.err);
            std::fs::remove_file(place.path("m").join(loaded)).unwrap();
        }
        let left_out = format!("{FOLDER} --ignore-paths @m/README.md --ignore-paths @m/.cache");
        assert_eq!(place.run(&left_out).code, GOOD);

        std::fs::rename(
            place.path("m/model.safetensors"),
            place.path("m/x.safetensors"),
        )
        .unwrap();
        let said = place.run(FOLDER);
        let renamed = "renamed: \"x.safetensors\" was signed as \"model.safetensors\"";
        assert!(
            said.err.contains(renamed) && !said.err.contains(ALARM),
            "{}",
            said.err
        );
        std::fs::rename(place.path("m/x.safetensors"), place.path("m/setup.py")).unwrap();
        assert!(place.run(FOLDER).err.contains(ALARM));
    }
}

#[test]
fn a_path_to_ignore_that_leaves_nothing_out_is_told() {
    let place = Place::new();
    folder(&place, "");
    for command in [
        format!("{FOLDER} --ignore-paths config.json"),
        "digest @m --ignore-paths config.json".to_owned(),
        "sign key @m --signature @s --private-key %p256.pem --ignore-paths config.json".to_owned(),
    ] {
        let said = place.run(&command);
        assert_eq!(said.code, GOOD, "{command}: {}", said.err);
        let expected = "it is a path from the working directory; did you mean \"";
        assert!(said.err.contains(expected), "{command}: {}", said.err);
        assert!(
            said.err.contains("m/config.json\"?"),
            "{command}: {}",
            said.err
        );
    }
    for (path, told) in [
        ("@m/config.json", 0),
        ("@m/none", 1),
        ("@last.pt", 1),
        ("none", 1),
    ] {
        let said = place.run(&format!("digest @m --ignore-paths {path}"));
        assert_eq!(
            said.err.matches("leaves out nothing of").count(),
            told,
            "{path}: {}",
            said.err
        );
    }
}

#[test]
fn a_name_that_leaves_no_room_for_a_signature_is_unsigned() {
    let place = Place::new();
    let name = "n".repeat(252);
    std::fs::write(place.path(&name), b"weights").unwrap();
    let said = place.run(&VERIFY.replace("last.pt", &name));
    assert_eq!(said.code, UNSIGNED, "{}", said.err);
    let sign = format!("sign key @{name} --signature @{name}.sig --private-key %p256.pem");
    place.refuses(
        &sign,
        &["has 256 bytes, and a file's may have 255", "--signature"],
    );
}
