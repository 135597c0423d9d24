//! Files and shards to digests: streamed by `pread`, several at a time, never mapped (a file that shrinks under a map
//! kills the process).

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::algorithm::Hasher;
use crate::model::{Model, ModelFile};
use crate::{
    Error, HashAlgorithm, Ignore, Manifest, RelPath, Resource, ResourceDigest, Serialization,
    SerializationFault, SerializationMethod, Shard, Symlinks, portable,
};

/// 64 KiB to 1 MiB read equally fast; see benches/README.md.
const BUFFER_BYTES: usize = 1 << 20;
/// As many resources as a bundle of the greatest size has room for, where names are not long.
const MAX_SHARDS: u64 = 1_000_000;

/// Hears how far hashing has come; may be called from several threads.
pub trait Progress: Sync {
    /// `bytes` are about to be hashed.
    fn start(&self, _bytes: u64) {}

    /// `bytes` more have been hashed. [`ControlFlow::Break`] stops the work with [`Error::Cancelled`].
    fn advance(&self, bytes: u64) -> ControlFlow<()>;
}

/// Nobody listens.
impl Progress for () {
    fn advance(&self, _bytes: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// How to hash. A verifier takes from it the threads and the listener alone; the rest its statement says.
///
/// ```
/// use autosign_signing::{HashAlgorithm, Hashing, Ignore, SHARD_BYTES, SerializationMethod, hash};
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("weights.bin"), b"abc")?;
/// let hashing = Hashing {
///     algorithm: HashAlgorithm::Blake3,
///     method: SerializationMethod::Shards { size: SHARD_BYTES },
///     ..Hashing::default()
/// };
/// let manifest = hash(folder.path(), &Ignore::git(), hashing)?;
/// assert_eq!(manifest.resources()[0].to_string(), "weights.bin:0:3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Hashing<'a> {
    /// The hash.
    pub algorithm: HashAlgorithm,
    /// What gets a digest of its own.
    pub method: SerializationMethod,
    /// What becomes of links; [`hash_model`] is given a model that is listed already.
    pub symlinks: Symlinks,
    /// Whether names that are not good on every system are refused ([`Error::NotPortable`]): other spellings of another
    /// name, and what Windows does not take.
    pub portable: bool,
    /// Threads, at most one a file or shard.
    pub threads: NonZeroUsize,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

impl Default for Hashing<'_> {
    /// SHA-256 of files, no links, as many threads as the process may use cores, and no listener.
    fn default() -> Self {
        Self {
            algorithm: HashAlgorithm::Sha256,
            method: SerializationMethod::Files,
            symlinks: Symlinks::Refused,
            portable: false,
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            progress: &(),
        }
    }
}

/// Hashes the model at `path`.
///
/// # Errors
/// Those of [`Model::open_with`]; [`Error::EmptyModel`] also where shards are wanted and no file has a byte;
/// [`Error::Serialization`] where there would be more than a million shards; [`Error::NotPortable`] where names must be;
/// [`Error::ChangedWhileHashing`] where any file was written, replaced, added or removed
/// from the first look to the last; [`Error::Cancelled`].
///
/// ```
/// use autosign_signing::{Hashing, Ignore, hash};
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("weights.bin"), b"abc")?;
/// let manifest = hash(folder.path(), &Ignore::git(), Hashing::default())?;
/// assert_eq!(manifest.resources()[0].name.as_str(), "weights.bin");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn hash(path: &Path, ignore: &Ignore, hashing: Hashing<'_>) -> Result<Manifest, Error> {
    let list = || Model::open_with(path, ignore, hashing.symlinks);
    hash_model(list, hashing)
}

/// The same for the model that `list` lists; called before and after.
///
/// # Errors
/// Those of [`hash`] and of `list`.
pub fn hash_model(
    list: impl Fn() -> Result<Model, Error>,
    hashing: Hashing<'_>,
) -> Result<Manifest, Error> {
    let model = list()?;
    if hashing.portable {
        portable::check(model.files().iter().map(|file| &file.name))?;
    }
    let parts = parts(model.files(), hashing.method)?;
    if parts.is_empty() {
        return Err(Error::EmptyModel {
            path: model.root().into(),
        });
    }
    let digests = hash_parts(&model, &parts, hashing.algorithm, hashing)?;
    let again = list()?;
    if let Some(name) = first_difference(model.files(), again.files()) {
        return Err(Error::ChangedWhileHashing {
            path: model.path_of(name),
        });
    }
    let resource = |(part, digest): (&Part<'_>, _)| Resource {
        name: part.file.name.clone(),
        shard: part.shard,
        digest,
    };
    let mut resources: Vec<_> = parts.iter().zip(digests).map(resource).collect();
    if hashing.method != SerializationMethod::Files {
        // By the whole name, in which 100 comes before 20.
        resources.sort_by_cached_key(ToString::to_string);
    }
    let serialization = Serialization {
        method: hashing.method,
        algorithm: hashing.algorithm,
        allow_symlinks: model.symlinks() != Symlinks::Refused,
    };
    Manifest::new(model.name(), serialization, resources)
}

/// What is hashed at one go: a file, or a shard of it.
#[derive(Clone, Copy)]
pub(crate) struct Part<'a> {
    pub(crate) file: &'a ModelFile,
    pub(crate) shard: Option<Shard>,
}

impl Part<'_> {
    fn start(&self) -> u64 {
        self.shard.map_or(0, Shard::start)
    }

    fn end(&self) -> u64 {
        self.shard.map_or(self.file.state.size, Shard::end)
    }

    fn bytes(&self) -> u64 {
        self.end().saturating_sub(self.start())
    }
}

/// The parts of `files`, those of one file together.
pub(crate) fn parts(
    files: &[ModelFile],
    method: SerializationMethod,
) -> Result<Vec<Part<'_>>, Error> {
    let SerializationMethod::Shards { size } = method else {
        let whole = |file| Part { file, shard: None };
        return Ok(files.iter().map(whole).collect());
    };
    let count = |file: &ModelFile| file.state.size.div_ceil(size.get());
    let found = files.iter().map(count).fold(0, u64::saturating_add);
    if found > MAX_SHARDS {
        let (size, limit) = (size.get(), MAX_SHARDS);
        return Err(SerializationFault::Count { found, size, limit }.into());
    }
    let shards = files.iter().flat_map(|file| {
        Shard::all(file.state.size, size).map(move |shard| Part {
            file,
            shard: Some(shard),
        })
    });
    Ok(shards.collect())
}

/// The digests of `parts`, in their order.
pub(crate) fn hash_parts(
    model: &Model,
    parts: &[Part<'_>],
    algorithm: HashAlgorithm,
    hashing: Hashing<'_>,
) -> Result<Vec<ResourceDigest>, Error> {
    // Largest first: the last thread to finish then has the least left to do.
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(parts.get(index).map(Part::bytes)));
    hashing.progress.start(parts.iter().map(Part::bytes).sum());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<ResourceDigest>>> = Mutex::new(vec![None; parts.len()]);
    let work = || -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(part) = parts.get(index) else { break };
            let hasher = Hasher::new(algorithm);
            let digest = hash_part(model, *part, hasher, &mut buffer, hashing.progress)
                .inspect_err(|_| {
                    next.store(order.len(), Ordering::Relaxed); // the others stop after their part
                })?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = done.get_mut(index) {
                *place = Some(digest);
            }
        }
        Ok(())
    };
    let helpers = hashing.threads.get().min(parts.len()).saturating_sub(1);
    std::thread::scope(|scope| {
        // A machine that gives no further thread gets the work done by this one.
        let helpers: Vec<_> = (0..helpers)
            .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
            .collect();
        let mine = work();
        helpers.into_iter().fold(mine, |first_error, helper| {
            first_error.and(helper.join().unwrap_or(Err(Error::Cancelled)))
        })
    })?;
    let digests = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    let digests = digests.into_iter();
    digests
        .map(|digest| digest.ok_or(Error::Cancelled))
        .collect()
}

fn hash_part(
    model: &Model,
    part: Part<'_>,
    mut hasher: Hasher,
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> Result<ResourceDigest, Error> {
    let file = part.file;
    let path = || model.path_of(&file.name);
    let opened = model.open_file(&file.name)?;
    let state = || {
        rustix::fs::fstat(opened.as_fd())
            .map(|stat| model.state(&stat))
            .map_err(|e| Error::io("look at", path())(e.into()))
    };
    let changed = || Error::ChangedWhileHashing { path: path() };
    if state()? != file.state {
        return Err(changed());
    }
    let mut offset = part.start();
    while offset < part.end() {
        let left = usize::try_from(part.end() - offset).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let room = buffer.get_mut(..length).unwrap_or_default();
        let read = match rustix::io::pread(&opened, room, offset) {
            Err(rustix::io::Errno::INTR) => continue,
            other => other.map_err(|e| Error::io("read", path())(e.into()))?,
        };
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        let count = u64::try_from(read).unwrap_or(u64::MAX);
        offset = offset.saturating_add(count);
        if progress.advance(count).is_break() {
            return Err(Error::Cancelled);
        }
    }
    // What was written behind the end makes another size.
    if offset != part.end() || state()? != file.state {
        return Err(changed());
    }
    Ok(hasher.finish())
}

fn first_difference<'a>(before: &'a [ModelFile], after: &'a [ModelFile]) -> Option<&'a RelPath> {
    let (mut before, mut after) = (before.iter(), after.iter());
    loop {
        match (before.next(), after.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if a == b => {}
            (Some(file), _) | (None, Some(file)) => return Some(&file.name),
        }
    }
}
