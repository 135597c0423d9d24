//! Puts a signature in its place: whole or not at all.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use crate::Error;

/// Stands at the head of every bundle of every version.
const BUNDLE_MARK: &[u8] = b"dev.sigstore.bundle";

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

/// Writes `bytes` to `path` by way of a new file in the same folder: written, synced, renamed. A reader sees the old
/// signature or the new one. With `keep_times` the folder's own times are put back, because trainers rotate by them.
///
/// # Errors
/// [`Error::WouldOverwrite`] where `path` holds anything but a signature; [`Error::NotAFile`]; [`Error::Io`]. The old
/// content is untouched then and nothing is left behind.
pub fn publish(path: &Path, bytes: &[u8], keep_times: bool) -> Result<(), Error> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
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
        ".signature-{}-{}.tmp",
        rustix::process::getpid().as_raw_nonzero(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let written = write_synced(folder.as_fd(), &temp, bytes).and_then(|()| {
        rustix::fs::renameat(&folder, &temp, &folder, name).map_err(io::Error::from)
    });
    if let Err(error) = written {
        // The first error is the one to report; the temporary file may not even exist.
        let _ = rustix::fs::unlinkat(&folder, &temp, AtFlags::empty());
        return Err(Error::io("write", path)(error));
    }
    // Not every file system can sync a folder; the content itself is synced.
    let _ = rustix::fs::fsync(&folder);
    if keep_times {
        restore_times(&folder, &times);
    }
    Ok(())
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
        .take(4096)
        .read_to_end(&mut head)
        .map_err(Error::io("read", path))?;
    if head.is_empty()
        || head
            .windows(BUNDLE_MARK.len())
            .any(|part| part == BUNDLE_MARK)
    {
        return Ok(());
    }
    Err(Error::WouldOverwrite { path: path.into() })
}

fn write_synced(folder: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(folder, name, flags, Mode::from_raw_mode(0o644))?;
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
