//! Puts a signature in its place: whole or not at all.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::bundle::{MAX_BYTES, read_capped};
use crate::{Error, rename};

/// Stands at the head of every bundle of every version.
const BUNDLE_MARK: &[u8] = b"dev.sigstore.bundle";
const HEAD_BYTES: u16 = 4096;

/// Where a model's signature lies: `model.sig` inside a folder, `NAME.sig` beside a file.
#[must_use]
pub fn signature_path(model: &Path) -> PathBuf {
    if model.is_dir() {
        return model.join("model.sig");
    }
    let mut name = model.file_name().unwrap_or_default().to_owned();
    name.push(".sig");
    model.with_file_name(name)
}

/// How a signature appears in its folder.
#[derive(Clone, Copy, Debug)]
pub enum Manner<'a> {
    /// As any new file.
    Plain,
    /// As if it had come with the model at this path: it has its mode and owner, and the folder has the times that it
    /// had before, because trainers rotate by them.
    With(&'a Path),
}

/// How a signature came to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    /// In one step: a reader saw the old one or the new one.
    Whole,
    /// Written where it is, because the file system knows no renames: a reader may have seen a part of it, which verifies for nobody.
    Written,
}

/// Writes `bytes` to `path` by way of a new file in the same folder: written, synced, renamed. A reader sees the old
/// signature or the new one. Where the file system knows no renames, the old one is removed and the new one written in its place, and
/// read again to see that it is whole.
///
/// # Errors
/// [`Error::WouldOverwrite`] where `path` holds anything but a signature; [`Error::NotAFile`]; [`Error::Io`]. Nothing is left behind
/// then, and the old content is untouched where the file system knows renames.
pub fn publish(path: &Path, bytes: &[u8], manner: Manner<'_>) -> Result<Placed, Error> {
    let fail = |e: Errno| Error::io("write", path)(e.into());
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let name = path.file_name().ok_or(Errno::ISDIR).map_err(fail)?;
    let folder_flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::open(parent, folder_flags, Mode::empty()).map_err(fail)?;
    let times = rustix::fs::fstat(&folder).map_err(fail)?;
    replaceable(&folder, path)?;

    let new = New {
        folder: folder.as_fd(),
        bytes,
        manner,
    };
    let placed = new.place(name).map_err(Error::io("write", path))?;
    // Not every file system can sync a folder; the content itself is synced.
    let _ = rustix::fs::fsync(&folder);
    if let Manner::With(_) = manner {
        restore_times(&folder, &times);
    }
    Ok(placed)
}

/// A signature on its way to a folder.
struct New<'a> {
    folder: BorrowedFd<'a>,
    bytes: &'a [u8],
    manner: Manner<'a>,
}

impl New<'_> {
    fn place(&self, name: &OsStr) -> io::Result<Placed> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        if FileSystem::of(self.folder).has_no_renames() {
            return self.write_there(name);
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let temp = format!("{}{number}{TEMPORARY}", own());
        let temp = OsStr::new(&temp);
        let create = OFlags::CREATE | OFlags::EXCL;
        let rename = || rustix::fs::renameat(self.folder, temp, self.folder, name);
        let renamed = self.write_synced(temp, create).map(|()| {
            rename().or_else(|error| {
                // Some rename only to where nothing is.
                let known = !rename::is_unknown(error);
                if known || self.remove(name).is_err() {
                    return Err(error);
                }
                rename()
            })
        });
        match renamed {
            Ok(Ok(())) => return Ok(Placed::Whole),
            Ok(Err(error)) if rename::is_unknown(error) => {}
            Ok(Err(error)) => {
                let _ = self.remove(temp);
                return Err(error.into());
            }
            Err(error) => {
                // The first error is the one to report; the temporary file may not even exist.
                let _ = self.remove(temp);
                return Err(error);
            }
        }
        // Where nothing can be removed either, this is the one temporary file that stays.
        let _ = self.remove(temp);
        self.write_there(name)
    }

    fn remove(&self, name: &OsStr) -> Result<(), Errno> {
        rustix::fs::unlinkat(self.folder, name, AtFlags::empty())
    }

    /// Writes it under its own name. Where what is there cannot be removed, it is written over.
    fn write_there(&self, name: &OsStr) -> io::Result<Placed> {
        let free = matches!(self.remove(name), Ok(()) | Err(Errno::NOENT));
        let flags = if free { OFlags::EXCL } else { OFlags::TRUNC } | OFlags::CREATE;
        let written = self.write_synced(name, flags).and_then(|()| {
            let found = self.read(name)?;
            if found != self.bytes {
                let what = "the file system gave back something else than was written";
                return Err(io::Error::other(what));
            }
            if free {
                // Where it was not, the reason may have been that file alone.
                FileSystem::of(self.folder).knows_no_renames();
            }
            Ok(Placed::Written)
        });
        written.inspect_err(|_| {
            // No part of a signature stays: where it cannot be removed, it is emptied.
            if self.remove(name).is_err() {
                let _ = self.open(name, OFlags::WRONLY | OFlags::TRUNC);
            }
        })
    }

    fn open(&self, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(self.folder, name, flags, Mode::from_raw_mode(0o644))
    }

    fn read(&self, name: &OsStr) -> io::Result<Vec<u8>> {
        let mut found = Vec::new();
        let most = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        std::fs::File::from(self.open(name, OFlags::RDONLY)?)
            .take(most.saturating_add(1))
            .read_to_end(&mut found)?;
        Ok(found)
    }

    fn write_synced(&self, name: &OsStr, create: OFlags) -> io::Result<()> {
        let opened = self.open(name, OFlags::WRONLY | create)?;
        if let Manner::With(model) = self.manner {
            follow(&opened, model);
        }
        let mut file = std::fs::File::from(opened);
        file.write_all(self.bytes)?;
        match rustix::fs::fsync(&file) {
            Err(error) if !rename::is_no_sync(error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// File systems that know no renames, as this process has seen: a temporary file there would be of no use, and may stay for ever.
static NO_RENAMES: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// The file system of a folder.
struct FileSystem(Option<u64>);

impl FileSystem {
    fn of(folder: BorrowedFd<'_>) -> Self {
        let stat = rustix::fs::fstat(folder).ok();
        // The type differs between systems.
        #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
        Self(stat.and_then(|stat| stat.st_dev.try_into().ok()))
    }

    fn has_no_renames(&self) -> bool {
        let known = NO_RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.is_some_and(|device| known.contains(&device))
    }

    fn knows_no_renames(&self) {
        let mut known = NO_RENAMES.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(self.0);
    }
}

const TEMPORARY: &str = ".tmp";

/// What the names of this process's temporary files begin with.
fn own() -> String {
    format!(".signature-{}-", rustix::process::getpid().as_raw_nonzero())
}

/// Whether a file of this name is a signature that this process has not renamed to its place yet.
pub(crate) fn is_being_published(name: &[u8]) -> bool {
    name.starts_with(b".signature-")
        && name.starts_with(own().as_bytes())
        && name.ends_with(TEMPORARY.as_bytes())
}

/// Removes the signature at `path`, keeping the folder's times; a signature that is gone already is no error.
///
/// # Errors
/// [`Error::Io`].
pub fn retract(path: &Path) -> Result<(), Error> {
    let fail = |e: io::Error| Error::io("remove", path)(e);
    let parent = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(|e| fail(e.into()))?,
    };
    let times = rustix::fs::fstat(&folder).map_err(|e| fail(e.into()))?;
    match rustix::fs::unlinkat(
        &folder,
        path.file_name().unwrap_or_default(),
        AtFlags::empty(),
    ) {
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(fail(error.into())),
        Ok(()) => {
            restore_times(&folder, &times);
            Ok(())
        }
    }
}

/// Gives the signature the owner and the permissions of its model, but none to execute. Where that is not allowed, it is
/// the writer's own, as any other file of it.
fn follow(signature: &OwnedFd, model: &Path) {
    let (Ok(model), Ok(own)) = (rustix::fs::stat(model), rustix::fs::fstat(signature)) else {
        return;
    };
    if (model.st_uid, model.st_gid) != (own.st_uid, own.st_gid) {
        let (user, group) = (Uid::from_raw(model.st_uid), Gid::from_raw(model.st_gid));
        if rustix::fs::fchown(signature, Some(user), Some(group)).is_err() {
            let _ = rustix::fs::fchown(signature, None, Some(group));
        }
    }
    let mode = Mode::from_raw_mode(model.st_mode & 0o666);
    let _ = rustix::fs::fchmod(signature, mode);
}

/// The bytes of the signature at `path`; nothing where there is none, or something else.
///
/// # Errors
/// [`Error::Io`] and others of a file that cannot be read.
pub fn read_signature(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    let bytes = read_capped(path, "bundle", MAX_BYTES)?;
    Ok(is_signature(&bytes).then_some(bytes))
}

/// Removes the signature at `path` and returns it; nothing where there is none, or something else.
///
/// # Errors
/// [`Error::Io`] and others of a file that cannot be read or removed.
pub fn take_back(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let found = read_signature(path)?;
    if found.is_some() {
        retract(path)?;
    }
    Ok(found)
}

/// Refuses to put a signature in the place of a model, a config, or anything else that is not one.
fn replaceable(folder: &OwnedFd, path: &Path) -> Result<(), Error> {
    let name = path.file_name().unwrap_or_default();
    let kind = match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => other.map_err(|e| Error::io("look at", path)(e.into()))?,
    };
    let kind = FileType::from_raw_mode(kind.st_mode);
    if kind != FileType::RegularFile {
        return Err(Error::not_a_file(path, kind));
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let old = rustix::fs::openat(folder, name, flags, Mode::empty())
        .map_err(|e| Error::io("read", path)(e.into()))?;
    let mut head = Vec::new();
    std::fs::File::from(old)
        .take(HEAD_BYTES.into())
        .read_to_end(&mut head)
        .map_err(Error::io("read", path))?;
    if head.is_empty() || is_signature(&head) {
        return Ok(());
    }
    Err(Error::WouldOverwrite { path: path.into() })
}

fn is_signature(bytes: &[u8]) -> bool {
    let head = bytes.get(..usize::from(HEAD_BYTES)).unwrap_or(bytes);
    head.windows(BUNDLE_MARK.len())
        .any(|part| part == BUNDLE_MARK)
}

fn restore_times(folder: &OwnedFd, was: &rustix::fs::Stat) {
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: was.st_atime.into(),
            tv_nsec: was.st_atime_nsec.try_into().unwrap_or(0),
        },
        last_modification: Timespec {
            tv_sec: was.st_mtime.into(),
            tv_nsec: was.st_mtime_nsec.try_into().unwrap_or(0),
        },
    };
    // Only the owner may set times; where we are not, the signature still stands.
    let _ = rustix::fs::futimens(folder, &times);
}
