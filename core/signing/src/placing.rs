//! How a signature comes to its place: in one step, or where the file system knows none, written there.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use once_cell::sync::OnceCell;
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use crate::publish::{Manner, Placed};
use crate::reading::read_opened;
use crate::{Error, random, rename};

/// A signature on its way to a folder.
pub(crate) struct New<'a> {
    pub(crate) folder: BorrowedFd<'a>,
    pub(crate) bytes: &'a [u8],
    pub(crate) manner: Manner<'a>,
}

impl New<'_> {
    pub(crate) fn place(&self, name: &OsStr) -> io::Result<Placed> {
        if FileSystem::of(self.folder).has_no_renames() {
            return self.write_there(name);
        }
        let temp = temporary()?;
        let temp = OsStr::new(&temp);
        if let Some(placed) = self.link(name, temp) {
            return placed;
        }
        // Where something has that name already, which nobody but an attacker could bring about, it is not ours to remove.
        let made = self.open(temp, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        let rename = || {
            if self.manner.is_for_nothing() {
                return Err(Errno::NOENT);
            }
            rustix::fs::renameat(self.folder, temp, self.folder, name)
        };
        let renamed = self.fill(made.as_fd()).map(|()| {
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
                // The first error is the one to report.
                let _ = self.remove(temp);
                return Err(error);
            }
        }
        // Where nothing can be removed either, this is the one temporary file that stays.
        let _ = self.remove(temp);
        self.write_there(name)
    }

    /// Gives a file that had no name this one, in one step: whoever lists the folder never finds a file that is gone a moment later.
    /// Nothing where the system knows no files without a name.
    fn link(&self, name: &OsStr, temp: &OsStr) -> Option<io::Result<Placed>> {
        let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let unnamed = rustix::fs::openat(self.folder, ".", flags, mode).ok()?;
        let opened = format!("/proc/self/fd/{}", unnamed.as_raw_fd());
        let link = |name: &OsStr| {
            let follow = AtFlags::SYMLINK_FOLLOW;
            rustix::fs::linkat(CWD, &opened, self.folder, name, follow)
        };
        if let Err(error) = self.fill(unnamed.as_fd()) {
            return Some(Err(error));
        }
        if self.manner.is_for_nothing() {
            return Some(Err(Errno::NOENT.into()));
        }
        let replace = || {
            link(temp)?;
            rustix::fs::renameat(self.folder, temp, self.folder, name).inspect_err(|_| {
                let _ = self.remove(temp);
            })
        };
        match link(name) {
            Ok(()) => Some(Ok(Placed::Whole)),
            Err(Errno::EXIST) => replace().ok().map(|()| Ok(Placed::Whole)),
            Err(_) => None, // another way may be open
        }
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
        let most = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        let opened = self.open(name, OFlags::RDONLY | OFlags::NONBLOCK)?;
        read_opened(opened, Path::new(name), most.saturating_add(1)).map_err(io::Error::other)
    }

    fn write_synced(&self, name: &OsStr, create: OFlags) -> io::Result<()> {
        let opened = self.open(name, OFlags::WRONLY | create)?;
        self.fill(opened.as_fd())
    }

    /// Writes the signature, and what is to be known of it, to the disk.
    fn fill(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        if let Manner::With(model) = self.manner {
            follow(file, model);
        }
        let mut left = self.bytes;
        while !left.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(file, left))?;
            left = left.get(written..).unwrap_or_default();
        }
        if let Manner::With(model) = self.manner
            && let Ok(model) = rustix::fs::stat(model)
        {
            set_times(file, &model, earlier);
        }
        match rustix::fs::fsync(file) {
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

/// What the names of this process's temporary files begin with. Its number alone would not do: every pod begins with 1, and so does
/// its count. A forked child has the random part of its parent, and another number.
fn own() -> Result<String, Error> {
    static RANDOM: OnceCell<u128> = OnceCell::new();
    let random = RANDOM.get_or_try_init(|| random().map(u128::from_ne_bytes))?;
    let process = rustix::process::getpid().as_raw_nonzero();
    Ok(format!(".signature-{random:032x}-{process}-"))
}

/// A new name for a temporary file.
fn temporary() -> io::Result<String> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let own = own().map_err(io::Error::other)?;
    Ok(format!("{own}{number}{TEMPORARY}"))
}

/// Whether a file of this name is a signature that this process has not renamed to its place yet.
pub(crate) fn is_being_published(name: &[u8]) -> bool {
    name.starts_with(b".signature-")
        && own().is_ok_and(|own| name.starts_with(own.as_bytes()))
        && name.ends_with(TEMPORARY.as_bytes())
}

/// Gives the signature the owner and the permissions of its model, but none to execute. Where that is not allowed, it is
/// the writer's own, as any other file of it.
fn follow(signature: BorrowedFd<'_>, model: &Path) {
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

/// The times that `stat` tells, each changed by `change`: those of a folder in which a signature was put, so that trainers that rotate
/// by them see no difference.
pub(crate) fn set_times(file: impl AsFd, stat: &Stat, change: impl Fn(Timespec) -> Timespec) {
    #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
    let times = Timestamps {
        last_access: change(Timespec {
            tv_sec: stat.st_atime.into(),
            tv_nsec: stat.st_atime_nsec.try_into().unwrap_or(0),
        }),
        last_modification: change(Timespec {
            tv_sec: stat.st_mtime.into(),
            tv_nsec: stat.st_mtime_nsec.try_into().unwrap_or(0),
        }),
    };
    // Only the owner may set times; where we are not, the signature still stands.
    let _ = rustix::fs::futimens(file, &times);
}

/// A second before: whoever looks for the newest file finds the checkpoint, also where times have no more than seconds.
pub(crate) fn earlier(time: Timespec) -> Timespec {
    Timespec {
        tv_sec: time.tv_sec.saturating_sub(1),
        ..time
    }
}
