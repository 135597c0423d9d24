//! PKCS#11: URIs that are none, and modules that cannot be loaded. Tokens: framework-tests/interop/test_pkcs11.py.
#![cfg(feature = "pkcs11")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;

use autosign_signing::{Error, Pkcs11Fault as Fault, Pkcs11Signer, Pkcs11Uri};

const BEFORE: &str = "before `?`";
const AFTER: &str = "after `?`";
const ESCAPED: &str = "has a character that must be written as %XX";

const fn value(name: &'static str, reason: &'static str) -> Fault {
    Fault::AttributeValue { name, reason }
}

/// Each with the first thing that is wrong with it.
const REFUSED: &[(&str, Fault)] = &[
    ("object=a", Fault::NotAUri),
    ("pkcs1é:object=a", Fault::NotAUri),
    ("pkcs11", Fault::NotAUri),
    ("pkcs11:object=a", Fault::NoModule),
    ("pkcs11:?module-name=m", Fault::NoObject),
    ("pkcs11:token=a?module-name=m", Fault::NoObject),
    ("pkcs11:object=a;=b", Fault::AttributeForm { place: BEFORE }),
    ("pkcs11:object=a;", Fault::AttributeForm { place: BEFORE }),
    (
        "pkcs11:object=a;b c=d",
        Fault::AttributeForm { place: BEFORE },
    ),
    (
        "pkcs11:object=a?1234",
        Fault::AttributeForm { place: AFTER },
    ),
    (
        "pkcs11:object=a;object=b",
        Fault::AttributeTwice { name: "object" },
    ),
    (
        "pkcs11:object=a;x=1;x=2",
        Fault::AttributeTwice {
            name: "a vendor's attribute",
        },
    ),
    (
        "pkcs11:object=a?pin-value=1&pin-value=1",
        Fault::AttributeTwice { name: "pin-value" },
    ),
    (
        "pkcs11:object=a;pin-value=1",
        Fault::AttributePlace {
            name: "pin-value",
            place: BEFORE,
        },
    ),
    (
        "pkcs11:object=a?token=b",
        Fault::AttributePlace {
            name: "token",
            place: AFTER,
        },
    ),
    ("pkcs11:object=a b", value("object", ESCAPED)),
    ("pkcs11:object=a/b", value("object", ESCAPED)),
    ("pkcs11:object=é", value("object", ESCAPED)),
    (
        "pkcs11:object=a?pin-value=12#4",
        value("pin-value", ESCAPED),
    ),
    ("pkcs11:object=a;x=/", value("vendor's attribute", ESCAPED)),
    (
        "pkcs11:object=%4",
        value("object", "has a % without two hex digits"),
    ),
    (
        "pkcs11:object=%+1",
        value("object", "has a % without two hex digits"),
    ),
    ("pkcs11:object=%ff", value("object", "is not UTF-8")),
    (
        "pkcs11:object=a;token=%ff?module-name=m",
        value("token", "is not UTF-8"),
    ),
    (
        "pkcs11:object=a?pin-value=%ff",
        value("pin-value", "is not UTF-8"),
    ),
    (
        "pkcs11:object=a;type=cert",
        value("type", "is not `private`"),
    ),
    (
        "pkcs11:object=a;slot-id=",
        value("slot-id", "is not a number"),
    ),
    (
        "pkcs11:object=a;slot-id=+1",
        value("slot-id", "is not a number"),
    ),
    (
        "pkcs11:object=a;slot-id=18446744073709551616",
        value("slot-id", "is not a number"),
    ),
    (
        "pkcs11:object=a;library-version=1.",
        value("library-version", "is not MAJOR.MINOR"),
    ),
    (
        "pkcs11:object=a;library-version=1.2.3",
        value("library-version", "is not MAJOR.MINOR"),
    ),
    (
        "pkcs11:object=a?module-path=p11.so",
        value("module-path", "is not absolute"),
    ),
    (
        "pkcs11:object=a?module-name=../p11",
        value("module-name", "is not a name"),
    ),
    (
        "pkcs11:object=a?module-name=",
        value("module-name", "is not a name"),
    ),
    (
        "pkcs11:object=a?pin-source=pin",
        value("pin-source", "is neither file:/PATH nor /PATH"),
    ),
    (
        "pkcs11:object=a?pin-source=|/bin/pin",
        value("pin-source", "is neither file:/PATH nor /PATH"),
    ),
    (
        "pkcs11:object=a?pin-source=file://host/pin",
        value("pin-source", "is neither file:/PATH nor /PATH"),
    ),
    (
        "pkcs11:object=a?pin-source=https://host/pin",
        value("pin-source", "is neither file:/PATH nor /PATH"),
    ),
    (
        "pkcs11:object=a?pin-source=/pin&pin-value=1",
        value("pin-source", "and its pin-value exclude each other"),
    ),
];

fn fault<T>(result: Result<T, Error>) -> Fault {
    match result.err() {
        Some(Error::Pkcs11(fault)) => fault,
        Some(other) => panic!("{other}"),
        None => panic!("accepted"),
    }
}

#[test]
fn what_rfc_7512_does_not_allow_is_refused() {
    for (uri, expected) in REFUSED {
        let found = fault(Pkcs11Uri::parse(uri));
        assert_eq!(found, *expected, "{uri}");
        assert!(!found.hint().is_empty());
    }
}

#[test]
fn no_message_repeats_a_pin() {
    for uri in [
        "pkcs11:object=a;pin-value=73550608",
        "pkcs11:object=a?pin-value=73550608",
        "pkcs11:object=a?pin-value=73550608&pin-source=/73550608",
        "pkcs11:object=a?pin-value=x&73550608",
        "pkcs11:object=a?pin-value=73550608%",
        "pkcs11:object=a?module-path=/x&pin-source=73550608",
        "73550608",
    ] {
        let error = fault(Pkcs11Uri::parse(uri));
        assert!(
            !format!("{error} {error:?} {}", error.hint()).contains("73550608"),
            "{uri}"
        );
    }
}

fn open(module: &Path) -> Fault {
    let uri = format!("pkcs11:object=a?module-path={}", module.display());
    fault(Pkcs11Signer::open(&Pkcs11Uri::parse(&uri).unwrap()))
}

#[test]
fn what_is_no_module_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.so");
    std::fs::write(&text, "no library").unwrap();
    for path in [&text, &folder.path().join("absent.so")] {
        match open(path) {
            Fault::ModuleLoad { path: named, .. } => assert_eq!(named, *path),
            other => panic!("{other}"),
        }
    }
}
