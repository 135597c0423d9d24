//! The payload of a signature: names are unique and stay inside the model, nothing is read that is not there, and what is
//! read is written and read again as the same.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;

use autosign_fuzz::has_a_key_twice;
use autosign_signing::{Error, RelPath, Statement};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    match Statement::parse(bytes) {
        Ok(statement) => check(bytes, &statement),
        // No mutation hits the root digest that its resources have.
        Err(Error::RootDigest { expected, found }) => {
            let Ok(text) = str::from_utf8(bytes) else {
                return;
            };
            let mended = text.replacen(&format!("\"{found}\""), &format!("\"{expected}\""), 1);
            if let Ok(statement) = Statement::parse(mended.as_bytes()) {
                check(mended.as_bytes(), &statement);
            }
        }
        Err(_) => {}
    }
});

fn check(bytes: &[u8], statement: &Statement) {
    assert!(!has_a_key_twice(bytes));
    let manifest = statement.manifest();
    let written: Value = serde_json::from_slice(bytes).unwrap();
    let written = written["predicate"]["resources"].as_array().unwrap();
    assert_eq!(written.len(), manifest.resources().len());
    let mut names = BTreeSet::new();
    for (wire, resource) in written.iter().zip(manifest.resources()) {
        let name = resource.to_string();
        assert_eq!(wire["name"], name);
        assert_eq!(wire["digest"], resource.digest.to_string());
        assert!(names.insert(name), "{resource:?} is there twice");
    }
    let files: BTreeSet<&RelPath> = manifest.files().collect();
    assert_eq!(files.len(), manifest.files().count());
    for file in &files {
        let alone = file.as_str() == "." && files.len() == 1;
        assert!(alone || RelPath::parse(file.as_str()).is_ok_and(|same| same == **file));
        let mut above = file.as_str();
        while let Some((folder, _)) = above.rsplit_once('/') {
            assert!(
                !files.iter().any(|other| other.as_str() == folder),
                "{file} is in a file"
            );
            above = folder;
        }
    }
    let again = Statement::parse(&statement.to_json().unwrap()).unwrap();
    assert_eq!(again, *statement);
}
