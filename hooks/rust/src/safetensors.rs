//! safetensors files.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;

use safetensors::{SafeTensorError, View};

use crate::{AutoSign, Error};

/// Why a file was not saved, or not signed.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// The file was not written.
    #[error(transparent)]
    Save(#[from] SafeTensorError),
    /// The file is written and stays; it could not be signed, and `MODEL_SIGNING_ON_ERROR` is `raise`.
    #[error(transparent)]
    Sign(#[from] Error),
}

impl AutoSign {
    /// [`safetensors::serialize_to_file`], and a signature beside the file.
    ///
    /// # Errors
    /// [`SaveError::Save`] as without us; [`SaveError::Sign`] only where `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn serialize_to_file<S, V, I>(
        &self,
        data: I,
        metadata: Option<HashMap<String, String>>,
        path: &Path,
    ) -> Result<(), SaveError>
    where
        S: AsRef<str> + Ord + Display,
        V: View,
        I: IntoIterator<Item = (S, V)>,
    {
        safetensors::serialize_to_file(data, metadata, path)?;
        Ok(self.saved(path, "safetensors")?)
    }
}
