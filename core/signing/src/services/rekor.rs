//! Rekor, the transparency log, in both its forms: v1 takes the envelope, v2 a digest and a signature.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use sigstore_rekor::{DsseEntry, HashedRekordV2, LogEntry, RekorV2KeyDetails};
use sigstore_types::{
    DerCertificate, DsseEnvelope, DsseSignature, KeyId, KindVersion, PayloadBytes, Sha256Hash,
    SignatureBytes, TransparencyLogEntry,
};

use super::Http;
use crate::envelope::IN_TOTO;
use crate::{Digest, Envelope, Error};

/// A v2 log answers when the entry is under a checkpoint.
const V2_TIMEOUT: Duration = Duration::from_secs(30);

/// Which API a log speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogVersion {
    V1,
    V2,
}

/// The entry that the log at `url` makes for `envelope`, signed by `certificate`, as it stands in a bundle. Whether the
/// log is honest is the verifier's to say.
pub(crate) fn log_entry(
    http: Http<'_>,
    url: &str,
    version: LogVersion,
    envelope: &Envelope,
    certificate: &[u8],
) -> Result<Value, Error> {
    let url = url.trim_end_matches('/');
    let certificate = DerCertificate::from_bytes(certificate);
    let entry = match version {
        LogVersion::V1 => v1(&http, url, envelope, &certificate)?,
        LogVersion::V2 => v2(&http.patient(V2_TIMEOUT), url, envelope, &certificate)?,
    };
    // Written in full: the log leaves out an index of 0, and upstream refuses a bundle without one.
    serde_json::to_value(&entry).map_err(|_| Error::SigningFailed)
}

fn v1(
    http: &Http<'_>,
    url: &str,
    envelope: &Envelope,
    certificate: &DerCertificate,
) -> Result<TransparencyLogEntry, Error> {
    let signature = SignatureBytes::from_bytes(&envelope.signature);
    let envelope = DsseEnvelope::new(
        IN_TOTO,
        PayloadBytes::from_bytes(&envelope.payload),
        DsseSignature::new(signature, KeyId::default()),
    );
    let request = DsseEntry::new(&envelope, certificate).map_err(|_| Error::SigningFailed)?;
    let request = serde_json::to_vec(&request).map_err(|_| Error::SigningFailed)?;
    let entries = format!("{url}/api/v1/log/entries");
    let mut answer = http.post(&entries, "application/json", &request, &[201, 409])?;
    if answer.status == 409 {
        // Our own earlier try got through, its answer did not.
        let there = answer
            .location
            .as_deref()
            .and_then(|path| path.rsplit('/').next());
        let id = there.filter(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let id = id.ok_or_else(|| http.misbehaved("it has the entry, and does not say where"))?;
        answer = http.get(&format!("{entries}/{id}"))?;
    }
    let malformed = |error: &dyn std::fmt::Display| {
        http.misbehaved(format!("its answer is no log entry: {error}"))
    };
    let entries: BTreeMap<String, LogEntry> =
        serde_json::from_slice(&answer.body).map_err(|error| malformed(&error))?;
    let entry = entries
        .into_values()
        .next()
        .ok_or_else(|| malformed(&"it is empty"))?;
    entry
        .to_bundle_entry(KindVersion::DsseV001)
        .map_err(|error| malformed(&error))
}

fn v2(
    http: &Http<'_>,
    url: &str,
    envelope: &Envelope,
    certificate: &DerCertificate,
) -> Result<TransparencyLogEntry, Error> {
    let message = Envelope::pre_authentication_encoding(&envelope.payload);
    let request = HashedRekordV2::new_with_certificate(
        &Sha256Hash::new(*Digest::of(&message).as_bytes()),
        &SignatureBytes::from_bytes(&envelope.signature),
        certificate,
        RekorV2KeyDetails::PkixEcdsaP256Sha256,
    );
    let request = serde_json::to_vec(&request).map_err(|_| Error::SigningFailed)?;
    let entries = format!("{url}/api/v2/log/entries");
    let answer = http.post(&entries, "application/json", &request, &[200, 201])?;
    serde_json::from_slice(&answer.body)
        .map_err(|error| http.misbehaved(format!("its answer is no log entry: {error}")))
}
