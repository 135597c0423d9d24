//! Method `certificate`: the key of method `key`, and the X.509 certificate (RFC 5280) that names its holder.

use std::path::Path;

use super::{KeySigner, PrivateKey, Signer};
#[cfg(feature = "pkcs11")]
use super::{Pkcs11Uri, pkcs11::TokenKey};
use crate::bundle::Signatory;
use crate::certificate::Certificate;
use crate::verifier::{CertificateVerifier, KeyVerifier, Verifier};
use crate::{Bundle, CertificateFault as Fault, Error, Statement};

/// A private key with its certificate, and those that lead up from it. Has no `Debug`.
///
/// For an example see [`CertificateVerifier`].
pub struct CertificateSigner {
    key: Box<dyn PrivateKey>,
    chain: Vec<Vec<u8>>,
    verifier: CertificateVerifier,
}

impl CertificateSigner {
    /// Reads PEM files: the private key, which `password` opens where it is encrypted, the certificate for it, and those
    /// of its issuers, any number in a file. The signature carries them all, in this order.
    ///
    /// # Errors
    /// Those of [`KeySigner::read`]; round the path of the file [`Error::KeyForm`], [`Error::CertificateRefused`].
    pub fn read<P: AsRef<Path>>(
        private_key: &Path,
        password: Option<&[u8]>,
        certificate: &Path,
        chain: &[P],
    ) -> Result<Self, Error> {
        let key = KeySigner::read(private_key, password)?;
        let all = Certificate::read(certificate)?;
        let leaf = all.first().ok_or(Error::Material)?;
        let fits = |public: KeyVerifier| {
            if public.hint() == key.hint() {
                Ok(())
            } else {
                Err(leaf.refused(Fault::AnotherKey))
            }
        };
        let fitting = leaf.public_key().and_then(fits);
        fitting.map_err(Error::at(certificate))?;
        Self::new(Box::new(key), all, chain)
    }

    /// Takes the private key that `uri` means, which stays on its token; the rest as [`CertificateSigner::read`] does. The
    /// token need not have the public key.
    ///
    /// # Errors
    /// Those of [`Pkcs11Signer::open`](crate::Pkcs11Signer::open); [`Error::KeyForm`]; [`Error::CertificateRefused`].
    #[cfg(feature = "pkcs11")]
    pub fn open<P: AsRef<Path>>(
        uri: &Pkcs11Uri,
        certificate: &Path,
        chain: &[P],
    ) -> Result<Self, Error> {
        let all = Certificate::read(certificate)?;
        let key = TokenKey::open(uri, all.first());
        let key = key.map_err(|error| match error {
            Error::CertificateRefused { .. } => Error::at(certificate)(error),
            other => other,
        })?;
        Self::new(Box::new(key), all, chain)
    }

    fn new<P: AsRef<Path>>(
        key: Box<dyn PrivateKey>,
        mut all: Vec<Certificate>,
        chain: &[P],
    ) -> Result<Self, Error> {
        for file in chain {
            all.extend(Certificate::read(file.as_ref())?);
        }
        let mut kept: Vec<Certificate> = Vec::new();
        for one in all {
            if kept.iter().all(|other| other.der() != one.der()) {
                kept.push(one);
            }
        }
        Ok(Self {
            key,
            chain: kept.iter().map(|one| one.der().to_vec()).collect(),
            verifier: CertificateVerifier::of_itself(&kept),
        })
    }
}

impl Signer for CertificateSigner {
    fn sign(&self, statement: &Statement) -> Result<Bundle, Error> {
        let envelope = self.key.envelope(statement)?;
        let signer = Signatory::Chain(self.chain.clone());
        Ok(Bundle::new(envelope, signer))
    }

    fn verifier(&self) -> &dyn Verifier {
        &self.verifier
    }
}
