//! `verify --strict`, `--portable`, `--expect-name`, and what is said of a checkpoint prefix.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use autosign_cli::{BAD, GOOD};
use serde_json::{Value, json};

mod common;

use common::Place;

const SIGN: &str = "sign key @m --signature @m.sig --private-key %p256.pem";
const VERIFY: &str = "verify key @m --signature @m.sig --public-key %p256.pub.pem";

fn place(names: &[&str]) -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("m")).unwrap();
    for name in names {
        std::fs::write(place.path("m").join(name), name).unwrap();
    }
    place
}

#[test]
fn hard_links_are_named() {
    let place = place(&["a", "b"]);
    std::fs::hard_link(place.path("m/b"), place.path("elsewhere")).unwrap();
    assert_eq!(place.run(SIGN).code, GOOD);
    let said = place.run(VERIFY);
    assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
    let said = place.run(&format!("{VERIFY} --strict --json"));
    assert_eq!(said.code, GOOD);
    assert_eq!(
        said.err,
        "Signed, and can be changed through other names (hard links), 1 in all: \"b\"\n"
    );
    let verdict: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(verdict["hard_linked"], json!(["b"]));
}

#[test]
fn names_for_every_system() {
    let place = place(&["a", "A"]);
    let refusal = ["\"A\"", "\"a\"", "--portable"];
    place.refuses(&format!("{SIGN} --portable"), &refusal[1..]);
    assert!(!place.path("m.sig").exists());
    place.refuses("digest @m --portable", &refusal);
    assert_eq!(place.run(SIGN).code, GOOD);
    assert_eq!(place.run(VERIFY).code, GOOD);
    place.refuses(&format!("{VERIFY} --portable"), &refusal);
    std::fs::remove_file(place.path("m/A")).unwrap();
    let sign = place.run(&format!("{SIGN} --portable"));
    let verify = place.run(&format!("{VERIFY} --portable"));
    assert_eq!((sign.code, verify.code), (GOOD, GOOD));
}

#[test]
fn the_name_of_another_model() {
    let place = place(&["a"]);
    place.run(SIGN);
    assert_eq!(place.run(&format!("{VERIFY} --expect-name m")).code, GOOD);
    place.refuses(
        &format!("{VERIFY} --expect-name step-2000"),
        &["\"m\"", "\"step-2000\""],
    );
    let said = place.run(&format!("{VERIFY} --expect-name step-2000 --json"));
    let verdict: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(said.code, BAD);
    assert_eq!(verdict["error"]["kind"], "differs");
}

#[test]
fn a_checkpoint_prefix_is_told_its_index() {
    let place = place(&["ckpt-1.index", "ckpt-1.data-00000-of-00001"]);
    for command in [
        "verify key @m/ckpt-1 --public-key %p256.pub.pem",
        "sign key @m/ckpt-1 --signature @s --private-key %p256.pem",
        "digest @m/ckpt-1",
    ] {
        place.refuses(command, &["m/ckpt-1.index\"", "PREFIX.index"]);
    }
}
