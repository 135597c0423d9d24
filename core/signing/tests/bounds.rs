//! What a signature or a model may cost whoever verifies it, before and after it is known who signed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use autosign_signing::{Bundle, Error, Ignore, Model, Symlinks};
use common::Fixture;
use rustix::fs::{Mode, OFlags};
use serde_json::{Value, json};

/// What becomes of a bundle with these log entries.
fn with_entries(entries: &Value) -> Result<Bundle, Error> {
    let mut bundle = Fixture::signed(&[("a", b"1")]).bundle();
    bundle["verificationMaterial"]["tlogEntries"] = entries.clone();
    Bundle::parse(bundle.to_string().as_bytes())
}

#[test]
fn log_entries_are_small_and_few_before_anything_is_made_of_them() {
    let of = |bytes: usize| json!("x".repeat(bytes));
    let bundle = with_entries(&json!([of(100_000), {"logIndex": 7}])).unwrap();
    assert_eq!(bundle.log_entries()[1].index, Some(7));
    // Written as it was read.
    let again = Bundle::parse(&bundle.to_json().unwrap()).unwrap();
    assert_eq!(again, bundle);

    let error = with_entries(&json!([of(200_000)])).unwrap_err();
    assert!(matches!(error, Error::Json { .. }));
    assert!(error.to_string().contains("larger than 128 KiB"), "{error}");
    // What is more than there may be is not even looked at.
    let error = with_entries(&json!([1, 2, 3, 4, 5, 6, 7, 8, of(200_000)])).unwrap_err();
    assert!(matches!(error, Error::TooMany { found: 9, .. }), "{error}");
}

#[test]
fn a_key_twice_is_refused_in_what_is_not_kept_too() {
    let entries = [
        r#"{"a":[{"b":1,"b":2}]}"#,
        r#"1,2,3,4,5,6,7,8,9,{"b":1,"b":2}"#,
    ];
    for entries in entries {
        let twice = format!(r#"{{"verificationMaterial":{{"tlogEntries":[{entries}]}}}}"#);
        let error = Bundle::parse(twice.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::DuplicateKey { .. }), "{error}");
    }
}

/// Folders in folders below the one at `path`; after 16 of them no path leads to the last.
fn nest(path: &Path, levels: usize) {
    let name = "d".repeat(255);
    let mut at: OwnedFd = File::open(path).unwrap().into();
    for _ in 0..levels {
        rustix::fs::mkdirat(&at, &name, Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, &name, OFlags::RDONLY, Mode::empty()).unwrap();
    }
}

#[test]
fn folders_in_folders_are_refused_where_no_path_leads() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    nest(&fixture.model, 15);
    fixture.verify().unwrap();
    let more = fixture.model.join("more");
    std::fs::create_dir(&more).unwrap();
    nest(&more, 17);
    for error in [fixture.verify().err(), fixture.sign().err()] {
        let error = error.unwrap();
        assert!(matches!(error.root(), Error::Name { .. }), "{error}");
        assert!(error.to_string().contains("longer than 4096"), "{error}");
    }
    // What is left out may be as deep as it likes, and is not walked to its end.
    let ignore = Ignore::new(&fixture.model, Some(&fixture.signature), &[more], true).unwrap();
    for symlinks in [Symlinks::Refused, Symlinks::Within, Symlinks::HfCache] {
        let model = Model::open_with(&fixture.model, &ignore, symlinks).unwrap();
        assert_eq!(model.files().len(), 1);
    }
}
