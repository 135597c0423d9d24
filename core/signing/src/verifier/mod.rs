//! Who is believed: a [`Verifier`] turns a bundle into a [`VerifiedManifest`], which is then compared with the disk.
//!
//! A caller takes both steps, or calls [`crate::verify`], which does.

mod certificate;
mod compare;
mod difference;
mod expected_name;
mod format;
mod key;
mod keyless;
mod path;
mod revocation;
mod signed_by;
mod timestamp;

pub use certificate::CertificateVerifier;
pub use compare::{Policy, VerifiedModel};
pub use difference::{Difference, Renamed};
pub use format::Format;
pub use key::KeyVerifier;
pub(crate) use key::{MAX_KEY_BYTES, pem_block, pem_text};
pub use keyless::{ExpectedSigner, KeylessVerifier};
pub use signed_by::SignedBy;
pub use timestamp::JudgedAt;

use std::time::SystemTime;

use crate::{Bundle, Digest, Error, Manifest, Statement};

/// Something that can tell whether a bundle's signature is by the signer it trusts.
pub trait Verifier: Send + Sync {
    /// Checks the signature, then reads the statement below it.
    ///
    /// # Errors
    /// [`Error::MethodMismatch`], [`Error::SignatureInvalid`], [`Error::CertificateRefused`], [`Error::LegacyFormat`], and
    /// those of [`Statement::parse`].
    fn verify(&self, bundle: &Bundle) -> Result<VerifiedManifest, Error>;
}

/// A manifest whose signature has been verified. Only a verifier of this crate makes one.
#[derive(Clone, Debug)]
pub struct VerifiedManifest {
    statement: Statement,
    signed_by: SignedBy,
    signer: String,
    format: Format,
    judged: Option<JudgedAt>,
    payload: Digest,
}

impl VerifiedManifest {
    /// For the verifiers in this folder, after they have checked the signature of `bundle`.
    fn accept(bundle: &Bundle, format: Format, signed_by: SignedBy) -> Result<Self, Error> {
        Ok(Self {
            statement: format.parse(&bundle.envelope().payload)?,
            signer: signed_by.to_string(),
            signed_by,
            format,
            judged: None,
            payload: Digest::of(&bundle.envelope().payload),
        })
    }

    /// The files that were signed.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.statement.manifest()
    }

    /// The whole statement.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// SHA-256 of what was signed, byte for byte: what the [parent](crate::Annotations::parent) of a later one says.
    #[must_use]
    pub fn payload_digest(&self) -> Digest {
        self.payload
    }

    /// Which format the signature has.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The time at which certificates were judged, and what it rests on; with method `key`, which has none, the time that a
    /// timestamp proves, where there is one and its authority is believed.
    #[must_use]
    pub fn judged_at(&self) -> Option<JudgedAt> {
        self.judged
    }

    /// When it was signed, if a log or a timestamp authority proves that.
    #[must_use]
    pub fn proven_time(&self) -> Option<SystemTime> {
        match self.judged? {
            JudgedAt::Log(time) | JudgedAt::Timestamp(time) => Some(time),
            JudgedAt::Begin(_) | JudgedAt::Given(_) | JudgedAt::Now(_) => None,
        }
    }

    /// Who signed, as proven.
    #[must_use]
    pub fn signed_by(&self) -> &SignedBy {
        &self.signed_by
    }

    /// The same as one text: `key` and the hex SHA-256 of the public key's PEM text, or the identity and its provider, or
    /// the certified names and the root that stands for them.
    #[must_use]
    pub fn signer(&self) -> &str {
        &self.signer
    }
}
