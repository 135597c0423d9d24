//! safetensors files.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;

use safetensors::{SafeTensorError, View};

use crate::{AutoSign, SaveError};

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
    ) -> Result<(), SaveError<SafeTensorError>>
    where
        S: AsRef<str> + Ord + Display,
        V: View,
        I: IntoIterator<Item = (S, V)>,
    {
        self.save(path, "safetensors", || {
            safetensors::serialize_to_file(data, metadata, path)
        })
    }
}
