//! What a signature or a model may cost whoever verifies it, before and after it is known who signed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_signing::{Bundle, Error};
use common::Fixture;
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
