//! What the fuzz targets share: whom they believe, and how a bundle is written by somebody else's code.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use autosign_signing::Clock;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Signs nothing but what lies in `core/signing/tests/bundles`.
pub const PUBLIC_KEY: &[u8] = include_bytes!("../../core/signing/tests/keys/p256.pub.pem");
/// Its other half.
pub const PRIVATE_KEY: &[u8] = include_bytes!("../../core/signing/tests/keys/p256.pem");
/// Stands for the certificates of `core/signing/tests/bundles`.
pub const ROOT: &[u8] = include_bytes!("../../core/signing/tests/bundles/root.pem");
/// A bundle with a certificate that the root issued.
pub const CERTIFIED: &[u8] =
    include_bytes!("../../core/signing/tests/bundles/1.1.0-certificate-p256.sig");

/// It is always 2026, for an input that fails today must fail tomorrow.
pub struct Noon;

impl Noon {
    /// The clock as verifiers take it.
    #[must_use]
    pub fn clock() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}

impl Clock for Noon {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_780_000_000)
    }

    fn sleep(&self, _: Duration) {}
}

/// A bundle as any tool could write it.
#[must_use]
pub fn bundle(material: &Value, payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let bundle = json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    });
    bundle.to_string().into_bytes()
}

/// Whether the objects of `text`, which is JSON, have a key twice, found without a parser: a reader keeps one value for each
/// key, so it keeps fewer than there are colons outside of strings.
#[must_use]
pub fn has_a_key_twice(text: &[u8]) -> bool {
    let (mut inside, mut escaped, mut written) = (false, false, 0);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if inside => escaped = true,
            b'"' => inside = !inside,
            b':' if !inside => written += 1,
            _ => {}
        }
    }
    serde_json::from_slice(text).is_ok_and(|value| kept(&value) != written)
}

fn kept(value: &Value) -> usize {
    match value {
        Value::Array(all) => all.iter().map(kept).sum(),
        Value::Object(all) => all.len() + all.values().map(kept).sum::<usize>(),
        _ => 0,
    }
}
