//! Who signs: a [`Signer`] turns a statement into a bundle.

mod certificate;
mod key;
mod keyless;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod rate;
mod timestamped;

pub use certificate::CertificateSigner;
pub(crate) use key::read_secret;
pub use key::{KeySigner, generate_key, key_text, read_password};
pub use keyless::{AUDIENCE, Introduction, KeylessSigner};
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11Fault, Pkcs11Look, Pkcs11Signer, Pkcs11Uri};
pub use rate::Rate;
pub use timestamped::Timestamped;

use crate::verifier::Verifier;
use crate::{Bundle, Envelope, Error, Statement};

/// Something that can sign a statement, and prove what it signed.
pub trait Signer: Send + Sync {
    /// Signs `statement`.
    ///
    /// # Errors
    /// [`Error::SigningFailed`], and whatever the method's services answer.
    fn sign(&self, statement: &Statement) -> Result<Bundle, Error>;

    /// The verifier that accepts this signer's bundles: none is published before it has.
    fn verifier(&self) -> &dyn Verifier;
}

/// What makes the signature of methods `key` and `certificate`.
trait PrivateKey: Send + Sync {
    /// The hint of its public key.
    fn hint(&self) -> &str;

    /// `statement` with a signature.
    fn envelope(&self, statement: &Statement) -> Result<Envelope, Error>;
}
