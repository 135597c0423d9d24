//! The name of a shard, `PATH:START:END`: taken exactly where it is one, and written as it was.
//!
//! It goes the way of every shard, through a statement of which it is the only one.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use autosign_signing::{Digest, Error, RelPath, SerializationFault, Statement};
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let name = String::from_utf8_lossy(bytes);
    let digest = Digest::of(b"");
    let payload = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "m", "digest": {"sha256": Digest::of(digest.as_bytes()).to_string()}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {
            "serialization": {"method": "shards", "hash_type": "sha256", "shard_size": u64::MAX},
            "resources": [{"name": name, "digest": digest.to_string(), "algorithm": "sha256"}],
        },
    });
    let parsed = Statement::parse(payload.to_string().as_bytes());
    let Some((path, start, end)) = split(&name) else {
        let fault = SerializationFault::Name { name: name.into() };
        assert!(matches!(parsed, Err(Error::Serialization(found)) if found == fault));
        return;
    };
    if path != "." && RelPath::parse(path).is_err() {
        assert!(matches!(parsed, Err(Error::Name { .. })));
        return;
    }
    if start > 0 {
        let fault = SerializationFault::Missing {
            name: path.to_owned(),
            offset: 0,
        };
        assert!(matches!(parsed, Err(Error::Serialization(found)) if found == fault));
        return;
    }
    let statement = parsed.unwrap();
    let resource = &statement.manifest().resources()[0];
    let shard = resource.shard.unwrap();
    assert_eq!(resource.name.as_str(), path);
    assert_eq!((shard.start(), shard.end()), (start, end));
    assert_eq!(resource.to_string(), name);
});

/// The same, from its start on and digit by digit.
fn split(name: &str) -> Option<(&str, u64, u64)> {
    let parts: Vec<&str> = name.split(':').collect();
    let [path @ .., start, end] = parts.as_slice() else {
        return None;
    };
    let (start, end) = (decimal(start)?, decimal(end)?);
    let length = path.iter().map(|part| part.len() + 1).sum::<usize>();
    (start < end).then_some((name.get(..length.checked_sub(1)?)?, start, end))
}

fn decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !canonical || !digits {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
