//! Puts a signature in its place: whole or not at all.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::fs::{Gid, Uid};
use rustix::io::Errno;

use crate::Error;
use crate::bundle::{MAX_BYTES, read_capped};

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

/// As long as a name may be on Linux (`NAME_MAX`), in bytes.
const MAX_NAME: usize = 255;

/// Whether a file may have the name of the signature at `path`: nothing need be hashed for one that it may not.
///
/// # Errors
/// [`Error::SignatureName`].
pub fn check_name(path: &Path) -> Result<(), Error> {
    let length = path.file_name().map_or(0, OsStr::len);
    if length > MAX_NAME {
        return Err(Error::SignatureName {
            path: path.into(),
            length,
            limit: MAX_NAME,
        });
    }
    Ok(())
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

/// Writes `bytes` to `path` by way of a new file in the same folder: written, synced, renamed. A reader sees the old
/// signature or the new one.
///
/// # Errors
/// [`Error::WouldOverwrite`] where `path` holds anything but a signature; [`Error::NotAFile`], [`Error::SignatureName`],
/// [`Error::Io`]. The old
/// content is untouched then and nothing is left behind.
pub fn publish(path: &Path, bytes: &[u8], manner: Manner<'_>) -> Result<(), Error> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    check_name(path)?;
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

    let temp = format!(
        "{}{}{TEMPORARY}",
        own(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let written = write_synced(folder.as_fd(), &temp, bytes, manner).and_then(|()| {
        rustix::fs::renameat(&folder, &temp, &folder, name).map_err(io::Error::from)
    });
    if let Err(error) = written {
        // The first error is the one to report; the temporary file may not even exist.
        let _ = rustix::fs::unlinkat(&folder, &temp, AtFlags::empty());
        return Err(Error::io("write", path)(error));
    }
    // Not every file system can sync a folder; the content itself is synced.
    let _ = rustix::fs::fsync(&folder);
    if let Manner::With(_) = manner {
        restore_times(&folder, &times);
    }
    Ok(())
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

fn write_synced(
    folder: BorrowedFd<'_>,
    name: &str,
    bytes: &[u8],
    manner: Manner<'_>,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644))?;
    if let Manner::With(model) = manner {
        follow(&opened, model);
    }
    let mut file = std::fs::File::from(opened);
    file.write_all(bytes)?;
    file.sync_all()
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
