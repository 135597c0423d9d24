//! safetensors files.

use std::collections::HashMap;
use std::fmt::Display;
use std::path::Path;

use safetensors::tensor::{Metadata, TensorInfo};
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

    /// The same file, byte for byte, hashed while it is written: signing does not read it again.
    ///
    /// # Errors
    /// Those of [`AutoSign::serialize_to_file`].
    pub fn serialize_hashed<S, V, I>(
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
        self.write(path, "safetensors", |file| {
            let (header, tensors) = header(data, metadata)?;
            file.write_all(&header)?;
            let write = |tensor: V| Ok(file.write_all(&tensor.data())?);
            tensors.into_iter().try_for_each(write)
        })
    }
}

/// Readers take no larger header.
const MAX_HEADER_BYTES: usize = 100_000_000;

/// What goes before the tensors, which follow in their order: the length of the header, 8 bytes, and the header, JSON.
/// The crate writes both only together with the tensors.
fn header<S, V, I>(
    data: I,
    metadata: Option<HashMap<String, String>>,
) -> Result<(Vec<u8>, Vec<V>), SafeTensorError>
where
    S: AsRef<str> + Ord + Display,
    V: View,
    I: IntoIterator<Item = (S, V)>,
{
    let mut data: Vec<_> = data.into_iter().collect();
    data.sort_by(|(name, one), (other, two)| {
        let wider = two.dtype().cmp(&one.dtype());
        wider.then_with(|| name.cmp(other))
    });
    let (mut infos, mut tensors) = (Vec::new(), Vec::new());
    let mut end = 0;
    for (name, tensor) in data {
        let begin = end;
        end += tensor.data_len();
        let info = TensorInfo {
            dtype: tensor.dtype(),
            shape: tensor.shape().to_vec(),
            data_offsets: (begin, end),
        };
        infos.push((name.to_string(), info));
        tensors.push(tensor);
    }
    let mut json = serde_json::to_vec(&Metadata::new(metadata, infos)?)?;
    json.resize(json.len().next_multiple_of(8), b' ');
    if json.len() > MAX_HEADER_BYTES {
        return Err(SafeTensorError::HeaderTooLarge);
    }
    let length = u64::try_from(json.len()).map_err(|_| SafeTensorError::HeaderTooLarge)?;
    let mut header = length.to_le_bytes().to_vec();
    header.append(&mut json);
    Ok((header, tensors))
}
