//! The private key that the settings name: a file, or one that stays on its token.

use std::path::PathBuf;
use std::sync::Arc;

use autosign_signing::{
    CertificateSigner, KeySigner, Pkcs11Signer, Pkcs11Uri, Signer, Timestamped, read_password,
};
use zeroize::Zeroizing;

use crate::show::uri_shown;
use crate::{Config, Error, Method, Value};

/// A private key. Has no `Debug`: its URI may hold a PIN.
#[derive(Clone, PartialEq, Eq)]
pub enum PrivateKey {
    /// A PEM file, an absolute path.
    File(PathBuf),
    /// One on a PKCS#11 token, by its URI (RFC 7512) as it was set, right or wrong.
    Token(Zeroizing<String>),
}

impl PrivateKey {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let text = value.text().to_string_lossy();
        if uri_shown(&text).is_some() {
            return Some(Self::Token(Zeroizing::new(text.into_owned())));
        }
        value.path().map(Self::File)
    }

    /// Whether it can be what it says it is.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Token(uri) => Pkcs11Uri::parse(uri).is_ok(),
        }
    }

    /// What the spool calls it; nothing secret is in it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            // Where the PIN comes from, and the module, say nothing of whose key it is.
            Self::Token(uri) => {
                let shown = uri_shown(uri).unwrap_or_default();
                shown.trim_end_matches('…').to_owned()
            }
        }
    }
}

impl Config {
    /// The holder of the private key, with the certificate where that is to be used. Logs in where the key is on a token.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::NoCertificate`], [`Error::NotOnToken`], and those of [`KeySigner::read`],
    /// [`Pkcs11Signer::open`], [`CertificateSigner::read`] and [`read_password`].
    pub(crate) fn key_signer(&self) -> Result<Arc<dyn Signer>, Error> {
        let certificate = if self.signs_with_certificate() {
            Some(self.certificate.as_ref().ok_or(Error::NoCertificate)?)
        } else {
            None
        };
        let chain = self.certificate_chain.as_slice();
        let signer: Box<dyn Signer> = match self.private_key.as_ref().ok_or(Error::NoKey)? {
            PrivateKey::File(_) if self.method == Method::Pkcs11 => return Err(Error::NotOnToken),
            PrivateKey::File(path) => {
                let password = match &self.password_file {
                    Some(path) => Some(read_password(path)?),
                    None => self.password.clone(),
                };
                let password = password.as_deref().map(String::as_bytes);
                match certificate {
                    None => Box::new(KeySigner::read(path, password)?),
                    Some(leaf) => Box::new(CertificateSigner::read(path, password, leaf, chain)?),
                }
            }
            PrivateKey::Token(uri) => {
                let uri = Pkcs11Uri::parse(uri)?;
                match certificate {
                    None => Box::new(Pkcs11Signer::open(&uri)?),
                    Some(leaf) => Box::new(CertificateSigner::open(&uri, leaf, chain)?),
                }
            }
        };
        Ok(match &self.keyless.timestamp_url {
            None => Arc::from(signer),
            Some(url) => {
                let connection = self.keyless.connection()?;
                Arc::new(Timestamped::new(signer, connection, url.clone()))
            }
        })
    }
}
