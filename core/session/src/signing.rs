//! One checkpoint, from its record to its signature.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use autosign_signing::{
    Error as SigningError, Hashing, KeySigner, Progress, Signer, Statement, hash, seal,
};
use zeroize::Zeroizing;

use crate::{Checkpoint, Config, Error};

/// A `chmod` or a hard link while a file is hashed looks like a change; so often is hashing tried again.
const ATTEMPTS: usize = 3;

/// Turned when a checkpoint's signature is no longer wanted; hashing stops at the next buffer.
#[derive(Debug, Default)]
pub(crate) struct Cancel(AtomicBool);

impl Cancel {
    pub(crate) fn turn(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_turned(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Progress for Cancel {
    fn advance(&self, _bytes: u64) -> ControlFlow<()> {
        if self.is_turned() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// A checkpoint as hashed, or nothing where it was replaced or removed meanwhile.
pub(crate) fn hashed(
    checkpoint: &Checkpoint,
    hashing: Hashing<'_>,
) -> Result<Option<Statement>, Error> {
    let ignore = match Checkpoint::ignore(&checkpoint.root) {
        Err(_) if !checkpoint.is_unchanged() => return Ok(None),
        other => other?,
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        if !checkpoint.is_unchanged() {
            return Ok(None);
        }
        match hash(&checkpoint.root, &ignore, hashing) {
            // Looked at again after hashing: what was hashed is what was saved.
            Ok(_) if !checkpoint.is_unchanged() => return Ok(None),
            Ok(manifest) => return Ok(Some(Statement::new(manifest, ignore))),
            Err(SigningError::Cancelled) => return Ok(None),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if checkpoint.is_unchanged() => Err(error.into()),
        _ => Ok(None),
    }
}

/// The configured signer, read from disk when it is first needed and kept from then on.
pub(crate) struct SignerSource {
    key: Option<PathBuf>,
    password: Option<Zeroizing<String>>,
    password_file: Option<PathBuf>,
    loaded: Mutex<Option<Arc<dyn Signer>>>,
}

impl SignerSource {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            key: config.private_key.clone(),
            password: config.password.clone(),
            password_file: config.password_file.clone(),
            loaded: Mutex::new(None),
        }
    }

    /// The bytes of the bundle over `statement`, verified.
    pub(crate) fn seal(&self, statement: &Statement) -> Result<Vec<u8>, Error> {
        Ok(seal(statement, self.signer()?.as_ref())?)
    }

    /// A key that cannot be read is tried again for the next checkpoint: it may be mounted late.
    fn signer(&self) -> Result<Arc<dyn Signer>, Error> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(signer) = loaded.as_ref() {
            return Ok(Arc::clone(signer));
        }
        let path = self.key.as_ref().ok_or(Error::NoKey)?;
        let password = self.password()?;
        let password = password.as_deref().map(String::as_bytes);
        let signer: Arc<dyn Signer> = Arc::new(KeySigner::read(path, password)?);
        Ok(Arc::clone(loaded.insert(signer)))
    }

    fn password(&self) -> Result<Option<Zeroizing<String>>, Error> {
        let Some(path) = &self.password_file else {
            return Ok(self.password.clone());
        };
        Ok(Some(autosign_signing::read_password(path)?))
    }
}
