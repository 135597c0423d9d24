//! How a model is hashed, on the command line.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::os::unix::fs::symlink;

use autosign_cli::{BAD, GOOD, USAGE};

mod common;

use common::Place;

const SIGN: &str = "sign key @m --signature @m.sig --private-key %p256.pem";
const VERIFY: &str = "verify key @m --signature @m.sig --public-key %p256.pub.pem";

fn place() -> Place {
    let place = Place::new();
    std::fs::create_dir(place.path("m")).unwrap();
    std::fs::write(place.path("m/a"), [7; 25]).unwrap();
    place
}

#[test]
fn every_hash_and_method_signs_and_verifies() {
    let place = place();
    for options in [
        "",
        "--hash-algorithm blake2b",
        "--hash_algorithm=blake3 --max_workers 1",
        "--serialization shards",
        "--shard_size 10 --max-workers 3",
        "--serialization=shards --shard-size=10 --hash-algorithm=blake2b --threads 2",
        "--serialization files",
    ] {
        let said = place.run(&format!("{SIGN} {options}"));
        assert_eq!((said.code, said.err.as_str()), (GOOD, ""), "{options}");
        assert_eq!(place.run(VERIFY).code, GOOD, "{options}");
        std::fs::write(place.path("m/a"), [8; 25]).unwrap();
        let said = place.run(&format!("{VERIFY} --max-workers 2"));
        assert_eq!(said.code, BAD, "{options}");
        assert!(said.err.contains("changed: \"a\""), "{}", said.err);
        std::fs::write(place.path("m/a"), [7; 25]).unwrap();
    }
}

#[test]
fn wrong_options() {
    let place = place();
    for (options, code, text) in [
        ("--hash-algorithm md5", USAGE, "sha256, blake2b, blake3"),
        ("--serialization chunks", USAGE, "files, shards"),
        ("--shard-size 0", USAGE, "--shard-size"),
        ("--shard-size 1k", USAGE, "--shard-size"),
        ("--max-workers 0", USAGE, "--max-workers"),
        ("--allow-symlinks=maybe", USAGE, "false, true, hf-cache"),
        ("--serialization files --shard-size 10", BAD, "`files`"),
    ] {
        for command in [SIGN, "digest @m"] {
            let said = place.run(&format!("{command} {options}"));
            assert_eq!(said.code, code, "{options}: {}", said.err);
            assert!(said.err.contains(text), "{options}: {}", said.err);
        }
    }
}

#[test]
fn digests_differ_by_what_is_hashed() {
    let place = place();
    let digest = |options: &str| {
        let said = place.run(&format!("digest @m {options}"));
        assert_eq!(said.code, GOOD, "{}", said.err);
        said.out
    };
    let files = digest("");
    assert!(files.starts_with("sha256:") && files.len() == 72, "{files}");
    assert_eq!(
        digest("--serialization files --hash-algorithm sha256"),
        files
    );
    // A file that has one shard has the digest of the file.
    assert_eq!(digest("--serialization shards"), files);
    let others = [
        "--shard-size 10",
        "--hash-algorithm blake2b",
        "--hash-algorithm blake3",
    ];
    for options in others {
        assert_ne!(digest(options), files, "{options}");
    }
}

#[test]
fn links() {
    let place = place();
    symlink("a", place.path("m/link")).unwrap();
    let said = place.run(SIGN);
    assert_eq!(said.code, BAD);
    assert!(
        said.err.contains("/m/link\"") && said.err.contains("\"a\""),
        "{}",
        said.err
    );
    assert_eq!(
        place.run(&format!("{SIGN} --allow-symlinks=false")).code,
        BAD
    );
    // Upstream's spelling, before the model, too: the model is not its value.
    for sign in [
        format!("{SIGN} --allow_symlinks"),
        SIGN.replace("@m ", "--allow-symlinks @m "),
        format!("{SIGN} --allow-symlinks=true"),
    ] {
        let said = place.run(&sign);
        assert_eq!(said.code, GOOD, "{sign}: {}", said.err);
        assert_eq!(place.run(VERIFY).code, GOOD);
        assert_eq!(place.run(&format!("{VERIFY} --allow_symlinks")).code, GOOD);
        let said = place.run(&format!("{VERIFY} --allow-symlinks=false"));
        assert_eq!(said.code, BAD, "{}", said.err);
    }

    std::fs::create_dir_all(place.path("hub/blobs")).unwrap();
    std::fs::create_dir_all(place.path("hub/snapshots/0")).unwrap();
    std::fs::write(place.path("hub/blobs/1"), b"weights").unwrap();
    symlink("../../blobs/1", place.path("hub/snapshots/0/w")).unwrap();
    let digest = |options| {
        place
            .run(&format!("digest @hub/snapshots/0 {options}"))
            .code
    };
    assert_eq!(digest("--allow-symlinks"), BAD);
    assert_eq!(digest("--allow-symlinks=hf-cache"), GOOD);
}
