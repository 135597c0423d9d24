//! Small files in which one process tells the next what it has seen: read, changed and replaced under a lock.

use std::fs;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use autosign_signing::{Error as SigningError, read_found, rename_or_copy, temporary_name};
use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock};
use rustix::io::Errno;
use rustix::process::getpid;
use serde::{Serialize, de::DeserializeOwned};

use crate::lock::touches_disk;

/// Far more than is ever kept.
const MAX_BYTES: u64 = 4 << 20;

/// So long is a lock of another process waited for: who holds one reads and writes a small file.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);

/// What the JSON file at `path` holds; the default where there is none.
///
/// # Errors
/// Of the file, or of its content.
pub(crate) fn read<T: DeserializeOwned + Default>(path: &Path) -> io::Result<T> {
    match read_found(path, "JSON file", MAX_BYTES) {
        Err(SigningError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(T::default())
        }
        Err(SigningError::Io { source, .. }) => Err(source),
        Err(SigningError::At { .. }) => Err(io::ErrorKind::FileTooLarge.into()),
        Err(other) => Err(io::Error::other(other)),
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
    }
}

/// Lets `change` change that, and keeps it where `change` has a result. Nobody else does so at the same time; where the file
/// system knows no locks, another process may.
///
/// # Errors
/// Those of the file and its content, and those of `change`; [`io::ErrorKind::FileTooLarge`] where it would no longer be read, and
/// is left as it was; [`io::ErrorKind::WouldBlock`] where another process holds the
/// lock for two seconds.
pub(crate) fn change<T, R, E>(
    path: &Path,
    change: impl FnOnce(&mut T) -> Result<R, E>,
) -> Result<R, E>
where
    T: Serialize + DeserializeOwned + Default,
    E: From<io::Error>,
{
    touches_disk();
    let _turn = Turn::take();
    let own = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = rustix::fs::open(beside(path, ".lock"), flags, own).map_err(io::Error::from)?;
    wait_for(&lock)?;
    let mut kept = read(path)?;
    let result = change(&mut kept)?;
    let bytes = serde_json::to_vec(&kept).map_err(io::Error::from)?;
    // It could not be read again.
    if u64::try_from(bytes.len()).is_ok_and(|bytes| bytes > MAX_BYTES) {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
    }
    replace(path, &bytes)?;
    Ok(result)
}

/// Puts `bytes` to `path` by way of a new file beside it, which only its owner may read.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = temporary_name("kept").map_err(io::Error::other)?;
    let temp = path.with_file_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(&temp, flags, Mode::RUSR | Mode::WUSR)?;
    let written = fs::File::from(file).write_all(bytes);
    let written = written.and_then(|()| rename_or_copy(&temp, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&temp);
    })
}

/// The path with `ending` after its last name: none that is its own.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    path.into()
}

fn wait_for(lock: &OwnedFd) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    loop {
        match fcntl_lock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::AGAIN | Errno::ACCESS) if Instant::now() < end => pause(),
            Err(error @ (Errno::AGAIN | Errno::ACCESS)) => return Err(error.into()),
            // Not every file system knows locks.
            Ok(()) | Err(_) => return Ok(()),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "neither another process nor a parent tells when it lets go"
)]
fn pause() {
    std::thread::sleep(PAUSE);
}

/// Locks of files are a process's, so its threads take turns. No mutex, which would stay locked for ever in a child that was
/// forked meanwhile: the thread that has the turn is not there.
struct Turn;

/// The process one of whose threads has the turn, or 0.
static HOLDER: AtomicI32 = AtomicI32::new(0);

impl Turn {
    fn take() -> Self {
        let own = getpid().as_raw_nonzero().get();
        let take = |from| HOLDER.compare_exchange(from, own, Ordering::Acquire, Ordering::Relaxed);
        loop {
            match take(0) {
                Ok(_) => return Self,
                Err(holder) if holder == own => pause(),
                // Of the parent, before it forked.
                Err(holder) if take(holder).is_ok() => return Self,
                Err(_) => {}
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        HOLDER.store(0, Ordering::Release);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn what_would_be_too_large_to_read_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let most = usize::try_from(MAX_BYTES).unwrap();
        // None is the lock or the temporary file of another.
        let names = ["seen.lock", "seen.tmp", "seen.json"];
        for name in names {
            let path = folder.path().join(name);
            let keep = |bytes: usize| {
                change(&path, |kept: &mut String| {
                    *kept = "x".repeat(bytes);
                    Ok::<_, io::Error>(())
                })
            };
            keep(3).unwrap();
            let refused = keep(most - 1).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::FileTooLarge);
            assert_eq!(read::<String>(&path).unwrap(), "xxx");
            keep(most - 2).unwrap();
        }
        for name in names {
            let kept = read::<String>(&folder.path().join(name)).unwrap();
            assert_eq!(kept.len(), most - 2, "{name}");
        }
    }

    #[test]
    fn threads_take_turns_and_a_child_does_not_wait_for_its_parent_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("count.json");
        let one_more = |count: &mut u64| {
            *count += 1;
            Ok::<_, io::Error>(())
        };
        let add = || change(&path, one_more).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| add()));
            }
        });
        assert_eq!(read::<u64>(&path).unwrap(), 160);

        // As it is in a child, when a thread of the parent had the turn.
        let parent = rustix::process::getppid().map_or(1, |parent| parent.as_raw_nonzero().get());
        HOLDER.store(parent, Ordering::Relaxed);
        add();
        assert_eq!(read::<u64>(&path).unwrap(), 161);
    }
}
