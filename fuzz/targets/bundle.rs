//! A signature file: what is read is written and read again as the same, and nothing forged is believed.
#![no_main]
#![allow(clippy::disallowed_methods, clippy::panic, clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use autosign_fuzz::{Noon, PUBLIC_KEY, ROOT, has_a_key_twice};
use autosign_signing::{
    Bundle, CertificateVerifier, ExpectedSigner, KeyVerifier, KeylessVerifier, TrustConfig,
    Verifier,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// All that was ever signed by whom the verifiers believe.
static SIGNED: LazyLock<BTreeSet<Vec<u8>>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/signing/tests/bundles");
    let files = std::fs::read_dir(folder).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    let bundles = paths.filter(|path| path.extension().is_some_and(|kind| kind == "sig"));
    bundles
        .map(|path| Bundle::read(&path).unwrap().envelope().payload().to_vec())
        .collect()
});

static VERIFIERS: LazyLock<[Box<dyn Verifier>; 3]> = LazyLock::new(|| {
    let trust = TrustConfig::production().unwrap();
    let anybody = ExpectedSigner::new("re:.*", "https://token.actions.githubusercontent.com");
    [
        Box::new(KeyVerifier::from_pem(PUBLIC_KEY).unwrap()),
        Box::new(
            CertificateVerifier::from_pem(ROOT)
                .unwrap()
                .with_clock(Noon::clock()),
        ),
        Box::new(KeylessVerifier::new(&trust, anybody.unwrap()).unwrap()),
    ]
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(bundle) = Bundle::parse(bytes) else {
        return;
    };
    assert!(!has_a_key_twice(bytes));
    let written: Value = serde_json::from_slice(bytes).unwrap();
    assert!(written["dsseEnvelope"]["signatures"][0]["sig"].is_string());
    let again = Bundle::parse(&bundle.to_json().unwrap()).unwrap();
    assert_eq!(again, bundle);

    // What `show` says.
    let _ = (
        bundle.certificates(),
        bundle.log_entries(),
        bundle.timestamps(),
    );
    let _ = (
        bundle.statement_types(),
        bundle.fingerprints(),
        bundle.key_hint(),
    );

    for verifier in VERIFIERS.iter() {
        if let Ok(verified) = verifier.verify(&bundle) {
            let payload = bundle.envelope().payload();
            assert!(SIGNED.contains(payload), "{verified:?}");
        }
    }
});
