//! Rust trainers: what they save is signed, with the settings and guarantees that Python training has.
//!
//! Everything is set by the environment variables of `docs/reference/environment.md`. A trainer keeps one [`AutoSign`]
//! for as long as it runs and saves through it. [`AutoSign::save`] wraps any save; each framework has shorter ways behind
//! a feature of its name, all off by default: `safetensors`, `tch`, `tensorflow`.
//!
//! ```
//! use autosign_hooks::AutoSign;
//!
//! let folder = tempfile::tempdir()?;
//! let checkpoint = folder.path().join("weights.bin");
//! # let settings = [("MODEL_SIGNING_PRIVATE_KEY", "../../core/signing/tests/keys/p256.pem"), ("MODEL_SIGNING_SPOOL", "off")];
//! # let settings = autosign_session::Environment::from_iter(settings);
//! # let config = autosign_session::Config::read(&settings.into()).0;
//! # let autosign = AutoSign::new(autosign_session::Session::start(config, Box::new(|_| ())));
//! # #[cfg(any())] // the settings of this example are its own
//! let autosign = AutoSign::from_environment()?;
//! autosign.save(&checkpoint, "plain", || std::fs::write(&checkpoint, b"weights"))?;
//! drop(autosign); // waits for the signature
//! assert!(folder.path().join("weights.bin.sig").exists());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod save;

#[cfg(feature = "safetensors")]
mod safetensors;
#[cfg(feature = "tch")]
mod tch;
#[cfg(feature = "tensorflow")]
mod tensorflow;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use autosign_session::Session;
pub use autosign_session::{Error, Status};

pub use crate::save::{SaveError, SaveSigned};
#[cfg(feature = "tch")]
pub use crate::tch::StreamSigned;
#[cfg(feature = "tensorflow")]
pub use crate::tensorflow::{SaveCheckpointSigned, SaveModelSigned};

/// Signs what a trainer saves. When it is dropped it waits for pending signatures, at most
/// `MODEL_SIGNING_DRAIN_TIMEOUT`; what is left then stays in the spool for `model-signing flush`.
#[derive(Debug)]
#[must_use = "dropped at once, it signs nothing"]
pub struct AutoSign(Arc<Guard>);

/// Waits when the last that refers to it goes.
#[derive(Debug)]
struct Guard(Session);

/// What [`AutoSign::from_environment`] last made.
static CURRENT: Mutex<Weak<Guard>> = Mutex::new(Weak::new());

impl AutoSign {
    /// Reads the settings of this process; starts no thread before something is saved.
    ///
    /// # Errors
    /// [`Error::Setting`] where a setting is wrong and `MODEL_SIGNING_ON_ERROR` is `raise`; else it is a line on stderr.
    pub fn from_environment() -> Result<Self, Error> {
        let new = Self::new(Session::from_environment()?);
        let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::downgrade(&new.0);
        Ok(new)
    }

    /// The one that [`AutoSign::from_environment`] last made, if it lives, or else a new one.
    fn current() -> Result<Self, Error> {
        let current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
        let living = current.upgrade();
        drop(current);
        living.map_or_else(Self::from_environment, |living| Ok(Self(living)))
    }

    /// With a session of the caller's own making.
    pub fn new(session: Session) -> Self {
        Self(Arc::new(Guard(session)))
    }

    /// Has the checkpoint signed that was just written to `path`, a file or a folder; waits for the signature only
    /// where the settings say so.
    ///
    /// # Errors
    /// Why there is no signature, where `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn saved(&self, path: &Path, framework: &str) -> Result<(), Error> {
        self.session().saved(path, framework)?.wait()
    }

    /// The same for a checkpoint that is `files` in one folder, and not all of it: `path` is one of them, beside which the
    /// signature goes.
    ///
    /// # Errors
    /// Those of [`AutoSign::saved`].
    pub fn saved_group(
        &self,
        path: &Path,
        framework: &str,
        files: &[PathBuf],
    ) -> Result<(), Error> {
        let ticket = self.session().saved_group(path, framework, files, None)?;
        ticket.wait()
    }

    /// The session: to flush it, or to ask how far it is.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0.0
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.flush(Some(self.0.config().drain_timeout));
        self.0.report_left();
    }
}
