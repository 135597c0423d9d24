//! The options that say how a model is hashed.

use std::num::{NonZeroU64, NonZeroUsize};

use autosign_signing::{
    Error, HashAlgorithm, Hashing, Progress, SHARD_BYTES, SerializationFault, SerializationMethod,
    Symlinks,
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::Selection;

/// What of a model gets a digest, and which.
#[derive(Args)]
pub(crate) struct HashingArgs {
    /// The hash. Other tools may verify sha256 alone.
    #[arg(long, value_name = "NAME", default_value = "sha256", value_parser = algorithms())]
    hash_algorithm: HashAlgorithm,
    /// What has a digest of its own: each file, or each shard of a file, which is faster for few large files. Other tools
    /// may verify files alone. Default: files, or shards where --shard-size is given.
    #[arg(long, value_name = "METHOD")]
    serialization: Option<Method>,
    /// The size of a shard in bytes. Default: 1000000000.
    #[arg(long, value_name = "BYTES")]
    shard_size: Option<NonZeroU64>,
    #[command(flatten)]
    workers: Workers,
}

/// How many threads hash.
#[derive(Args)]
pub(crate) struct Workers {
    /// Threads that hash, at most one a file or shard. Default: as many as this process may use cores.
    #[arg(long, value_name = "NUMBER", alias = "threads")]
    max_workers: Option<NonZeroUsize>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Method {
    Files,
    Shards,
}

impl HashingArgs {
    /// # Errors
    /// [`SerializationFault::ShardSize`] for a shard size and `files`.
    pub(crate) fn hashing<'a>(
        &self,
        selection: &Selection,
        progress: &'a dyn Progress,
    ) -> Result<Hashing<'a>, Error> {
        let method = match (self.serialization, self.shard_size) {
            (Some(Method::Files), Some(size)) => {
                return Err(SerializationFault::ShardSize {
                    found: size.to_string(),
                    method: SerializationMethod::Files.name(),
                }
                .into());
            }
            (Some(Method::Files) | None, None) => SerializationMethod::Files,
            (Some(Method::Shards) | None, size) => SerializationMethod::Shards {
                size: size.unwrap_or(SHARD_BYTES),
            },
        };
        Ok(Hashing {
            algorithm: self.hash_algorithm,
            method,
            symlinks: selection.allow_symlinks.unwrap_or_default(),
            portable: selection.portable,
            ..self.workers.hashing(progress)
        })
    }
}

impl HashingArgs {
    /// How many threads are asked for.
    pub(crate) fn threads(&self) -> Option<NonZeroUsize> {
        self.workers.max_workers
    }
}

impl Workers {
    pub(crate) fn hashing<'a>(&self, progress: &'a dyn Progress) -> Hashing<'a> {
        let default = Hashing::default();
        Hashing {
            threads: self.max_workers.unwrap_or(default.threads),
            progress,
            ..default
        }
    }
}

fn algorithms() -> impl TypedValueParser<Value = HashAlgorithm> {
    let names = HashAlgorithm::ALL.map(HashAlgorithm::name);
    PossibleValuesParser::new(names).try_map(|name| HashAlgorithm::parse(&name))
}

/// `false`, `true`, `hf-cache`. The option alone is `true`, as upstream has it.
pub(crate) fn symlinks() -> impl TypedValueParser<Value = Symlinks> {
    PossibleValuesParser::new(Symlinks::NAMES)
        .map(|name| Symlinks::parse(&name).unwrap_or_default())
}
