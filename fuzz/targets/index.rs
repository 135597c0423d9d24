//! An index of a model, in each of its forms: it names what a second, slower reader finds, and nothing out of the model.
//!
//! It goes the way of every index, from a folder that is signed.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;

use autosign_fuzz::has_a_key_twice;
use autosign_signing::{
    Digest, Error, Ignore, IndexFault, Manifest, Model, RelPath, Resource, Serialization,
    missing_shards,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    if let Some(names) = named("x.index.json", bytes) {
        // Where a key stands twice, the other reader keeps one.
        if let Ok(value) = serde_json::from_slice::<Value>(bytes)
            && !has_a_key_twice(bytes)
        {
            assert_eq!(names, expected(&value["weight_map"]));
        }
    }
    for name in named(".metadata", bytes).unwrap_or_default() {
        assert!(name.ends_with(".distcp"));
        let end = name.rsplit('/').next().unwrap().as_bytes();
        assert!(bytes.windows(end.len()).any(|part| part == end), "{name}");
    }
});

/// What the index of this name names; nothing where that is refused.
fn named(index: &str, bytes: &[u8]) -> Option<BTreeSet<String>> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(index), bytes).unwrap();
    let resource = Resource {
        name: RelPath::parse(index).unwrap(),
        shard: None,
        digest: Digest::of(bytes).into(),
    };
    let manifest = Manifest::new("m".into(), Serialization::default(), vec![resource]).unwrap();
    let list = || Model::open(folder.path(), &Ignore::default());
    match missing_shards(&manifest, list) {
        Ok(missing) => {
            let names = missing.into_iter().flat_map(|one| one.names);
            Some(names.map(|name| name.to_string()).collect())
        }
        Err(Error::Index(IndexFault::Outside { name, .. })) => {
            assert!(name.starts_with('/') || name.split('/').any(|part| part == ".."));
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The files of a weight map, as paths without what is not needed.
fn expected(map: &Value) -> BTreeSet<String> {
    let Value::Object(map) = map else {
        return BTreeSet::new();
    };
    let files = map.values().flat_map(|files| match files {
        Value::String(file) => vec![file.as_str()],
        Value::Array(all) if all.iter().all(Value::is_string) => {
            all.iter().filter_map(Value::as_str).collect()
        }
        _ => Vec::new(),
    });
    let plain = files.filter_map(|file| {
        let parts = file.split('/').filter(|part| !matches!(*part, "" | "."));
        let plain = parts.collect::<Vec<_>>().join("/");
        let is_itself = plain == "x.index.json";
        (!is_itself && RelPath::parse(&plain).is_ok()).then_some(plain)
    });
    plain.collect()
}
