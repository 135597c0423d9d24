//! A look at a token, for which no PIN is tried.

use cryptoki::object::{Attribute, ObjectClass};

use super::process::Call;
use super::token::{Found, failed};
use super::{Pkcs11Fault as Fault, Pkcs11Uri};
use crate::Error;

/// What can be told of a key without a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pkcs11Look {
    /// The token's label.
    pub token: String,
    /// Its model.
    pub model: String,
    /// Its serial number.
    pub serial: String,
    /// Whether the key, or the public half or certificate that goes with it, can be seen.
    pub key: bool,
    /// Whether a PIN is at hand.
    pub pin: bool,
    /// Whether the token has refused a PIN since the last good one.
    pub refused: bool,
}

impl Pkcs11Uri {
    /// Loads the module and looks for the token and the key. Logs in nowhere, so that no PIN is tried.
    ///
    /// # Errors
    /// [`Error::Pkcs11`] where the module, the token or a PIN is missing, or the token is locked; round the path of a PIN
    /// file those of [`read_password`](crate::read_password).
    ///
    /// ```no_run
    /// use autosign_signing::Pkcs11Uri;
    /// let uri = Pkcs11Uri::parse("pkcs11:token=Release;object=models?module-name=opensc-pkcs11&pin-source=file:/run/pin")?;
    /// println!("{}", uri.look()?.token);
    /// # Ok::<(), autosign_signing::Error>(())
    /// ```
    pub fn look(&self) -> Result<Pkcs11Look, Error> {
        let _call = Call::begin()?;
        let found = Found::new(self)?;
        let token = &found.token;
        if token.user_pin_locked() {
            let reason = "PinLocked".to_owned();
            return Err(Fault::PinRefused { reason }.into());
        }
        if token.user_pin_final_try() {
            return Err(Fault::PinLastTry.into());
        }
        let pin = self.pin()?.is_some();
        let session = found.session()?;
        let seen = |class| {
            let mut wanted = vec![Attribute::Class(class)];
            let label = self.object.as_ref();
            wanted.extend(label.map(|label| Attribute::Label(label.clone().into_bytes())));
            wanted.extend(self.id.clone().map(Attribute::Id));
            session.find_objects(&wanted).map_err(failed)
        };
        let private = !seen(ObjectClass::PRIVATE_KEY)?.is_empty();
        if !private && !pin {
            return Err(if token.login_required() {
                Fault::PinNeeded.into()
            } else {
                Fault::NoPrivateKey.into()
            });
        }
        let key = private
            || !seen(ObjectClass::PUBLIC_KEY)?.is_empty()
            || !seen(ObjectClass::CERTIFICATE)?.is_empty();
        Ok(Pkcs11Look {
            token: token.label().to_owned(),
            model: token.model().to_owned(),
            serial: token.serial_number().to_owned(),
            key,
            pin,
            refused: token.user_pin_count_low(),
        })
    }
}
