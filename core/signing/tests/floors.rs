//! Nothing points up: core <- bindings <- hooks <- framework-tests, and inside core signing <- session <- cli.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Names of the crates a manifest mentions at the start of a line, comments and other tables aside.
fn dependencies(manifest: &str, table: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(manifest).join("Cargo.toml")).unwrap();
    let lines = text
        .lines()
        .skip_while(|line| *line != format!("[{table}]"))
        .skip(1);
    lines
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split(['.', ' ', '=']).next()?.to_owned()))
        .filter(|name| !name.is_empty())
        .collect()
}

fn files(folder: &str, ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == ending) {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

#[test]
fn crates_depend_downwards() {
    for (manifest, allowed) in [
        ("core/signing", &[][..]),
        ("core/session", &["autosign-signing"][..]),
        ("core/cli", &["autosign-session", "autosign-signing"][..]),
        (
            "bindings",
            &["autosign-cli", "autosign-session", "autosign-signing"][..],
        ),
        ("hooks/rust", &["autosign-session"][..]),
    ] {
        let ours: Vec<_> = dependencies(manifest, "dependencies")
            .into_iter()
            .filter(|name| name.starts_with("autosign-"))
            .collect();
        assert_eq!(ours, allowed, "{manifest}");
    }
}

#[test]
fn core_knows_no_python_and_no_framework() {
    for manifest in ["core/signing", "core/session", "core/cli"] {
        for name in dependencies(manifest, "dependencies") {
            assert!(
                !["pyo3", "safetensors", "tch", "tensorflow"].contains(&name.as_str()),
                "{manifest}: {name}"
            );
        }
    }
}

/// `text` only where it belongs; tests may use what they like.
fn only_in(text: &str, places: &[&str]) {
    for (path, content) in files("core", "rs") {
        let exempt = path.components().any(|part| part.as_os_str() == "tests");
        let may = exempt || places.iter().any(|place| path.ends_with(place));
        assert!(may || !content.contains(text), "{text}: {}", path.display());
    }
}

#[test]
fn libraries_are_named_where_they_belong() {
    only_in(
        "aws_lc_rs",
        &[
            "identity/adc.rs",
            "identity/aws/signature.rs",
            "signer/key.rs",
            "signer/keyless.rs",
            "verifier/key.rs",
            "services/http.rs",
        ],
    );
    only_in(
        "sigstore_",
        &[
            "src/certified.rs",
            "trust/mod.rs",
            "trust/tuf.rs",
            "verifier/keyless.rs",
            "verifier/timestamp.rs",
            "services/rekor.rs",
        ],
    );
    only_in(
        "webpki::",
        &[
            "certificate.rs",
            "verifier/certificate.rs",
            "verifier/path.rs",
            "verifier/revocation.rs",
        ],
    );
    only_in(
        "cryptoki::",
        &[
            "signer/pkcs11/key.rs",
            "signer/pkcs11/look.rs",
            "signer/pkcs11/token.rs",
        ],
    );
    only_in("h2::", &["services/grpc.rs"]);
    only_in("tokio::", &["services/grpc.rs"]);
    only_in("ureq::", &["services/http.rs", "trust/mod.rs"]);
}

#[test]
fn nothing_old_is_taken_but_for_a_person_who_asks() {
    only_in(
        "with_legacy_",
        &[
            "verifier/key.rs",
            "verifier/certificate.rs",
            "verifier/keyless.rs",
            "src/believed.rs",
        ],
    );
}

#[test]
fn a_framework_s_hooks_know_the_patch_engine_and_the_scopes_only() {
    for (path, text) in files("hooks/python/model_signing_autosign/frameworks", "py") {
        if path.ends_with("__init__.py") {
            continue;
        }
        let imports = text
            .lines()
            .map(str::trim_start)
            .filter(|line| line.starts_with("from ") || line.starts_with("import "));
        for line in imports {
            let module = line.split_whitespace().nth(1).unwrap();
            let allowed = [
                "__future__",
                "collections",
                "collections.abc",
                "contextlib",
                "mmap",
                "os",
                "struct",
                "sys",
                "typing",
                "weakref",
                "model_signing_autosign._faults",
                "model_signing_autosign._patch",
                "model_signing_autosign._saving",
                "model_signing_autosign._startup",
                "model_signing_autosign._uploads",
                // TF-Keras writes its checkpoints
                "model_signing_autosign.frameworks",
            ];
            assert!(allowed.contains(&module), "{}: {line}", path.display());
        }
    }
}

#[test]
fn files_read_in_one_sitting() {
    for folder in ["core", "bindings/src", "hooks/rust/src"] {
        for (path, text) in files(folder, "rs") {
            let lines = text.lines().count();
            assert!(lines <= 600, "{} has {lines} lines", path.display());
        }
    }
}
