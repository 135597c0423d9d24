//! Where randomness comes from (docs/decisions/0046-randomness-of-the-kernel.md).
#![allow(missing_docs, clippy::disallowed_methods, clippy::unwrap_used)]

use std::path::Path;

use autosign_signing::{Hashing, Ignore, KeySigner, sign, signature_path};

/// The library that gathers jitter is linked into whatever signs, or it is not.
#[test]
fn no_process_waits_for_the_jitter_of_its_cpu() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("a.pt");
    std::fs::write(&model, b"weights").unwrap();
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/p256.pem");
    let signer = KeySigner::read(&key, None).unwrap();
    let signature = signature_path(&model);
    sign(
        &model,
        &signature,
        &Ignore::git(),
        &signer,
        Hashing::default(),
    )
    .unwrap();

    let this = std::fs::read("/proc/self/exe").unwrap();
    let holds = |symbol: &str| {
        this.windows(symbol.len())
            .any(|part| part == symbol.as_bytes())
    };
    assert!(
        holds("CRYPTO_sysrand"),
        "no names of AWS-LC are in this program"
    );
    // In two halves, or it would find this very line.
    assert!(!holds(&["jent_entropy", "collector_alloc"].join("_")));
}
