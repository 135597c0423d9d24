//! Any save, and what it can fail with.

use std::path::Path;

use crate::{AutoSign, Error};

/// Why a checkpoint was not saved, or not signed.
#[derive(Debug, thiserror::Error)]
pub enum SaveError<E: std::error::Error + 'static> {
    /// It was not written: the framework's own error.
    #[error(transparent)]
    Save(E),
    /// It is written and stays; it could not be signed, and `MODEL_SIGNING_ON_ERROR` is `raise`.
    #[error(transparent)]
    Sign(#[from] Error),
}

impl AutoSign {
    /// Runs `save`, which writes a checkpoint to `path`, and has it signed. A signature of what was there before is taken
    /// away first; it comes back if `save` fails and has changed nothing.
    ///
    /// # Errors
    /// [`SaveError::Save`] with what `save` fails with; [`SaveError::Sign`] only where `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn save<T, E: std::error::Error + 'static>(
        &self,
        path: &Path,
        framework: &str,
        save: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, SaveError<E>> {
        self.session().begins(path);
        let saved = save().map_err(|error| {
            self.session().broken_off(path);
            SaveError::Save(error)
        })?;
        self.saved(path, framework)?;
        Ok(saved)
    }
}
