//! The Sigstore bundle v0.3 around an envelope, as JSON on disk.
//!
//! Reading is strict: size, depth and counts are capped, no key stands twice, the top level holds known fields only. Nobody has
//! looked at the signature yet, so what is more than it may be is counted while it is read, and not kept.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::envelope::IN_TOTO;
use crate::json::{self, Few, Object};
use crate::reading::{cannot_be, read_capped};
use crate::{Digest, Envelope, Error};

/// A file costs some 125 bytes and 4/3 of its name, so this is room for a million files with names of 100 bytes.
pub(crate) const MAX_BYTES: u64 = 256 << 20;
/// More log entries or timestamps than any signer puts into a bundle.
const MAX_PROOFS: usize = 8;
/// Room for ten times the largest log entry that we know; what is made of one takes a hundred times its text.
const MAX_ENTRY_BYTES: usize = 128 << 10;
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

impl Method {
    /// How what was signed so is verified.
    #[must_use]
    pub fn way(self) -> &'static str {
        match self {
            Self::Key => {
                "this signature was made with a key: `model-signing verify key MODEL --public-key KEY`, in Python `verify(MODEL, public_key=KEY)`"
            }
            Self::Certificate => {
                "this signature was made with a certificate: `model-signing verify certificate MODEL --certificate-chain ROOTS`, in Python `verify(MODEL, certificate_chain=[ROOTS])`"
            }
            Self::Sigstore => {
                "this signature was made through Sigstore: `model-signing verify MODEL --identity WHO --identity-provider URL`, in Python `verify(MODEL, identity=WHO, identity_provider=URL)`"
            }
        }
    }
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
    signer: Signatory,
    /// `TransparencyLogEntry` objects.
    log_entries: Vec<Value>,
    /// RFC 3161 responses, DER.
    timestamps: Vec<Vec<u8>>,
    envelope: Envelope,
}

/// What names the signer. Claims, like the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Signatory {
    /// X.509, DER, leaf first, at least one.
    Chain(Vec<Vec<u8>>),
    /// Fulcio's certificate, DER.
    Fulcio(Vec<u8>),
    /// Hex SHA-256 of the public key's PEM text.
    Key(Option<String>),
}

impl Bundle {
    pub(crate) fn new(envelope: Envelope, signer: Signatory) -> Self {
        Self {
            signer,
            log_entries: Vec::new(),
            timestamps: Vec::new(),
            envelope,
        }
    }

    /// With what proves when it was signed.
    pub(crate) fn with_proofs(mut self, log_entries: Vec<Value>, timestamps: Vec<Vec<u8>>) -> Self {
        self.log_entries.extend(log_entries);
        self.timestamps.extend(timestamps);
        self
    }

    /// Reads the signature file at `path`.
    ///
    /// # Errors
    /// [`Error::Unsigned`] where there is no file; [`Error::At`] round every error of [`Bundle::parse`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = read_capped(path, "bundle", MAX_BYTES).map_err(|error| match error {
            Error::Io { source, .. } if cannot_be(&source) => Error::Unsigned {
                signature: path.into(),
            },
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
        let Ok([signature]) = envelope.signatures.all() else {
            return Err(Error::SignatureCount {
                found: envelope.signatures.found(),
            });
        };
        let envelope = Envelope::new(
            envelope.payload_type,
            decode("payload", &envelope.payload)?,
            decode("sig", &signature.sig)?,
        )?;
        let Object(material) = wire.verification_material;
        let signer = material.signer()?;
        let log_entries = material.tlog_entries.unwrap_or_default();
        let stamps = material.timestamp_verification_data.unwrap_or_default();
        let stamps = stamps.0.rfc3161_timestamps.unwrap_or_default();
        let log_entries = within("log entries", MAX_PROOFS, log_entries.into_all())?;
        let log_entries = log_entries.into_iter().map(|Entry(entry)| entry).collect();
        let stamps = within("timestamps", MAX_PROOFS, stamps.all())?.iter();
        let stamps = stamps.map(|one| decode("signedTimestamp", &one.signed_timestamp));
        let timestamps = stamps.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(envelope, signer).with_proofs(log_entries, timestamps))
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
                signatures: Few::from_iter([Object(WireSignature {
                    sig: BASE64.encode(&self.envelope.signature),
                    keyid: Some(String::new()),
                })]),
            }),
        };
        serde_json::to_vec(&wire).map_err(|source| Error::Json {
            what: "bundle",
            source,
        })
    }

    fn material(&self) -> Material {
        let certificate = |der: &Vec<u8>| {
            Object(Certificate {
                raw_bytes: BASE64.encode(der),
            })
        };
        let stamps = (!self.timestamps.is_empty()).then_some(&self.timestamps);
        let proofs = Material {
            tlog_entries: Some(self.log_entries.iter().cloned().map(Entry).collect()),
            timestamp_verification_data: stamps.map(|stamps| Object(Timestamps::encode(stamps))),
            ..Material::default()
        };
        match &self.signer {
            Signatory::Chain(chain) => Material {
                x509_certificate_chain: Some(Object(Chain {
                    certificates: chain.iter().map(certificate).collect(),
                })),
                ..proofs
            },
            Signatory::Fulcio(leaf) => Material {
                certificate: Some(certificate(leaf)),
                timestamp_verification_data: Some(Object(Timestamps::encode(&self.timestamps))),
                ..proofs
            },
            Signatory::Key(hint) => Material {
                public_key: Some(Object(PublicKey { hint: hint.clone() })),
                ..proofs
            },
        }
    }

    /// How the bundle was signed.
    #[must_use]
    pub fn method(&self) -> Method {
        match &self.signer {
            Signatory::Chain(_) => Method::Certificate,
            Signatory::Fulcio(_) => Method::Sigstore,
            Signatory::Key(_) => Method::Key,
        }
    }

    /// Which key the bundle says it was signed by: hex SHA-256 of the public key's PEM text. A claim.
    #[must_use]
    pub fn key_hint(&self) -> Option<&str> {
        match &self.signer {
            Signatory::Key(hint) => hint.as_deref(),
            Signatory::Chain(_) | Signatory::Fulcio(_) => None,
        }
    }

    pub(crate) fn signer(&self) -> &Signatory {
        &self.signer
    }

    pub(crate) fn entries(&self) -> &[Value] {
        &self.log_entries
    }

    /// RFC 3161 responses, DER.
    pub(crate) fn stamps(&self) -> &[Vec<u8>] {
        &self.timestamps
    }

    /// SHA-256 of each certificate of its chain, leaf first; nothing where it has none.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Digest> {
        match &self.signer {
            Signatory::Chain(chain) => chain.iter().map(|der| Digest::of(der)).collect(),
            Signatory::Fulcio(_) | Signatory::Key(_) => Vec::new(),
        }
    }

    /// The envelope.
    #[must_use]
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
}

fn within<T>(what: &'static str, limit: usize, few: Result<T, usize>) -> Result<T, Error> {
    few.map_err(|found| Error::TooMany { what, found, limit })
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
    tlog_entries: Option<Few<Entry, MAX_PROOFS>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp_verification_data: Option<Object<Timestamps>>,
}

impl Material {
    /// Exactly one kind of material names the method.
    fn signer(&self) -> Result<Signatory, Error> {
        match (
            &self.public_key,
            &self.x509_certificate_chain,
            &self.certificate,
        ) {
            (Some(key), None, None) => Ok(Signatory::Key(key.hint.clone())),
            (None, Some(chain), None) => Ok(Signatory::Chain(chain.decode()?)),
            (None, None, Some(leaf)) => Ok(Signatory::Fulcio(decode("rawBytes", &leaf.raw_bytes)?)),
            _ => Err(Error::Material),
        }
    }
}

/// A log entry, which is passed on to others as it is.
#[derive(Serialize)]
#[serde(transparent)]
struct Entry(Value);

impl<'de> Deserialize<'de> for Entry {
    /// Nothing is made of one before it is known to be small.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&RawValue>::deserialize(deserializer)?.get();
        if text.len() > MAX_ENTRY_BYTES {
            let limit = MAX_ENTRY_BYTES >> 10;
            return Err(de::Error::custom(format_args!(
                "a log entry is larger than {limit} KiB"
            )));
        }
        serde_json::from_str(text)
            .map(Self)
            .map_err(de::Error::custom)
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
    certificates: Few<Object<Certificate>, MAX_CHAIN>,
}

impl Chain {
    fn decode(&self) -> Result<Vec<Vec<u8>>, Error> {
        let all = within("certificates", MAX_CHAIN, self.certificates.all())?;
        if all.is_empty() {
            return Err(Error::Material);
        }
        let all = all.iter();
        all.map(|one| decode("rawBytes", &one.raw_bytes)).collect()
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Timestamps {
    #[serde(
        default,
        rename = "rfc3161Timestamps",
        skip_serializing_if = "Option::is_none"
    )]
    rfc3161_timestamps: Option<Few<Object<Timestamp>, MAX_PROOFS>>,
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
    signatures: Few<Object<WireSignature>, 1>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    sig: String,
    #[serde(default)]
    keyid: Option<String>,
}
