//! Puts a signature in its place: whole or not at all.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::bundle::MAX_BYTES;
use crate::placement::{is_hidden, open_for, tidy_hidden};
use crate::placing::{New, set_times};
use crate::reading::{read_found, read_opened};
use crate::{Bundle, Error};

/// Stands at the head of every bundle of every version.
const BUNDLE_MARK: &[u8] = b"dev.sigstore.bundle";
const HEAD_BYTES: u16 = 4096;

/// So often a folder of hidden signatures that has just gone is made again.
const TRIES: usize = 100;

/// A signature that is taken away before a save, which may fail, is kept in memory up to so many bytes.
const MAX_KEPT: u64 = 32 << 20;

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
    /// As if it had come with the model at this path: it has its mode and owner, looks a second older, and the folder has the times that
    /// it had before, because trainers rotate by them, and resume from what is newest.
    With(&'a Path),
}

impl Manner<'_> {
    /// Whether its model has been removed meanwhile. Then its folder is about to be removed, too, and must be empty.
    pub(crate) fn is_for_nothing(self) -> bool {
        let Self::With(model) = self else {
            return false;
        };
        rustix::fs::lstat(model).is_err_and(|error| error == Errno::NOENT)
    }
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
/// [`Error::WouldOverwrite`] where `path` holds anything but a signature; [`Error::NotAFile`]; [`Error::SignatureName`];
/// [`Error::Displaced`]; [`Error::Io`]. Nothing is left behind then, and the old content is untouched where the file system knows renames.
pub fn publish(path: &Path, bytes: &[u8], manner: Manner<'_>) -> Result<Placed, Error> {
    check_name(path)?;
    let mut placed = publish_once(path, bytes, manner);
    // Whoever has taken the last hidden signature away removes their folder, at this very moment, too.
    for _ in 0..TRIES {
        let is_gone = |e: &Error| matches!(e, Error::Io { source, .. } if source.kind() == io::ErrorKind::NotFound);
        if !placed.as_ref().is_err_and(is_gone) || !is_hidden(path) || manner.is_for_nothing() {
            break;
        }
        placed = publish_once(path, bytes, manner);
    }
    placed
}

fn publish_once(path: &Path, bytes: &[u8], manner: Manner<'_>) -> Result<Placed, Error> {
    let fail = |e: Errno| Error::io("write", path)(e.into());
    let name = path.file_name().ok_or(Errno::ISDIR).map_err(fail)?;
    let folder = open_for(path.parent().unwrap_or(Path::new("."))).map_err(fail)?;
    let times = rustix::fs::fstat(&folder).map_err(fail)?;
    replaceable(&folder, path)?;

    let new = New {
        folder: folder.as_fd(),
        bytes,
        manner,
    };
    // Where nothing came into a hidden folder, none is left behind: the folder around it may be about to be removed.
    let placed = new.place(name).inspect_err(|_| tidy_hidden(path));
    let placed = placed.map_err(Error::io("write", path))?;
    whose(path, bytes)?;
    // Not every file system can sync a folder; the content itself is synced.
    let _ = rustix::fs::fsync(&folder);
    if let Manner::With(_) = manner {
        set_times(&folder, &times, |time| time);
    }
    Ok(placed)
}

/// Looks whether the signature at `path` is that of `bytes`. Another process may have put its own there at the same moment, which is
/// as good where it says the same of the same files; where it does not, or is something else, what was signed has no signature.
fn whose(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let found = match read_found(path, "bundle", MAX_BYTES) {
        // Whoever removes the model takes it along.
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let manifest = |bytes: &[u8]| {
        let (_, statement) = Bundle::parse(bytes).ok()?.statement().ok()?;
        Some(statement.manifest().clone())
    };
    let same =
        found == bytes || manifest(&found).is_some_and(|found| Some(found) == manifest(bytes));
    if same {
        Ok(())
    } else {
        Err(Error::Displaced { path: path.into() })
    }
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
            set_times(&folder, &times, |time| time);
            Ok(())
        }
    }
}

/// The bytes of the signature at `path`; nothing where there is none, or something else.
///
/// # Errors
/// [`Error::Io`] and others of a file that cannot be read.
pub fn read_signature(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    if std::fs::symlink_metadata(path).is_err() {
        return Ok(None);
    }
    // Whatever else lies there, and however large it is, its head tells.
    if !is_signature(&head_of(path)?) {
        return Ok(None);
    }
    let bytes = read_found(path, "bundle", MAX_BYTES)?;
    Ok(is_signature(&bytes).then_some(bytes))
}

fn head_of(path: &Path) -> Result<Vec<u8>, Error> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    let opened = opened.map_err(|e| Error::io("read", path)(e.into()))?;
    read_opened(opened, path, HEAD_BYTES.into())
}

/// Removes the signature at `path` and returns it, or no bytes of one of more than 32 MiB; nothing where there is none, or something
/// else. A save waits for this.
///
/// # Errors
/// [`Error::Io`] and others of a file that cannot be read or removed.
pub fn take_back(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let size = std::fs::symlink_metadata(path).map_or(0, |found| found.len());
    let found = if size > MAX_KEPT {
        is_signature(&head_of(path)?).then(Vec::new)
    } else {
        read_signature(path)?
    };
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
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let old = rustix::fs::openat(folder, name, flags, Mode::empty())
        .map_err(|e| Error::io("read", path)(e.into()))?;
    let head = read_opened(old, path, HEAD_BYTES.into())?;
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
