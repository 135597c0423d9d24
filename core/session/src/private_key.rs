//! The private key that the settings name: a file, or one that stays on its token.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autosign_signing::{
    CertificateSigner, Error as SigningError, KeySigner, Pkcs11Signer, Pkcs11Uri, Signer,
    Timestamped, key_text, read_password,
};
use zeroize::Zeroizing;

use crate::by_hand::absolute;
use crate::show::uri_shown;
use crate::{Config, Error, Method, Value};

/// What the name of a key begins with that has no file.
const SHA256: &str = "sha256:";
/// In the place of that name where no password opens the key: nobody has it.
const UNOPENED: &str = "[private key]";

/// A private key. Has no `Debug`: its URI may hold a PIN.
#[derive(Clone, PartialEq, Eq)]
pub enum PrivateKey {
    /// A PEM file, an absolute path.
    File(PathBuf),
    /// The key itself, PEM text.
    Text(Zeroizing<String>),
    /// One on a PKCS#11 token, by its URI (RFC 7512) as it was set, right or wrong.
    Token(Zeroizing<String>),
}

impl PrivateKey {
    pub(crate) fn of(value: &Value) -> Option<Self> {
        match Self::given(value.text()) {
            Self::File(_) => value.path().map(Self::File),
            other => Some(other),
        }
    }

    /// The one that `text` means, as it stands.
    pub(crate) fn given(text: &OsStr) -> Self {
        if let Some(uri) = text.to_str().filter(|text| uri_shown(text).is_some()) {
            Self::Token(Zeroizing::new(uri.to_owned()))
        } else if let Some(pem) = key_text(text) {
            Self::Text(pem)
        } else {
            Self::File(text.into())
        }
    }

    /// The same by an absolute path.
    pub(crate) fn absolute(&self) -> Self {
        match self {
            Self::File(path) => Self::File(absolute(path)),
            other => other.clone(),
        }
    }

    /// Whether it can be what it says it is.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::File(_) => true,
            Self::Text(text) => {
                let opened = KeySigner::from_pem(text.as_bytes(), None);
                !opened.is_err_and(|error| !matches!(error, SigningError::KeyPassword { .. }))
            }
            Self::Token(uri) => Pkcs11Uri::parse(uri).is_ok(),
        }
    }
}

impl Config {
    /// What the spool calls the private key; nothing secret is in it.
    pub(crate) fn key_name(&self, key: &PrivateKey) -> String {
        match key {
            PrivateKey::File(path) => path.display().to_string(),
            PrivateKey::Text(_) => self.fingerprint(key).unwrap_or_else(|| UNOPENED.to_owned()),
            // Where the PIN comes from, and the module, say nothing of whose key it is.
            PrivateKey::Token(uri) => {
                let shown = uri_shown(uri).unwrap_or_default();
                shown.trim_end_matches('…').to_owned()
            }
        }
    }

    /// Whether it is this signer whom the spool calls `name`. A key has two names, that of its file and that of its public
    /// key.
    pub(crate) fn is_signer(&self, name: &str) -> bool {
        let own = self.signer();
        let by_key = || {
            let fingerprint = name
                .strip_prefix("key:")
                .filter(|name| name.starts_with(SHA256))?;
            let key = self.private_key.as_ref().filter(|_| own.is_some())?;
            let plain = self.signs_with_key() && !self.signs_with_certificate();
            (plain && self.fingerprint(key)? == fingerprint).then_some(())
        };
        own.as_deref() == Some(name) || by_key().is_some()
    }

    fn fingerprint(&self, key: &PrivateKey) -> Option<String> {
        let key = match key {
            PrivateKey::File(path) => path,
            PrivateKey::Text(text) => Path::new(text.as_str()),
            PrivateKey::Token(_) => return None,
        };
        let password = self.key_password().ok()?;
        let signer = KeySigner::read(key, password.as_deref().map(Vec::as_slice)).ok()?;
        Some(format!("{SHA256}{}", signer.fingerprint()))
    }

    fn key_password(&self) -> Result<Option<Zeroizing<Vec<u8>>>, SigningError> {
        Ok(match &self.password_file {
            Some(path) => Some(Zeroizing::new(read_password(path)?.as_bytes().to_vec())),
            None => self.password.clone(),
        })
    }

    /// The holder of the private key, with the certificate where that is to be used. Logs in where the key is on a token.
    ///
    /// # Errors
    /// [`Error::NoKey`], [`Error::NoCertificate`], [`Error::NotOnToken`], and those of [`KeySigner::read`],
    /// [`Pkcs11Signer::open`], [`CertificateSigner::read`] and [`read_password`].
    pub fn key_signer(&self) -> Result<Arc<dyn Signer>, Error> {
        let certificate = if self.signs_with_certificate() {
            Some(self.certificate.as_ref().ok_or(Error::NoCertificate)?)
        } else {
            None
        };
        let chain = self.certificate_chain.as_slice();
        let read = |key: &Path| -> Result<Box<dyn Signer>, Error> {
            if self.method == Method::Pkcs11 {
                return Err(Error::NotOnToken);
            }
            let password = self.key_password()?;
            let password = password.as_deref().map(Vec::as_slice);
            Ok(match certificate {
                None => Box::new(KeySigner::read(key, password)?),
                Some(leaf) => Box::new(CertificateSigner::read(key, password, leaf, chain)?),
            })
        };
        let signer: Box<dyn Signer> = match self.private_key.as_ref().ok_or(Error::NoKey)? {
            PrivateKey::File(path) => read(path)?,
            PrivateKey::Text(text) => read(Path::new(text.as_str()))?,
            PrivateKey::Token(uri) => {
                let mut uri = Pkcs11Uri::parse(uri)?;
                if !self.module_folders.is_empty() {
                    uri = uri.with_module_folders(self.module_folders.clone());
                }
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
