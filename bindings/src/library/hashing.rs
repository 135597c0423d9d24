//! `Hashing`

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};

use autosign_signing::{
    Error, HashAlgorithm, Ignore, Model, Progress, RelPath, SerializationMethod, Symlinks,
    hash_model,
};
use pyo3::prelude::*;

use crate::blocking::stoppable;
use crate::error;

/// How a model is hashed, and what of it.
#[pyclass(frozen, module = "model_signing_autosign._core")]
pub(crate) struct Hashing {
    algorithm: HashAlgorithm,
    method: SerializationMethod,
    pub(super) symlinks: Symlinks,
    pub(super) threads: Option<NonZeroUsize>,
    pub(super) ignored: Vec<PathBuf>,
    pub(super) ignore_git: bool,
}

#[pymethods]
impl Hashing {
    /// Shards are of `shard_size` bytes; without it, it is files that are hashed. Relative paths of `ignored` are taken from
    /// the working directory.
    ///
    /// Raises:
    ///     ValueError: There is no such algorithm, or a number is 0.
    #[new]
    #[pyo3(signature = (algorithm, *, shard_size, max_workers, allow_symlinks, ignored, ignore_git))]
    fn new(
        algorithm: &str,
        shard_size: Option<NonZeroU64>,
        max_workers: Option<NonZeroUsize>,
        allow_symlinks: bool,
        ignored: Vec<PathBuf>,
        ignore_git: bool,
    ) -> PyResult<Self> {
        let shards = |size| SerializationMethod::Shards { size };
        Ok(Self {
            algorithm: HashAlgorithm::parse(algorithm).map_err(error::library)?,
            method: shard_size.map_or(SerializationMethod::Files, shards),
            symlinks: if allow_symlinks {
                Symlinks::Within
            } else {
                Symlinks::Refused
            },
            threads: max_workers,
            ignored,
            ignore_git,
        })
    }

    /// Hash `model`, or those of its files that `names` names, and return the name and the digest, as hex, of each resource.
    ///
    /// Raises:
    ///     OSError: A file cannot be read.
    ///     SigningError: The model is not as it must be.
    #[pyo3(signature = (model, names=None))]
    fn hash(
        &self,
        py: Python<'_>,
        model: PathBuf,
        names: Option<Vec<String>>,
    ) -> PyResult<Vec<(String, String)>> {
        let hashed = stoppable(py, |progress| {
            let names = names.map(|names| names.iter().map(|name| RelPath::parse(name)).collect());
            let names: Option<Vec<_>> = names.transpose()?;
            let ignore = self.ignore(&model, None)?;
            let list = || {
                let all = Model::open_with(&model, &ignore, self.symlinks)?;
                match &names {
                    Some(names) => all.only(names),
                    None => Ok(all),
                }
            };
            hash_model(list, self.options(progress))
        })?;
        let manifest = hashed.map_err(error::library)?;
        let resources = manifest.resources().iter();
        Ok(resources
            .map(|resource| (resource.to_string(), resource.digest.to_string()))
            .collect())
    }
}

impl Hashing {
    pub(super) fn ignore(&self, model: &Path, signature: Option<&Path>) -> Result<Ignore, Error> {
        Ignore::new(model, signature, &self.ignored, self.ignore_git)
    }

    pub(super) fn options<'a>(&self, progress: &'a dyn Progress) -> autosign_signing::Hashing<'a> {
        let default = autosign_signing::Hashing::default();
        autosign_signing::Hashing {
            algorithm: self.algorithm,
            method: self.method,
            symlinks: self.symlinks,
            threads: self.threads.unwrap_or(default.threads),
            portable: default.portable,
            progress,
        }
    }
}
