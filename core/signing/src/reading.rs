//! How a file of somebody else's is read: never one that blocks, is no regular file, or has no end.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::Error;

/// The bytes of a small file that a person has named; links are followed, as a key in Kubernetes is one.
///
/// # Errors
/// [`Error::Io`], [`Error::NotAFile`], and [`Error::At`] round [`Error::TooLarge`], which names `what` it should be. `limit` is in
/// bytes.
pub fn read_capped(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, Error> {
    read(path, what, limit, OFlags::empty())
}

/// The bytes of a small file that nobody has named, but that lies where one of ours would. A link there is not ours.
///
/// # Errors
/// Those of [`read_capped`]; [`Error::Io`] for a link.
pub fn read_found(path: &Path, what: &'static str, limit: u64) -> Result<Vec<u8>, Error> {
    read(path, what, limit, OFlags::NOFOLLOW)
}

fn read(path: &Path, what: &'static str, limit: u64, flags: OFlags) -> Result<Vec<u8>, Error> {
    let fail = |e: std::io::Error| Error::io("read", path)(e);
    let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| fail(e.into()))?;
    let bytes = read_opened(opened, path, limit.saturating_add(1))?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > limit) {
        return Err(Error::At {
            path: path.into(),
            source: Box::new(Error::TooLarge { what, limit }),
        });
    }
    Ok(bytes)
}

/// The first `most` bytes of what was opened, without blocking, as `path`.
///
/// # Errors
/// [`Error::Io`], [`Error::NotAFile`].
pub(crate) fn read_opened(opened: OwnedFd, path: &Path, most: u64) -> Result<Vec<u8>, Error> {
    let fail = |e: std::io::Error| Error::io("read", path)(e);
    let file = std::fs::File::from(opened);
    let metadata = file.metadata().map_err(fail)?;
    if !metadata.is_file() {
        return Err(Error::not_a_file(path, metadata.file_type()));
    }
    let size = metadata.len().min(most);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(most).read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

/// Whether no file has the name that was opened: there is none, or it is longer than one may be.
pub(crate) fn cannot_be(error: &std::io::Error) -> bool {
    let too_long = Errno::NAMETOOLONG.raw_os_error();
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(too_long)
}
