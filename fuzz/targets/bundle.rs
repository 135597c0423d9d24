//! A signature file: what is read is written and read again as the same, and nothing forged is believed.
#![no_main]

use std::sync::LazyLock;

use autosign_fuzz::{CERTIFIED, Noon, PUBLIC_KEY, ROOT, has_a_key_twice};
use autosign_signing::{
    Bundle, CertificateVerifier, ExpectedSigner, KeyVerifier, KeylessVerifier, TrustConfig,
    Verifier,
};
use libfuzzer_sys::fuzz_target;

/// All that was ever signed by whom the verifiers believe.
static SIGNED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let key = include_bytes!("../../core/signing/tests/bundles/1.1.0-key-p256.sig");
    let old = include_bytes!("../../core/signing/tests/bundles/0.3.1-key-p256.sig");
    let older = include_bytes!("../../core/signing/tests/bundles/1.0.1-key-p256.sig");
    let single = include_bytes!("../../core/signing/tests/bundles/1.1.0-single.sig");
    let all = [&key[..], old, older, single, CERTIFIED];
    let payload = |bytes| Bundle::parse(bytes).unwrap().envelope().payload().to_vec();
    all.into_iter().map(payload).collect()
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
            assert!(
                SIGNED.iter().any(|signed| signed == payload),
                "{verified:?}"
            );
        }
    }
});
