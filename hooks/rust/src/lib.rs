//! Rust trainers: what they save is signed, with the settings and guarantees that Python training has.
//!
//! Everything is set by the environment variables of `docs/reference/environment.md`. A trainer keeps one [`AutoSign`]
//! for as long as it runs and saves through it; each framework is a feature, all off by default.
//!
//! With the feature `safetensors`:
//!
//! ```no_run
//! # #[cfg(feature = "safetensors")] {
//! use autosign_hooks::AutoSign;
//! use safetensors::tensor::{Dtype, TensorView};
//!
//! let folder = tempfile::tempdir()?;
//! let autosign = AutoSign::from_environment()?;
//! let weights: Vec<u8> = [0.5_f32, -0.5].iter().flat_map(|number| number.to_le_bytes()).collect();
//! let tensor = TensorView::new(Dtype::F32, vec![2], &weights)?;
//! autosign.serialize_to_file([("weight", tensor)], None, &folder.path().join("last.safetensors"))?;
//! # drop(autosign);
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(feature = "safetensors")]
mod safetensors;

use std::path::Path;

use autosign_session::Session;
pub use autosign_session::{Error, Status};

#[cfg(feature = "safetensors")]
pub use crate::safetensors::SaveError;

/// Signs what a trainer saves. When it is dropped it waits for pending signatures, at most
/// `MODEL_SIGNING_DRAIN_TIMEOUT`; what is left then stays in the spool for `model-signing flush`.
#[derive(Debug)]
#[must_use = "dropped at once, it signs nothing"]
pub struct AutoSign(Session);

impl AutoSign {
    /// Reads the settings of this process; starts no thread before something is saved.
    ///
    /// # Errors
    /// [`Error::Setting`] where a setting is wrong and `MODEL_SIGNING_ON_ERROR` is `raise`; else it is a line on stderr.
    pub fn from_environment() -> Result<Self, Error> {
        Session::from_environment().map(Self)
    }

    /// With a session of the caller's own making.
    pub fn new(session: Session) -> Self {
        Self(session)
    }

    /// Has the checkpoint signed that was just written to `path`, a file or a folder; waits for the signature only
    /// where the settings say so.
    ///
    /// # Errors
    /// Why there is no signature, where `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn saved(&self, path: &Path, framework: &str) -> Result<(), Error> {
        self.0.saved(path, framework)?.wait()
    }

    /// The session: to flush it, or to ask how far it is.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.0
    }
}

impl Drop for AutoSign {
    fn drop(&mut self) {
        self.0.flush(Some(self.0.config().drain_timeout));
        self.0.report_left();
    }
}
