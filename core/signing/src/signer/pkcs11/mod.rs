//! Methods `key` and `certificate` with a private key that never leaves its token: PKCS#11 v2.40 and later.

mod fault;
mod key;
mod look;
mod process;
mod token;
mod uri;

pub use fault::Pkcs11Fault;
pub(super) use key::TokenKey;
pub use look::Pkcs11Look;
pub use uri::Pkcs11Uri;

use super::{PrivateKey, Signer};
use crate::bundle::Signatory;
use crate::verifier::Verifier;
use crate::{Bundle, Error, Statement};

/// A private key on a token. Has no `Debug`.
///
/// ```no_run
/// use autosign_signing::{Hashing, Ignore, Pkcs11Signer, Pkcs11Uri, sign};
/// let uri = "pkcs11:token=Release;object=models?module-name=opensc-pkcs11&pin-source=file:/run/pin";
/// let signer = Pkcs11Signer::open(&Pkcs11Uri::parse(uri)?)?;
/// sign("model".as_ref(), "model.sig".as_ref(), &Ignore::git(), &signer, Hashing::default())?;
/// # Ok::<(), autosign_signing::Error>(())
/// ```
pub struct Pkcs11Signer(TokenKey);

impl Pkcs11Signer {
    /// Loads the module, logs in to the token, and finds the key and its public half. A process that is forked from this one
    /// logs in by itself when it signs.
    ///
    /// # Errors
    /// [`Error::Pkcs11`]; [`Error::KeyKind`]; round the path of a PIN file those of
    /// [`read_password`](crate::read_password).
    pub fn open(uri: &Pkcs11Uri) -> Result<Self, Error> {
        TokenKey::open(uri, None).map(Self)
    }
}

impl Signer for Pkcs11Signer {
    fn sign(&self, statement: &Statement) -> Result<Bundle, Error> {
        let envelope = self.0.envelope(statement)?;
        let hint = self.0.hint().to_owned();
        Ok(Bundle::new(envelope, Signatory::Key(Some(hint))))
    }

    fn verifier(&self) -> &dyn Verifier {
        &self.0.verifier
    }
}
