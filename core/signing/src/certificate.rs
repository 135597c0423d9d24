//! One X.509 certificate (RFC 5280): what a signature over a model rests on, and each rule that it must keep.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use der::oid::ObjectIdentifier;
use der::oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS,
    ID_CE_SUBJECT_ALT_NAME, ID_KP_CODE_SIGNING,
};
use der::{Decode, Encode, Reader, SliceReader, Tag};
use webpki::ALL_VERIFICATION_ALGS;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName};
use x509_cert::name::Name;
use x509_cert::spki::AlgorithmIdentifierOwned;
use x509_cert::{TbsCertificate, Version};

use crate::reading::read_capped;
use crate::verifier::KeyVerifier;
use crate::{CertificateFault as Fault, Digest, Error};

/// More than any file of certificates has, the roots of a whole operating system among them.
const MAX_FILE: u64 = 4 << 20;

/// As much as rustls-webpki reads of one, in bytes.
const MAX_DER: u64 = 0xffff;

/// A well-formed certificate of version 3. Nothing of it is proven.
#[derive(Clone)]
pub(crate) struct Certificate {
    der: Vec<u8>,
    signed: Vec<u8>,
    algorithm: AlgorithmIdentifierOwned,
    signature: Vec<u8>,
    fields: TbsCertificate,
    basic: Option<BasicConstraints>,
    usage: Option<KeyUsage>,
    extended: Option<ExtendedKeyUsage>,
    alternative: Option<SubjectAltName>,
    names_constrained: bool,
    /// A critical extension that is not understood.
    foreign: Option<ObjectIdentifier>,
}

impl Certificate {
    /// Every certificate of the PEM file at `path`, at least one.
    pub(crate) fn read(path: &Path) -> Result<Vec<Self>, Error> {
        let text = read_capped(path, "certificates", MAX_FILE)?;
        Self::parse_pem(&text).map_err(Error::at(path))
    }

    /// Every certificate of a PEM text, at least one. Blocks of other kinds, such as a key, are passed over.
    pub(crate) fn parse_pem(text: &[u8]) -> Result<Vec<Self>, Error> {
        let blocks = pem::parse_many(text).unwrap_or_default();
        let found = blocks.first().map(|block| block.tag().to_owned());
        let certificates = blocks.iter().filter(|block| block.tag() == "CERTIFICATE");
        let all: Vec<_> = certificates
            .map(|block| Self::parse(block.contents()))
            .collect::<Result<_, _>>()?;
        if all.is_empty() {
            let expected = "certificate";
            return Err(Error::KeyForm { expected, found });
        }
        Ok(all)
    }

    /// Takes a certificate in DER.
    pub(crate) fn parse(der: &[u8]) -> Result<Self, Error> {
        if u64::try_from(der.len()).is_ok_and(|size| size > MAX_DER) {
            return Err(Error::TooLarge {
                what: "certificate",
                limit: MAX_DER,
            });
        }
        let parsed = Self::decode(der).map_err(|error| error.to_string());
        let mut certificate = parsed.map_err(|reason| Error::CertificateRefused {
            certificate: Digest::of(der).to_string(),
            fault: Fault::Malformed { reason },
        })?;
        certificate.understand().map_err(|reason| {
            let reason = reason.to_string();
            certificate.refused(Fault::Malformed { reason })
        })?;
        Ok(certificate)
    }

    fn decode(der: &[u8]) -> Result<Self, der::Error> {
        let mut whole = SliceReader::new(der)?;
        let parts = whole.sequence(|reader| {
            let signed = reader.tlv_bytes()?;
            let algorithm: AlgorithmIdentifierOwned = reader.decode()?;
            let signature: der::asn1::BitStringRef<'_> = reader.decode()?;
            let signature = signature.as_bytes().ok_or(Tag::BitString.value_error())?;
            Ok((signed.to_vec(), algorithm, signature.to_vec()))
        });
        let (signed, algorithm, signature) = parts?;
        Ok(Self {
            fields: TbsCertificate::from_der(&signed)?,
            der: whole.finish(der.to_vec())?,
            signed,
            algorithm,
            signature,
            basic: None,
            usage: None,
            extended: None,
            alternative: None,
            names_constrained: false,
            foreign: None,
        })
    }

    /// Reads the extensions.
    fn understand(&mut self) -> Result<(), Malformed> {
        if self.fields.version != Version::V3 {
            return Err(Malformed::Version);
        }
        if self.fields.signature != self.algorithm {
            return Err(Malformed::TwoAlgorithms);
        }
        let extensions = self.fields.extensions.take().unwrap_or_default();
        let mut seen = BTreeSet::new();
        for extension in &extensions {
            if !seen.insert(extension.extn_id) {
                return Err(Malformed::ExtensionTwice(extension.extn_id));
            }
            let value = extension.extn_value.as_bytes();
            match extension.extn_id {
                ID_CE_BASIC_CONSTRAINTS => self.basic = Some(Decode::from_der(value)?),
                ID_CE_KEY_USAGE => self.usage = Some(Decode::from_der(value)?),
                ID_CE_EXT_KEY_USAGE => self.extended = Some(Decode::from_der(value)?),
                ID_CE_SUBJECT_ALT_NAME => self.alternative = Some(Decode::from_der(value)?),
                ID_CE_NAME_CONSTRAINTS => self.names_constrained = true,
                other if extension.critical => self.foreign = Some(other),
                _ => {}
            }
        }
        Ok(())
    }

    /// `fault` of this certificate.
    pub(crate) fn refused(&self, fault: Fault) -> Error {
        Error::CertificateRefused {
            certificate: self.subject(),
            fault,
        }
    }

    pub(crate) fn der(&self) -> &[u8] {
        &self.der
    }

    /// SHA-256 of it.
    pub(crate) fn fingerprint(&self) -> Digest {
        Digest::of(&self.der)
    }

    /// The subject as RFC 4514 writes it.
    pub(crate) fn subject(&self) -> String {
        self.fields.subject.to_string()
    }

    pub(crate) fn issuer(&self) -> &Name {
        &self.fields.issuer
    }

    /// Its subject alternative names, of whatever kind.
    pub(crate) fn all_names(&self) -> &[GeneralName] {
        let names = self.alternative.as_ref();
        names.map_or(&[], |names| &names.0)
    }

    /// Its subject alternative names that are email addresses, URIs and DNS names.
    pub(crate) fn alternative_names(&self) -> impl Iterator<Item = &str> {
        self.all_names().iter().filter_map(|name| match name {
            // An authority that lets anybody have any text for a host would make email addresses and URIs of them.
            GeneralName::DnsName(text) if text.as_str().contains(['@', '/', ':']) => None,
            GeneralName::Rfc822Name(text)
            | GeneralName::DnsName(text)
            | GeneralName::UniformResourceIdentifier(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub(crate) fn begins(&self) -> SystemTime {
        self.fields.validity.not_before.to_system_time()
    }

    pub(crate) fn ends(&self) -> SystemTime {
        self.fields.validity.not_after.to_system_time()
    }

    pub(crate) fn public_key(&self) -> Result<KeyVerifier, Error> {
        KeyVerifier::from_der(&self.public_key_info()?)
    }

    /// The key with its kind, in DER.
    pub(crate) fn public_key_info(&self) -> Result<Vec<u8>, Error> {
        let info = self.fields.subject_public_key_info.to_der();
        info.map_err(|_| Error::KeyKind)
    }

    /// Whether it names itself as its issuer, as roots do.
    pub(crate) fn is_self_issued(&self) -> bool {
        self.fields.issuer == self.fields.subject
    }

    pub(crate) fn is_authority(&self) -> bool {
        self.basic.as_ref().is_some_and(|basic| basic.ca)
    }

    pub(crate) fn constrains_names(&self) -> bool {
        self.names_constrained
    }

    pub(crate) fn is_named(&self, name: &Name) -> bool {
        self.fields.subject == *name
    }

    pub(crate) fn check_time(&self, judged: SystemTime) -> Result<(), Error> {
        let (begins, ended) = (self.begins(), self.ends());
        if judged < begins {
            return Err(self.refused(Fault::NotYetValid { begins, judged }));
        }
        if judged > ended {
            return Err(self.refused(Fault::Expired { ended, judged }));
        }
        Ok(())
    }

    /// The rules for who signs a model.
    pub(crate) fn check_leaf(&self) -> Result<(), Error> {
        self.check_extensions()?;
        let stated = self.usage.is_some();
        if !self.usage.as_ref().is_some_and(KeyUsage::digital_signature) {
            return Err(self.refused(Fault::NoDigitalSignature { stated }));
        }
        if self.is_authority() && self.extended.is_none() {
            return Err(self.refused(Fault::AuthorityLeaf));
        }
        Ok(())
    }

    /// The rules for who issues certificates, `below` of them to authorities on the way down to the leaf.
    pub(crate) fn check_authority(&self, below: usize) -> Result<(), Error> {
        self.check_extensions()?;
        if !self.is_authority() {
            return Err(self.refused(Fault::NotAnAuthority));
        }
        if !self.usage.as_ref().is_none_or(KeyUsage::key_cert_sign) {
            return Err(self.refused(Fault::MayNotCertify));
        }
        let limit = self
            .basic
            .as_ref()
            .and_then(|basic| basic.path_len_constraint);
        match limit.map(usize::from) {
            Some(limit) if limit < below => {
                let found = below;
                Err(self.refused(Fault::PathLength { limit, found }))
            }
            _ => Ok(()),
        }
    }

    /// No extension is beyond us, and an extended key usage, where there is one, holds code signing.
    fn check_extensions(&self) -> Result<(), Error> {
        if let Some(oid) = self.foreign {
            let oid = oid.to_string();
            return Err(self.refused(Fault::CriticalExtension { oid }));
        }
        match &self.extended {
            Some(extended) if !extended.0.contains(&ID_KP_CODE_SIGNING) => {
                let found = extended.0.iter().map(ToString::to_string).collect();
                Err(self.refused(Fault::ExtendedKeyUsage { found }))
            }
            _ => Ok(()),
        }
    }

    /// Whether the key of `issuer` signed this certificate.
    pub(crate) fn check_signature(&self, issuer: &Self) -> Result<(), Error> {
        let key = &issuer.fields.subject_public_key_info;
        let (used, kind) = (written(&self.algorithm), written(&key.algorithm));
        let mut algorithms = ALL_VERIFICATION_ALGS.iter();
        let algorithm = algorithms.find(|algorithm| {
            let same = |ours: &[u8], theirs: &Option<Vec<u8>>| {
                theirs.as_deref().and_then(|der| der.get(2..)) == Some(ours)
            };
            same(algorithm.signature_alg_id().as_ref(), &used)
                && same(algorithm.public_key_alg_id().as_ref(), &kind)
        });
        let oid = self.algorithm.oid.to_string();
        let algorithm = algorithm.ok_or_else(|| self.refused(Fault::SignatureAlgorithm { oid }))?;
        let key = key.subject_public_key.as_bytes().unwrap_or_default();
        let proven = algorithm.verify_signature(key, &self.signed, &self.signature);
        proven.map_err(|_| {
            let issuer = issuer.subject();
            self.refused(Fault::IssuerSignature { issuer })
        })
    }
}

/// The DER of an algorithm, whose first two bytes are the head of its sequence: none of those that we know is longer
/// than 127 bytes.
fn written(algorithm: &AlgorithmIdentifierOwned) -> Option<Vec<u8>> {
    algorithm.to_der().ok()
}

/// What [`der`] does not look for.
#[derive(Debug, thiserror::Error)]
enum Malformed {
    #[error(transparent)]
    Der(#[from] der::Error),
    #[error("it has the extension {0} twice")]
    ExtensionTwice(ObjectIdentifier),
    #[error("it names two signature algorithms")]
    TwoAlgorithms,
    #[error("it is not of version 3")]
    Version,
}
