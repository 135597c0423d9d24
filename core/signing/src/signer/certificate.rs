//! Method `certificate`: the key of method `key`, and the X.509 certificate (RFC 5280) that names its holder.

use std::path::Path;
use std::time::Duration;

use super::{KeySigner, PrivateKey, Signer};
#[cfg(feature = "pkcs11")]
use super::{Pkcs11Uri, pkcs11::TokenKey};
use crate::bundle::Chained;
use crate::certificate::Certificate;
use crate::services::{Connection, Deadline, request_timestamp};
use crate::verifier::{CertificateVerifier, KeyVerifier, Verifier};
use crate::{Bundle, CertificateFault as Fault, Error, Statement};

/// For the timestamp of one signature, retries and all.
const LIMIT: Duration = Duration::from_secs(60);

/// A private key with its certificate, and those that lead up from it. Has no `Debug`.
///
/// For an example see [`CertificateVerifier`].
pub struct CertificateSigner {
    key: Box<dyn PrivateKey>,
    chain: Vec<Vec<u8>>,
    authority: Option<(Connection, String)>,
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
            authority: None,
            verifier: CertificateVerifier::of_itself(&kept),
        })
    }

    /// Has every signature timestamped by the authority at `url` (RFC 3161), over `connection`: it then holds beyond the
    /// certificate's end for whoever believes that authority.
    #[must_use]
    pub fn with_timestamps(mut self, connection: Connection, url: String) -> Self {
        self.authority = Some((connection, url));
        self
    }
}

impl Signer for CertificateSigner {
    fn sign(&self, statement: &Statement) -> Result<Bundle, Error> {
        let envelope = self.key.envelope(statement)?;
        let stamp = self.authority.as_ref().map(|(connection, url)| {
            let http = connection.to("the timestamp authority", Deadline::within(LIMIT));
            request_timestamp(&http, url, &envelope.signature)
        });
        let chained = Chained {
            certificates: self.chain.clone(),
            timestamps: stamp.transpose()?.into_iter().collect(),
        };
        Ok(Bundle::signed_with_chain(envelope, chained))
    }

    fn verifier(&self) -> &dyn Verifier {
        &self.verifier
    }
}
