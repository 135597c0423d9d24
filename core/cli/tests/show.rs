//! `show`: what a bundle says of itself, without any trust.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeSet;

use autosign_cli::{BAD, GOOD, UNSIGNED};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair, SanType};
use serde_json::{Value, json};

mod common;

use common::{Place, SIGN};

const CAUTION: &str = "Nothing of this has been verified";

fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// A keyless bundle that proves nothing, around `payload`.
fn keyless(place: &Place, name: &str, payload: &str) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let uri = name.try_into().unwrap();
    params.subject_alt_names = vec![SanType::URI(uri)];
    params.not_before = rcgen::date_time_ymd(2031, 2, 3);
    params.not_after = rcgen::date_time_ymd(2032, 2, 3);
    let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    let entry = json!({
        "logIndex": "4711",
        "integratedTime": "1900000000",
        "logId": { "keyId": "3q2+7w==" },
        "kindVersion": { "kind": "dsse", "version": "0.0.1" },
        "inclusionProof": { "checkpoint": { "envelope": "log.example\u{1b}[2J - 7\n12\n" } },
    });
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "certificate": { "rawBytes": base64(certificate.der()) },
            "tlogEntries": [entry, {}],
            "timestampVerificationData": { "rfc3161Timestamps": [{ "signedTimestamp": "AAAA" }] },
        },
        "dsseEnvelope": {
            "payloadType": "application/vnd.in-toto+json",
            "payload": base64(payload.as_bytes()),
            "signatures": [{ "sig": "AAAA", "keyid": "" }],
        },
    });
    std::fs::write(place.path("keyless.sig"), bundle.to_string()).unwrap();
}

fn parsed(place: &Place, file: &str) -> Value {
    let said = place.run(&format!("show --json {file}"));
    assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
    serde_json::from_str(&said.out).unwrap()
}

#[test]
fn a_bundle_of_a_key() {
    let place = Place::new();
    place.run(SIGN);
    let said = place.run("show @last.pt.sig");
    assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
    assert!(said.out.starts_with(CAUTION));
    for line in [
        "method        key\n",
        "signer        key c1d93d6dec94268e22cf28877e647bc73e858cde230493401ce9523bc8f826dd\n",
        "\"https://model_signing/signature/v1.0\"\n",
        "model         \"last.pt\"\n",
        "serialization files, sha256, no symbolic links\n",
        "root digest   sha256:59f3d85be3f9f90be09b43a08eb32a38a952135242e650039e4c4ccefd93d0a3\n",
        "manifest id   sha256:8fd8cfa0ac6287d70bb97f84411ba90128383f0695aeed438a679de77b1fa140\n",
        "left out      \".gitignore\"\n",
        "files         1\n",
        "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c \"last.pt\"\n",
    ] {
        assert!(said.out.contains(line), "{line}: {}", said.out);
    }
    let shown = parsed(&place, "@last.pt.sig");
    assert_eq!(
        (&shown["verified"], &shown["method"]),
        (&json!(false), &json!("key"))
    );
    assert!(shown["caution"].as_str().unwrap().starts_with(CAUTION));
    assert_eq!(shown["statement"]["files"][0]["name"], "last.pt");
    assert_eq!(shown["statement"]["ignored_paths"][0], ".git");
}

#[test]
fn a_bundle_that_nobody_believes_and_that_holds_no_oms_statement() {
    let place = Place::new();
    let payload = r#"{"_type":"https://in-toto.io/Statement/v1","predicateType":"https://slsa.dev/provenance/v1","subject":[],"predicate":{}}"#;
    keyless(&place, "https://ci.example/job", payload);
    let said = place.run("show @keyless.sig");
    assert_eq!(said.code, GOOD);
    for text in [
        "signer        \"https://ci.example/job\"\n",
        "2031-02-03T00:00:00Z to 2032-02-03T00:00:00Z",
        r#"index 4711 of "log.example\u{1b}[2J - 7", 2030-03-17T17:46:40Z, "dsse 0.0.1""#,
        "index unknown of unknown, no time, unknown\n",
        "timestamp     unreadable: ",
        "\"https://slsa.dev/provenance/v1\"\n",
        "statement     unreadable: ",
    ] {
        assert!(said.out.contains(text), "{text}: {}", said.out);
    }
    let shown = parsed(&place, "@keyless.sig");
    assert_eq!(
        shown["certificates"][0]["names"],
        json!(["https://ci.example/job"])
    );
    assert_eq!(shown["certificates"][0]["identity_provider"], Value::Null);
    assert_eq!(
        shown["log_entries"][0],
        json!({
            "index": 4711,
            "at": "2030-03-17T17:46:40Z",
            "log": "log.example\u{1b}[2J - 7",
            "key_id": "deadbeef",
            "kind": "dsse 0.0.1",
        })
    );
    assert!(shown["timestamps"][0]["error"].is_string());
    assert!(shown["statement"]["error"].is_string());
}

#[test]
fn every_field_is_documented() {
    let place = Place::new();
    keyless(&place, "https://ci.example/job", "{}");
    let page = place.run("reference").out;
    let (_, page) = page.split_once("\n## `show --json`\n").unwrap();
    let (page, _) = page.split_once("\n## ").unwrap();
    let mut shown = parsed(&place, "@keyless.sig");
    // One of each that could not be read.
    for list in ["certificates", "timestamps"] {
        shown[list][0]["error"] = json!("");
    }
    shown["timestamps"][0]["at"] = json!("");
    let mut found = BTreeSet::from(["statement".to_owned()]);
    for (name, value) in shown.as_object().unwrap() {
        let (mark, inner) = match value {
            Value::Array(list) => ("[]", list[0].as_object()),
            other => ("", other.as_object()),
        };
        match inner {
            Some(inner) => found.extend(inner.keys().map(|key| format!("{name}{mark}.{key}"))),
            None => _ = found.insert(name.clone()),
        }
    }
    let rows = page.lines().filter_map(|row| row.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect();
    assert_eq!(found, documented);
}

#[test]
fn nothing_of_it_moves_the_cursor() {
    let place = Place::new();
    let evil = "\u{1b}]0;x\u{7}\u{202e}\u{9b}2J\r\n";
    let payload = json!({
        "_type": evil,
        "predicateType": evil,
        "subject": [{ "name": evil, "digest": {} }],
    });
    keyless(&place, "https://a.example/\u{1b}[2J", &payload.to_string());
    let hint = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": { "publicKey": { "hint": evil } },
        "dsseEnvelope": {
            "payloadType": "application/vnd.in-toto+json",
            "payload": base64(payload.to_string().as_bytes()),
            "signatures": [{ "sig": "AAAA" }],
        },
    });
    std::fs::write(place.path("key.sig"), hint.to_string()).unwrap();
    assert_eq!(parsed(&place, "@key.sig")["key_hint"], evil);
    for command in ["show @keyless.sig", "show @key.sig", "show --json @key.sig"] {
        let said = place.run(command);
        assert_eq!(said.code, GOOD);
        let moves = |c: char| c != '\n' && c.is_control() || c == '\u{202e}';
        assert!(!said.out.contains(moves), "{command}: {}", said.out);
    }
}

#[test]
fn a_key_that_an_older_bundle_does_not_name() {
    let place = Place::new();
    place.run(SIGN);
    let mut bundle: Value =
        serde_json::from_slice(&std::fs::read(place.path("last.pt.sig")).unwrap()).unwrap();
    bundle["verificationMaterial"]["publicKey"] = json!({ "rawBytes": "AAAA" });
    std::fs::write(place.path("old.sig"), bundle.to_string()).unwrap();
    let said = place.run("show @old.sig").out;
    assert!(said.contains("a key that is not named\n"), "{said}");
    assert_eq!(parsed(&place, "@old.sig")["key_hint"], Value::Null);
}

#[test]
fn what_is_no_bundle_is_one_line() {
    let place = Place::new();
    place.refuses("show @last.pt", &["Reading failed", "damaged"]);
    assert_eq!(place.run("show @none").code, UNSIGNED);
    assert_eq!(place.run("show @").code, BAD);
}
