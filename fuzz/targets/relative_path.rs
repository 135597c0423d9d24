//! The name of a file: what is taken stays inside whatever it is joined to, and is the same text.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::path::{Component, Path};

use autosign_signing::RelPath;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    let Ok(name) = RelPath::parse(&text) else {
        // Nothing harmless is refused.
        let normal = |one| matches!(one, Component::Normal(_));
        let plain = Path::new(&*text).components().all(normal);
        let bare = text.is_empty() || text.ends_with('/') || text.contains("//");
        let long = text.len() > 4096;
        assert!(
            !plain || bare || long || text.contains('\0') || text.contains("/."),
            "{text:?}"
        );
        return;
    };
    assert_eq!(name.as_str(), text);
    assert_eq!(name.to_string(), text);
    assert!(!text.contains('\0') && text.len() <= 4096);
    let root = Path::new("/models/digits");
    let path = name.under(root);
    let inside = path.strip_prefix(root).unwrap();
    let parts: Vec<_> = inside.components().collect();
    assert!(
        parts.iter().all(|one| matches!(one, Component::Normal(_))),
        "{path:?}"
    );
    assert_eq!(parts.len(), name.components().count());
    assert_eq!(inside.as_os_str(), &*text);
    assert!(name.is_within(&name));

    let json = serde_json::to_string(&name).unwrap();
    assert_eq!(serde_json::from_str::<RelPath>(&json).unwrap(), name);
    if let Some((folder, file)) = text.rsplit_once('/') {
        let folder = RelPath::parse(folder).unwrap();
        assert!(name.is_within(&folder) && !folder.is_within(&name));
        assert!(RelPath::parse(file).is_ok());
    }
});
