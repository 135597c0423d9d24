//! Files to digests: streamed by `pread`, several files at a time, never mapped (a file that shrinks under a map
//! kills the process).

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use sha2::{Digest as _, Sha256};

use crate::model::{FileState, Ignore, Model, ModelFile};
use crate::{Digest, Error, Manifest, RelPath, Resource};

/// 64 KiB to 1 MiB read equally fast; see benches/README.md.
const BUFFER_BYTES: usize = 1 << 20;

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

/// How to hash.
#[derive(Clone, Copy)]
pub struct Hashing<'a> {
    /// Threads, at most one a file.
    pub threads: NonZeroUsize,
    /// Who hears of it.
    pub progress: &'a dyn Progress,
}

impl Default for Hashing<'_> {
    /// As many threads as the process may use cores, and no listener.
    fn default() -> Self {
        Self {
            threads: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            progress: &(),
        }
    }
}

/// Hashes the model at `path`: each file with SHA-256, OMS serialization `files`.
///
/// # Errors
/// Those of [`Model::open`]; [`Error::ChangedWhileHashing`] where any file was written, replaced, added or removed
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
    hash_model(|| Model::open(path, ignore), hashing)
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
    let resources = hash_files(&model, model.files(), hashing)?;
    let again = list()?;
    if let Some(name) = first_difference(model.files(), again.files()) {
        return Err(Error::ChangedWhileHashing {
            path: model.path_of(name),
        });
    }
    Manifest::new(model.name(), resources)
}

/// The resources of `files`, in their order.
pub(crate) fn hash_files(
    model: &Model,
    files: &[ModelFile],
    hashing: Hashing<'_>,
) -> Result<Vec<Resource>, Error> {
    // Largest first: the last thread to finish then has the least left to do.
    let mut order: Vec<usize> = (0..files.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(files.get(index).map(|file| file.state.size)));
    hashing
        .progress
        .start(files.iter().map(|file| file.state.size).sum());
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<Option<Digest>>> = Mutex::new(vec![None; files.len()]);
    let work = || -> Result<(), Error> {
        let mut buffer = vec![0; BUFFER_BYTES];
        while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let Some(file) = files.get(index) else { break };
            let digest =
                hash_file(model, file, &mut buffer, hashing.progress).inspect_err(|_| {
                    next.store(order.len(), Ordering::Relaxed); // the others stop after their file
                })?;
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(place) = done.get_mut(index) {
                *place = Some(digest);
            }
        }
        Ok(())
    };
    let helpers = hashing.threads.get().min(files.len()).saturating_sub(1);
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
    files
        .iter()
        .zip(digests)
        .map(|(file, digest)| {
            Ok(Resource {
                name: file.name.clone(),
                digest: digest.ok_or(Error::Cancelled)?,
            })
        })
        .collect()
}

fn hash_file(
    model: &Model,
    file: &ModelFile,
    buffer: &mut [u8],
    progress: &dyn Progress,
) -> Result<Digest, Error> {
    let path = || model.path_of(&file.name);
    let opened = model.open_file(&file.name)?;
    let state = || {
        rustix::fs::fstat(opened.as_fd())
            .map(|stat| FileState::of(&stat))
            .map_err(|e| Error::io("look at", path())(e.into()))
    };
    let changed = || Error::ChangedWhileHashing { path: path() };
    if state()? != file.state {
        return Err(changed());
    }
    let mut hasher = Sha256::new();
    let mut offset: u64 = 0;
    loop {
        let read = match rustix::io::pread(&opened, &mut *buffer, offset) {
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
    if offset != file.state.size || state()? != file.state {
        return Err(changed());
    }
    Ok(Digest::from(<[u8; 32]>::from(hasher.finalize())))
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
