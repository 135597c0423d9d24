//! The one token that a URI means, and a session with it.

use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Info, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, SlotInfo, TokenInfo};
use cryptoki::types::AuthPin;
use zeroize::Zeroizing;

use super::Pkcs11Fault as Fault;
use super::process::Try;
use super::uri::Pkcs11Uri;
use crate::Error;

/// What a module answered, without its paragraph about it.
pub(super) fn failed(error: ModuleError) -> Fault {
    let reason = match error {
        ModuleError::Pkcs11(code, function) => format!("C_{function:?} returned {code:?}"),
        other => other.to_string(),
    };
    Fault::ModuleFailed { reason }
}

/// The module at `path`, which stays loaded as long as the process lives: it may have threads of its own, and others in
/// this process may use it. Every time it is initialized, as a forked child has to.
fn module(path: &Path) -> Result<Pkcs11, Fault> {
    let module = Pkcs11::new(path).map_err(|error| Fault::ModuleLoad {
        path: path.into(),
        reason: match error {
            ModuleError::LibraryLoading(reason) => reason.to_string(),
            other => other.to_string(),
        },
    })?;
    std::mem::forget(module.clone());
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(failed(error)),
    }
}

/// The one token of a URI, before anybody has logged in.
pub(super) struct Found {
    module: Pkcs11,
    slot: Slot,
    pub(super) token: TokenInfo,
}

impl Found {
    /// The token that `uri` means.
    pub(super) fn new(uri: &Pkcs11Uri) -> Result<Self, Error> {
        let module = module(&uri.module()?)?;
        let library = module.get_library_info().map_err(failed)?;
        let mut fitting = Vec::new();
        let mut labels = Vec::new();
        for slot in module.get_slots_with_token().map_err(failed)? {
            // One that was just pulled out, or is broken, is not the one.
            let (Ok(holder), Ok(token)) = (module.get_slot_info(slot), module.get_token_info(slot))
            else {
                continue;
            };
            if !token.token_initialized() {
                continue;
            }
            labels.push(token.label().to_owned());
            if fits(uri, &library, slot, &holder, &token) {
                fitting.push((slot, token));
            }
        }
        if fitting.len() > 1 {
            let found = fitting.iter().map(|(_, token)| token.label().to_owned());
            let found = found.collect();
            return Err(Fault::SeveralTokens { found }.into());
        }
        let one = fitting.pop();
        let (slot, token) = one.ok_or(Fault::NoToken { found: labels })?;
        Ok(Self {
            module,
            slot,
            token,
        })
    }

    /// A session that reads.
    pub(super) fn session(&self) -> Result<Session, Error> {
        let session = self.module.open_ro_session(self.slot).map_err(failed)?;
        Ok(session)
    }
}

/// A session with the token of `uri`, logged in where there is a PIN; and whether the token hides keys for want of one.
pub(super) fn open(uri: &Pkcs11Uri) -> Result<(Session, bool), Error> {
    let found = Found::new(uri)?;
    let session = found.session()?;
    let pin = uri.pin()?;
    let hides = pin.is_none() && found.token.login_required();
    if let Some(pin) = pin {
        log_in(&session, &found.token, &pin)?;
    }
    Ok((session, hides))
}

/// Whether library, slot and token say of themselves what the URI does.
fn fits(uri: &Pkcs11Uri, library: &Info, slot: Slot, holder: &SlotInfo, token: &TokenInfo) -> bool {
    let version = library.library_version();
    let says = |name: &str| match name {
        "library-description" => library.library_description(),
        "library-manufacturer" => library.manufacturer_id(),
        "manufacturer" => token.manufacturer_id(),
        "model" => token.model(),
        "serial" => token.serial_number(),
        "slot-description" => holder.slot_description(),
        "slot-manufacturer" => holder.manufacturer_id(),
        _ => token.label(),
    };
    let mut said = uri.said.iter();
    said.all(|(name, value)| says(name) == value)
        && uri.slot.is_none_or(|wanted| wanted == slot.id())
        && uri
            .library_version
            .is_none_or(|wanted| wanted == (version.major(), version.minor()))
}

fn log_in(session: &Session, token: &TokenInfo, pin: &Zeroizing<String>) -> Result<(), Fault> {
    let last = token.user_pin_final_try() && !token.user_pin_locked();
    let tried = Try::of([token.label(), token.serial_number()], last, pin)?;
    let secret = AuthPin::from(pin.as_str());
    match session.login(UserType::User, Some(&secret)) {
        // Whoever has logged in has done so for the whole process.
        Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(ModuleError::Pkcs11(
            code @ (RvError::PinExpired
            | RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinLocked),
            _,
        )) => {
            tried.was_wrong();
            Err(Fault::PinRefused {
                reason: format!("{code:?}"),
            })
        }
        Err(error) => Err(failed(error)),
    }
}
