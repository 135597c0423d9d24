//! Upstream's dialect of today, written and read; its format of 2025, read on request.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;

use autosign_cli::{BAD, GOOD, USAGE};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

mod common;

use common::Place;

const SIGN: &str = "sign key @last.pt --signature @last.pt.sig --private-key %p256.pem";
const VERIFY: &str = "verify key @last.pt --signature @last.pt.sig --public-key %p256.pub.pem";

fn first_resource(place: &Place) -> (String, String) {
    let bundle = std::fs::read(place.path("last.pt.sig")).unwrap();
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    let payload = STANDARD.decode(bundle["dsseEnvelope"]["payload"].as_str().unwrap());
    let payload: Value = serde_json::from_slice(&payload.unwrap()).unwrap();
    let resource = &payload["predicate"]["resources"][0];
    let text = |field: &str| resource[field].as_str().unwrap().to_owned();
    (text("name"), text("algorithm"))
}

#[test]
fn upstream_s_words_are_written_on_request_and_read_always() {
    let place = Place::new();
    for (options, name, algorithm) in [
        ("", "last.pt", "sha256"),
        ("--compat model-signing-1", ".", "sha256"),
        ("--shard-size 4", "last.pt:0:4", "sha256"),
        (
            "--shard-size 4 --compat=model-signing-1",
            ".:0:4",
            "sha256-sharded-4",
        ),
        (
            "--serialization shards --hash-algorithm blake2b --compat model-signing-1",
            ".:0:7",
            "blake2b-sharded-1000000000",
        ),
    ] {
        let said = place.run(&format!("{SIGN} {options}"));
        assert_eq!((said.code, said.err.as_str()), (GOOD, ""), "{options}");
        let written = first_resource(&place);
        assert_eq!(written, (name.to_owned(), algorithm.to_owned()));
        assert_eq!(place.run(VERIFY).code, GOOD, "{options}");
        std::fs::write(place.path("last.pt"), b"tampers").unwrap();
        assert_eq!(place.run(VERIFY).code, BAD, "{options}");
        std::fs::write(place.path("last.pt"), b"weights").unwrap();
    }
    let said = place.run(&format!("{SIGN} --compat model-signing-2"));
    assert_eq!(said.code, USAGE);
    assert!(said.err.contains("model-signing-1"), "{}", said.err);
}

/// Of core/signing/tests/bundles.
fn old(place: &Place, name: &str) {
    let bundles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/bundles");
    std::fs::copy(bundles.join(name), place.path("last.pt.sig")).unwrap();
    for file in ["root.pem", "trusted_root.json"] {
        std::fs::copy(bundles.join(file), place.path(file)).unwrap();
    }
}

#[test]
fn the_first_format_needs_a_word_and_its_warning_is_given() {
    let place = Place::new();
    old(&place, "0.2.0-single.sig");
    let said = place.run(VERIFY);
    assert_eq!(said.code, BAD);
    assert!(said.err.contains("verify --legacy"), "{}", said.err);
    let said = place.run(&format!("{VERIFY} --legacy"));
    assert_eq!(said.code, GOOD, "{}", said.err);
    assert!(said.err.contains("model-signing 0.2"), "{}", said.err);

    let said = place.run(&format!("{VERIFY} --legacy --json"));
    let verdict: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(verdict["format"]["version"], "v0.2");
    assert_eq!(
        verdict["format"]["predicate_type"],
        "https://model_signing/Digests/v0.1"
    );
}

#[test]
fn the_first_format_is_shown_without_a_word() {
    let place = Place::new();
    old(&place, "0.2.0-key-p256.sig");
    let said = place.run("show @last.pt.sig");
    assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
    for line in [
        "format        v0.2: The signature is in the format of model-signing 0.2",
        "files         3\n",
        "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c \"weights.bin\"\n",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    assert!(!said.out.contains("\nmodel  "), "{}", said.out);
    let said = place.run("show --json @last.pt.sig");
    let shown: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(shown["format"]["version"], "v0.2");
    assert_eq!(
        shown["predicate_type"], shown["format"]["predicate_type"],
        "{shown}"
    );
    assert_eq!(shown["statement"]["files"][2]["name"], "weights.bin");
}

#[test]
fn the_first_format_through_sigstore_needs_a_word_too() {
    let place = Place::new();
    old(&place, "0.2.0-sigstore.sig");
    for (name, content) in [
        ("config.json", "{}"),
        ("tokenizer/größe's.txt", "1\n"),
        ("weights.bin", "weights"),
    ] {
        let path = place.path("m").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let shown: Value = serde_json::from_str(&place.run("show --json @last.pt.sig").out).unwrap();
    let provider = &shown["certificates"][0]["identity_provider"];
    let verify = format!(
        "verify sigstore @m --signature @last.pt.sig --trust-config @trusted_root.json --offline \
         --identity re:alice.example.test --identity-provider {}",
        provider.as_str().unwrap()
    );
    let said = place.run(&verify);
    assert_eq!(said.code, BAD);
    assert!(said.err.contains("verify --legacy"), "{}", said.err);
    let said = place.run(&format!("{verify} --legacy"));
    assert_eq!(said.code, GOOD, "{}", said.err);
    assert!(said.err.contains("model-signing 0.2"), "{}", said.err);
}

#[test]
fn a_signature_that_names_no_key_is_taken_with_a_warning() {
    let place = Place::new();
    for (name, warned) in [("1.0.1-single.sig", true), ("1.1.0-single.sig", false)] {
        old(&place, name);
        let said = place.run(VERIFY);
        assert_eq!(said.code, GOOD, "{}", said.err);
        assert_eq!(said.err.contains("before 1.1.0"), warned, "{}", said.err);
    }
}
