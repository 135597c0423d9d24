//! Small files in which one process tells the next what it has seen: read, changed and replaced under a lock.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock};
use serde::{Serialize, de::DeserializeOwned};

/// Far more than is ever kept.
const MAX_BYTES: u64 = 4 << 20;

/// Locks of this kind are a process's, so its threads take turns by themselves.
static TURN: Mutex<()> = Mutex::new(());

/// What the JSON file at `path` holds; the default where there is none.
///
/// # Errors
/// Of the file, or of its content.
pub(crate) fn read<T: DeserializeOwned + Default>(path: &Path) -> io::Result<T> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(error),
        Ok(found) if found.len() > MAX_BYTES => Err(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => Ok(serde_json::from_slice(&fs::read(path)?)?),
    }
}

/// Lets `change` change that, and keeps it where `change` has a result. No other process does so at the same time; where the
/// file system knows no locks, another may.
///
/// # Errors
/// Those of the file and its content, and those of `change`.
pub(crate) fn change<T, R, E>(
    path: &Path,
    change: impl FnOnce(&mut T) -> Result<R, E>,
) -> Result<R, E>
where
    T: Serialize + DeserializeOwned + Default,
    E: From<io::Error>,
{
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let own = Mode::RUSR | Mode::WUSR;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock =
        rustix::fs::open(path.with_extension("lock"), flags, own).map_err(io::Error::from)?;
    let _ = fcntl_lock(&lock, FlockOperation::LockExclusive);
    let mut kept = read(path)?;
    let result = change(&mut kept)?;
    let temp = path.with_extension("tmp");
    let written = rustix::fs::open(&temp, flags | OFlags::TRUNC, own)
        .map_err(io::Error::from)
        .and_then(|file| fs::File::from(file).write_all(&serde_json::to_vec(&kept)?))
        .and_then(|()| fs::rename(&temp, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&temp);
    })?;
    Ok(result)
}
