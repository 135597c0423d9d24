//! Method `key`: ECDSA on P-256, P-384 or P-521 with a PEM public key (RFC 5480).

use std::path::Path;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA256_ASN1,
    ECDSA_P521_SHA512_ASN1, EcdsaVerificationAlgorithm, ParsedPublicKey,
};
use pem::{EncodeConfig, LineEnding, Pem};
use pkcs8::{ObjectIdentifier, spki::SubjectPublicKeyInfoRef};

use super::timestamp::{TimestampAuthority, proven_time};
use super::{Format, JudgedAt, SignedBy, VerifiedManifest, Verifier};
use crate::bundle::Method;
use crate::reading::read_capped;
use crate::{Bundle, Digest, Envelope, Error, legacy};

/// More than any key file has.
pub(crate) const MAX_KEY_BYTES: u64 = 1 << 20;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// A public key that is trusted.
pub struct KeyVerifier {
    key: ParsedPublicKey,
    /// The same key for signatures of 0.2.
    with_sha256: ParsedPublicKey,
    hint: String,
    authorities: Vec<TimestampAuthority>,
    legacy: bool,
}

impl KeyVerifier {
    /// Reads the PEM file at `path`.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::At`] round every error of [`KeyVerifier::from_pem`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let pem = read_capped(path, "key", MAX_KEY_BYTES)?;
        Self::from_pem(&pem).map_err(Error::at(path))
    }

    /// Takes the first `PUBLIC KEY` of a PEM text.
    ///
    /// # Errors
    /// [`Error::KeyForm`], [`Error::KeyKind`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        Self::from_der(pem_block(pem, "public key", &["PUBLIC KEY"])?.contents())
    }

    pub(crate) fn from_der(der: &[u8]) -> Result<Self, Error> {
        let info = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| Error::KeyKind)?;
        let (own, sha256) = match info.algorithm.oids() {
            Ok((EC_PUBLIC_KEY, Some(P256))) => (&ECDSA_P256_SHA256_ASN1, &ECDSA_P256_SHA256_ASN1),
            Ok((EC_PUBLIC_KEY, Some(P384))) => (&ECDSA_P384_SHA384_ASN1, &ECDSA_P384_SHA256_ASN1),
            Ok((EC_PUBLIC_KEY, Some(P521))) => (&ECDSA_P521_SHA512_ASN1, &ECDSA_P521_SHA256_ASN1),
            _ => return Err(Error::KeyKind),
        };
        let parse = |algorithm: &'static EcdsaVerificationAlgorithm| {
            ParsedPublicKey::new(algorithm, der).map_err(|_| Error::KeyKind)
        };
        // The hint is over the PEM text exactly as OpenSSL writes it, with the final newline (OMS v1.0).
        let text = pem_text("PUBLIC KEY", der);
        Ok(Self {
            key: parse(own)?,
            with_sha256: parse(sha256)?,
            hint: Digest::of(text.as_bytes()).to_string(),
            authorities: Vec::new(),
            legacy: false,
        })
    }

    /// Also believes the word of some authorities on when something was signed, as
    /// [`CertificateVerifier::with_timestamp_authorities`](crate::CertificateVerifier::with_timestamp_authorities) does: a
    /// timestamp that is there must then be right. Nothing depends on its time but
    /// [`VerifiedManifest::judged_at`]: a key has no end.
    ///
    /// # Errors
    /// [`Error::Io`], and round the path [`Error::KeyForm`], [`Error::CertificateRefused`], [`Error::NoRoot`].
    pub fn with_timestamp_authorities<P: AsRef<Path>>(
        mut self,
        chains: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error> {
        self.authorities
            .extend(TimestampAuthority::read_all(chains)?);
        Ok(self)
    }

    /// Also takes signatures of upstream 0.2, which bind less: no name of the model, and nothing that was left out. Not for
    /// what a job loads by itself.
    #[must_use]
    pub fn with_legacy_format(mut self) -> Self {
        self.legacy = true;
        self
    }

    /// Whether this key signed `envelope`.
    pub(crate) fn signed(&self, envelope: &Envelope) -> bool {
        let message = Envelope::pre_authentication_encoding(&envelope.payload);
        self.key.verify_sig(&message, &envelope.signature).is_ok()
    }

    /// Whether this key signed `envelope` as upstream 0.2 did: with SHA-256 on every curve.
    pub(super) fn signed_legacy(&self, envelope: &Envelope) -> bool {
        legacy::claims(&envelope.payload) && {
            let message = legacy::pre_authentication_encoding(&envelope.payload);
            let key = &self.with_sha256;
            key.verify_sig(&message, &envelope.signature).is_ok()
        }
    }

    /// The key's hint: hex SHA-256 of its PEM text.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }
}

impl Verifier for KeyVerifier {
    fn verify(&self, bundle: &Bundle) -> Result<VerifiedManifest, Error> {
        if bundle.method() != Method::Key {
            return Err(Error::MethodMismatch {
                expected: Method::Key,
                found: bundle.method(),
            });
        }
        let Some(format) = Format::of(bundle, self, self.legacy)? else {
            return Err(Error::SignatureInvalid {
                expected: self.hint.clone(),
                found: bundle.key_hint().map(str::to_owned),
            });
        };
        let envelope = bundle.envelope();
        let proven = proven_time(&self.authorities, bundle.stamps(), &envelope.signature)?;
        let hint = self.hint.clone();
        Ok(VerifiedManifest {
            judged: proven.map(JudgedAt::Timestamp),
            ..VerifiedManifest::accept(bundle, format, SignedBy::Key { hint })?
        })
    }
}

/// PEM exactly as OpenSSL writes it.
pub(crate) fn pem_text(tag: &str, der: &[u8]) -> String {
    pem::encode_config(
        &Pem::new(tag, der),
        EncodeConfig::new().set_line_ending(LineEnding::LF),
    )
}

/// The first block of `text` with one of `tags`; the error names a block that is there instead.
pub(crate) fn pem_block(text: &[u8], expected: &'static str, tags: &[&str]) -> Result<Pem, Error> {
    let blocks = pem::parse_many(text).unwrap_or_default();
    let mut found = None;
    for block in blocks {
        if tags.contains(&block.tag()) {
            return Ok(block);
        }
        found.get_or_insert_with(|| block.tag().to_owned());
    }
    Err(Error::KeyForm { expected, found })
}
