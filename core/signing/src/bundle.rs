//! The Sigstore bundle v0.3 around an envelope, as JSON on disk.
//!
//! Reading is strict: size, depth and counts are capped, no key stands twice, the top level holds known fields only.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::envelope::IN_TOTO;
use crate::json::{self, Object};
use crate::{Digest, Envelope, Error};

/// A file costs some 125 bytes and 4/3 of its name, so this is room for a million files with names of 100 bytes.
pub(crate) const MAX_BYTES: u64 = 256 << 20;
/// More log entries or timestamps than any signer puts into a bundle.
const MAX_PROOFS: usize = 8;
/// More certificates than any signer puts into a bundle.
const MAX_CHAIN: usize = 10;
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How a bundle was signed, which decides how it can be verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// By a key, verified with its public key.
    Key,
    /// By a key with an X.509 certificate chain.
    Certificate,
    /// By a short-lived certificate from Fulcio.
    Sigstore,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Certificate => "certificate",
            Self::Sigstore => "sigstore",
        })
    }
}

/// An envelope and what helps to verify it. Holds claims only: nothing in it has been verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    method: Method,
    key_hint: Option<String>,
    chained: Option<Chained>,
    keyless: Option<Keyless>,
    envelope: Envelope,
}

/// What a signature with a certificate rests on. Claims, like the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chained {
    /// DER, leaf first, at least one.
    pub(crate) certificates: Vec<Vec<u8>>,
    /// RFC 3161 responses, DER.
    pub(crate) timestamps: Vec<Vec<u8>>,
}

/// What a keyless signature rests on. Claims, like the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keyless {
    /// Fulcio's certificate, DER.
    pub(crate) certificate: Vec<u8>,
    /// `TransparencyLogEntry` objects.
    pub(crate) log_entries: Vec<Value>,
    /// RFC 3161 responses, DER.
    pub(crate) timestamps: Vec<Vec<u8>>,
}

impl Bundle {
    pub(crate) fn signed_by_key(envelope: Envelope, key_hint: String) -> Self {
        Self {
            method: Method::Key,
            key_hint: Some(key_hint),
            chained: None,
            keyless: None,
            envelope,
        }
    }

    pub(crate) fn signed_with_chain(envelope: Envelope, chained: Chained) -> Self {
        Self {
            method: Method::Certificate,
            key_hint: None,
            chained: Some(chained),
            keyless: None,
            envelope,
        }
    }

    pub(crate) fn signed_keyless(envelope: Envelope, keyless: Keyless) -> Self {
        Self {
            method: Method::Sigstore,
            key_hint: None,
            chained: None,
            keyless: Some(keyless),
            envelope,
        }
    }

    /// Reads the signature file at `path`.
    ///
    /// # Errors
    /// [`Error::Unsigned`] where there is no file; [`Error::At`] round every error of [`Bundle::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_capped(path, "bundle", MAX_BYTES).map_err(|error| match error {
            Error::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::Unsigned {
                    signature: path.into(),
                }
            }
            other => other,
        })?;
        Self::parse(&bytes).map_err(Error::at(path))
    }

    /// Parses a bundle of any method.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond 256 MiB, [`Error::Json`], [`Error::DuplicateKey`], [`Error::TooDeep`],
    /// [`Error::MediaType`], [`Error::SignatureCount`],
    /// [`Error::PayloadType`], [`Error::Base64`], [`Error::Material`], [`Error::TooMany`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if u64::try_from(bytes.len()).is_ok_and(|size| size > MAX_BYTES) {
            return Err(Error::TooLarge {
                what: "bundle",
                limit: MAX_BYTES,
            });
        }
        let Object(wire): Object<Wire<'_>> = json::read("bundle", bytes)?;
        if wire.media_type != MEDIA_TYPE {
            return Err(Error::MediaType {
                found: wire.media_type,
            });
        }
        let Object(envelope) = wire.dsse_envelope;
        let [signature] = envelope.signatures.as_slice() else {
            return Err(Error::SignatureCount {
                found: envelope.signatures.len(),
            });
        };
        let envelope = Envelope::new(
            envelope.payload_type,
            decode("payload", &envelope.payload)?,
            decode("sig", &signature.sig)?,
        )?;
        let method = wire.verification_material.method()?;
        let Object(material) = wire.verification_material;
        let key_hint = material.public_key.and_then(|key| key.0.hint);
        let log_entries = material.tlog_entries.unwrap_or_default();
        let stamps = material.timestamp_verification_data.unwrap_or_default();
        let stamps = stamps.0.rfc3161_timestamps.unwrap_or_default();
        within("log entries", log_entries.len(), MAX_PROOFS)?;
        within("timestamps", stamps.len(), MAX_PROOFS)?;
        let stamps = stamps
            .iter()
            .map(|one| decode("signedTimestamp", &one.signed_timestamp));
        let timestamps = stamps.collect::<Result<Vec<_>, _>>()?;
        let chain = material.x509_certificate_chain;
        let chained = chain.map(|chain| chain.decode(&timestamps)).transpose()?;
        let certificate = material.certificate;
        let certificate = certificate.map(|one| decode("rawBytes", &one.raw_bytes));
        let keyless = certificate.transpose()?.map(|certificate| Keyless {
            certificate,
            log_entries,
            timestamps,
        });
        Ok(Self {
            method,
            key_hint,
            chained,
            keyless,
            envelope,
        })
    }

    /// The bundle as it is written to disk: compact JSON.
    ///
    /// # Errors
    /// [`Error::Json`], which only a broken serializer could give.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let wire = Wire {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: Object(self.material()),
            dsse_envelope: Object(WireEnvelope {
                payload: BASE64.encode(&self.envelope.payload).into(),
                payload_type: IN_TOTO.to_owned(),
                signatures: vec![Object(WireSignature {
                    sig: BASE64.encode(&self.envelope.signature),
                    keyid: Some(String::new()),
                })],
            }),
        };
        serde_json::to_vec(&wire).map_err(|source| Error::Json {
            what: "bundle",
            source,
        })
    }

    fn material(&self) -> Material {
        if let Some(chained) = &self.chained {
            let certificates = chained.certificates.iter().map(|der| {
                Object(Certificate {
                    raw_bytes: BASE64.encode(der),
                })
            });
            let stamps = (!chained.timestamps.is_empty()).then_some(&chained.timestamps);
            return Material {
                x509_certificate_chain: Some(Object(Chain {
                    certificates: certificates.collect(),
                })),
                tlog_entries: Some(Vec::new()),
                timestamp_verification_data: stamps
                    .map(|stamps| Object(Timestamps::encode(stamps))),
                ..Material::default()
            };
        }
        let Some(keyless) = &self.keyless else {
            return Material {
                public_key: Some(Object(PublicKey {
                    hint: self.key_hint.clone(),
                })),
                tlog_entries: Some(Vec::new()),
                ..Material::default()
            };
        };
        Material {
            certificate: Some(Object(Certificate {
                raw_bytes: BASE64.encode(&keyless.certificate),
            })),
            tlog_entries: Some(keyless.log_entries.clone()),
            timestamp_verification_data: Some(Object(Timestamps::encode(&keyless.timestamps))),
            ..Material::default()
        }
    }

    /// How the bundle was signed.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Which key the bundle says it was signed by: hex SHA-256 of the public key's PEM text. A claim.
    #[must_use]
    pub fn key_hint(&self) -> Option<&str> {
        self.key_hint.as_deref()
    }

    pub(crate) fn chained(&self) -> Option<&Chained> {
        self.chained.as_ref()
    }

    /// SHA-256 of each certificate of its chain, leaf first; nothing where it has none.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Digest> {
        let chained = self.chained.iter();
        let certificates = chained.flat_map(|chained| &chained.certificates);
        certificates.map(|der| Digest::of(der)).collect()
    }

    pub(crate) fn keyless(&self) -> Option<&Keyless> {
        self.keyless.as_ref()
    }

    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

/// Reads a small file whole, but never blocks on a FIFO and never reads beyond `limit` bytes.
///
/// # Errors
/// [`Error::Io`], [`Error::NotAFile`], and [`Error::At`] round [`Error::TooLarge`], which names `what` it should be.
pub fn read_capped(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, Error> {
    let fail = |e: std::io::Error| Error::io("read", path)(e);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(e.into()))?;
    let file = std::fs::File::from(opened);
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(Error::not_a_file(path, metadata.file_type()));
    }
    let size = metadata.len().min(limit).saturating_add(1);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read", path)(e))?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > limit) {
        return Err(Error::At {
            path: path.into(),
            source: Box::new(Error::TooLarge { what, limit }),
        });
    }
    Ok(bytes)
}

fn within(what: &'static str, found: usize, limit: usize) -> Result<(), Error> {
    if found > limit {
        return Err(Error::TooMany { what, found, limit });
    }
    Ok(())
}

fn decode(field: &'static str, text: &str) -> Result<Vec<u8>, Error> {
    BASE64.decode(text).map_err(|_| Error::Base64 { field })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wire<'a> {
    media_type: String,
    verification_material: Object<Material>,
    #[serde(borrow)]
    dsse_envelope: Object<WireEnvelope<'a>>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Material {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<Object<PublicKey>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x509_certificate_chain: Option<Object<Chain>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<Object<Certificate>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tlog_entries: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Object<Timestamps>>,
}

impl Material {
    /// Exactly one kind of material names the method.
    fn method(&self) -> Result<Method, Error> {
        match (
            &self.public_key,
            &self.x509_certificate_chain,
            &self.certificate,
        ) {
            (Some(_), None, None) => Ok(Method::Key),
            (None, Some(_), None) => Ok(Method::Certificate),
            (None, None, Some(_)) => Ok(Method::Sigstore),
            _ => Err(Error::Material),
        }
    }
}

// Bundles from before upstream 1.1.0 hold the key itself (`rawBytes`, `keyDetails`) instead of a hint: no use to us.
#[derive(Serialize, Deserialize)]
struct PublicKey {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    raw_bytes: String,
}

#[derive(Serialize, Deserialize)]
struct Chain {
    certificates: Vec<Object<Certificate>>,
}

impl Chain {
    fn decode(&self, timestamps: &[Vec<u8>]) -> Result<Chained, Error> {
        within("certificates", self.certificates.len(), MAX_CHAIN)?;
        if self.certificates.is_empty() {
            return Err(Error::Material);
        }
        let all = self.certificates.iter();
        let all = all.map(|one| decode("rawBytes", &one.raw_bytes));
        Ok(Chained {
            certificates: all.collect::<Result<_, _>>()?,
            timestamps: timestamps.to_vec(),
        })
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Timestamps {
    #[serde(
        default,
        rename = "rfc3161Timestamps",
        skip_serializing_if = "Option::is_none"
    )]
    rfc3161_timestamps: Option<Vec<Object<Timestamp>>>,
}

impl Timestamps {
    fn encode(stamps: &[Vec<u8>]) -> Self {
        let stamps = stamps.iter().map(|stamp| {
            Object(Timestamp {
                signed_timestamp: BASE64.encode(stamp),
            })
        });
        Self {
            rfc3161_timestamps: Some(stamps.collect()),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Timestamp {
    signed_timestamp: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEnvelope<'a> {
    /// Nearly all of the bundle.
    #[serde(borrow)]
    payload: Cow<'a, str>,
    payload_type: String,
    signatures: Vec<Object<WireSignature>>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}
