//! `verify --json` and `show`, and what of them is documented.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::BTreeSet;
use std::path::Path;

use autosign_cli::{BAD, GOOD, UNSIGNED, USAGE};
use autosign_signing::Bundle;
use rcgen::{CertificateParams, DnType, KeyPair, KeyUsagePurpose, SanType};
use serde_json::{Value, json};

mod common;

use common::{Place, SIGN, Said, VERIFY};

const HINT: &str = "c1d93d6dec94268e22cf28877e647bc73e858cde230493401ce9523bc8f826dd";

fn parsed(said: &Said) -> Value {
    assert_eq!(said.out.lines().count(), 1, "{}", said.out);
    serde_json::from_str(&said.out).unwrap()
}

/// Signs with a certificate of alice@example.com, which is its own root.
fn certified(edit: impl FnOnce(&mut CertificateParams)) -> Place {
    let place = Place::new();
    let pair = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name.push(DnType::CommonName, "Alice");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let name = "alice@example.com".try_into().unwrap();
    leaf.subject_alt_names = vec![SanType::Rfc822Name(name)];
    edit(&mut leaf);
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write("leaf.pem", &leaf.self_signed(&pair).unwrap().pem());
    write("key.pem", &pair.serialize_pem());
    let sign = "sign certificate @last.pt --signature @last.pt.sig --private-key @key.pem --signing-certificate @leaf.pem";
    assert_eq!(place.run(sign).code, GOOD);
    place
}

/// Paths of the fields of `value`, as the page has them.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let at = if at.is_empty() {
                    name.clone()
                } else {
                    format!("{at}.{name}")
                };
                fields(value, &at, found);
            }
        }
        Value::Array(array) if array.iter().any(Value::is_object) => {
            for value in array {
                fields(value, &format!("{at}[]"), found);
            }
        }
        _ => _ = found.insert(at.to_owned()),
    }
}

#[test]
fn a_good_model_as_json() {
    let place = Place::new();
    place.run(SIGN);
    let said = place.run(&format!("{VERIFY} --json"));
    assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
    let bundle = std::fs::read(place.path("last.pt.sig")).unwrap();
    let payload = Bundle::parse(&bundle).unwrap().statement().unwrap().1;
    let payload = payload.digest().unwrap().to_string();
    assert_eq!(
        parsed(&said),
        json!({
            "verified": true,
            "method": "key",
            "format": { "version": "v1.0", "predicate_type": "https://model_signing/signature/v1.0" },
            "signer": { "key_hint": HINT },
            "time": { "source": "none", "at": null, "certificates_judged_at": null },
            "model_name": "last.pt",
            // printf weights | openssl dgst -sha256 -binary | sha256sum
            "root_digest": "59f3d85be3f9f90be09b43a08eb32a38a952135242e650039e4c4ccefd93d0a3",
            // sha256sum -z last.pt | sha256sum
            "manifest_id": "8fd8cfa0ac6287d70bb97f84411ba90128383f0695aeed438a679de77b1fa140",
            "payload_digest": payload,
            "annotations": {
                "run": null,
                "step": null,
                "sequence": null,
                "created": null,
                "parent": null,
            },
            "serialization": {
                "method": "files",
                "hash_algorithm": "sha256",
                "shard_size": null,
                "allow_symlinks": false,
            },
            "file_count": 1,
            "files": [{
                "name": "last.pt",
                "digests": ["9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"],
            }],
            "ignored_paths": [".git", ".gitattributes", ".github", ".gitignore"],
            "unsigned": [],
            "hard_linked": [],
        })
    );
}

#[test]
fn shards_and_unsigned_files_as_json() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("m/.git")).unwrap();
    std::fs::write(place.path("m/a"), b"12345").unwrap();
    std::fs::write(place.path("m/.git/config"), b"").unwrap();
    place.run(
        "sign key @m --signature @m.sig --private-key %p256.pem --shard-size 2 --allow-symlinks",
    );
    std::fs::write(place.path("m/new"), b"1").unwrap();
    let verify = "verify key @m --signature @m.sig --public-key %p256.pub.pem --json";
    let said = place.run(&format!("{verify} --ignore-unsigned-files"));
    let verdict = parsed(&said);
    assert!(said.err.starts_with("Not covered"), "{}", said.err);
    assert_eq!(verdict["unsigned"], json!([".git/config", "new"]));
    assert_eq!(verdict["serialization"]["shard_size"], 2);
    assert_eq!(verdict["serialization"]["allow_symlinks"], true);
    assert_eq!(verdict["file_count"], 1);
    assert_eq!(verdict["files"][0]["digests"].as_array().unwrap().len(), 3);
}

#[test]
fn certificates_as_json() {
    let place = certified(|_| ());
    let verify =
        "verify certificate @last.pt --signature @last.pt.sig --certificate-chain @leaf.pem --json";
    let verdict = parsed(&place.run(verify));
    let signer = &verdict["signer"];
    assert_eq!(signer["names"], json!(["alice@example.com"]));
    assert_eq!(signer["subject"], signer["root"]);
    assert!(signer["root"].as_str().unwrap().contains("CN=Alice"));
    assert_eq!(verdict["time"]["source"], "none");
    let now = verdict["time"]["certificates_judged_at"].as_str().unwrap();
    let legacy = parsed(&place.run(&format!("{verify} --legacy")));
    let begin = legacy["time"]["certificates_judged_at"].as_str().unwrap();
    assert!(begin.starts_with("1975-01-01T") && now > begin, "{begin}");
    assert_eq!(legacy["time"]["at"], Value::Null);
}

#[test]
fn failures_as_json() {
    let place = Place::new();
    let error = |place: &Place, command: &str, code: u8, kind: &str| {
        let said = place.run(&format!("{command} --json"));
        let verdict = parsed(&said);
        let error = &verdict["error"];
        assert_eq!((said.code, &verdict["verified"]), (code, &json!(false)));
        assert_eq!(error["kind"], kind, "{command}");
        for field in ["message", "hint"] {
            // The same as for people.
            let text = error[field].as_str().unwrap();
            assert!(!text.is_empty() && said.err.contains(text), "{}", said.err);
        }
        error.clone()
    };
    error(&place, VERIFY, UNSIGNED, "unsigned");
    place.run(SIGN);
    let other = VERIFY.replace("p256", "p384");
    error(&place, &other, BAD, "signer");
    error(
        &place,
        &VERIFY.replace("%p256.pub.pem", "@last.pt"),
        BAD,
        "trust",
    );
    error(&place, &VERIFY.replace("%p256.pub.pem", "@none"), BAD, "io");
    let damaged = format!("{VERIFY} --signature @last.pt");
    error(&place, &damaged, BAD, "malformed");
    std::fs::create_dir(place.path("m")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write("m/changed", "1");
    write("m/missing", "2");
    place.run("sign key @m --signature @m.sig --private-key %p256.pem");
    std::fs::rename(place.path("m/missing"), place.path("m/added")).unwrap();
    write("m/changed", "3");
    let verify = "verify key @m --signature @m.sig --public-key %p256.pub.pem";
    let differs = error(&place, verify, BAD, "differs");
    for field in ["changed", "missing", "added"] {
        assert_eq!(differs[field], json!([field]));
    }

    std::os::unix::fs::symlink("changed", place.path("m/link")).unwrap();
    error(&place, verify, BAD, "model");

    let mut place = certified(|_| ());
    error(&place, VERIFY, BAD, "method");
    let setting = ("MODEL_SIGNING_THREADS".to_owned(), "many".into());
    place.settings.push(setting);
    let keyless = "verify @last.pt --identity a --identity-provider b --json";
    let said = place.run(keyless);
    assert_eq!(
        (said.code, &parsed(&said)["error"]["kind"]),
        (USAGE, &json!("settings"))
    );
}

#[test]
fn every_field_is_documented_and_there() {
    let mut found = BTreeSet::new();
    let place = Place::new();
    place.run(SIGN);
    fields(
        &parsed(&place.run(&format!("{VERIFY} --json"))),
        "",
        &mut found,
    );
    // Renamed; an empty list shows no fields.
    std::fs::rename(place.path("last.pt"), place.path("best.pt")).unwrap();
    let renamed = VERIFY.replace("last.pt", "best.pt") + " --signature @last.pt.sig --json";
    fields(&parsed(&place.run(&renamed)), "", &mut found);
    let verify =
        "verify certificate @last.pt --signature @last.pt.sig --certificate-chain @leaf.pem --json";
    fields(&parsed(&certified(|_| ()).run(verify)), "", &mut found);
    let page = Place::new().run("reference").out;
    let (_, rows) = page.split_once("\n## `verify --json`\n").unwrap();
    let (rows, _) = rows.split_once("\n## ").unwrap();
    let rows = rows.lines().filter_map(|row| row.strip_prefix("| `"));
    let documented: BTreeSet<_> = rows
        .map(|row| row.split('`').next().unwrap().to_owned())
        .collect();
    // framework-tests/sigstore has these.
    let elsewhere = ["signer.identity", "signer.identity_provider"].map(str::to_owned);
    found.extend(elsewhere);
    assert_eq!(found, documented);
}

#[test]
fn the_page_of_commands_is_what_clap_knows() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let written = std::fs::read_to_string(page).unwrap();
    let silent = written.lines().find(|line| line.ends_with("|  |"));
    assert_eq!(silent, None, "an option says what it does");
    assert_eq!(
        written,
        Place::new().run("reference").out,
        "run `make docs`"
    );
}

#[test]
fn a_shell_completes_what_there_is() {
    for shell in ["bash", "fish", "zsh"] {
        let said = Place::new().run(&format!("completion {shell}"));
        assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
        for word in ["certificate", "use-staging", "completion"] {
            assert!(said.out.contains(word), "{shell}: {word}");
        }
    }
    assert_eq!(Place::new().run("completion tcsh").code, USAGE);
}

#[test]
fn how_much_is_said_goes_to_a_setting_unless_it_is_locked() {
    let mut place = Place::new();
    let level =
        |place: &Place, level: &str| place.run(&format!("--log_level {level} env --origin"));
    for (given, set) in [
        ("DEBUG", "debug"),
        ("Error", "warning"),
        ("CRITICAL", "off"),
    ] {
        let line = format!("MODEL_SIGNING_LOG_LEVEL={set}  (command line)\n");
        assert!(level(&place, given).out.contains(&line), "{given}");
    }
    assert_eq!(level(&place, "loud").code, USAGE);
    let environment = ("MODEL_SIGNING_LOG_LEVEL".to_owned(), "info".into());
    place.settings.push(environment);
    assert!(level(&place, "debug").out.contains("LEVEL=debug "));
    let file = place.path("etc/model-signing/config.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "[locked]\nlog_level = \"info\"\n").unwrap();
    place.refuses(
        "--log-level debug env",
        &["MODEL_SIGNING_LOG_LEVEL", "locked"],
    );
}
