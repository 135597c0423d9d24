//! Renames, and what else can be done where a file system has none (docs/decisions/0047-file-systems-of-clusters.md).

use std::fs;
use std::io;
use std::path::Path;

use rustix::io::Errno;

/// Whether a file system answers so to a rename, or to a rename over what is there, that it does not know. Where the reason is another,
/// as that of a folder which the user may not write to, whatever is tried instead fails as well.
pub(crate) fn is_unknown(error: Errno) -> bool {
    [
        Errno::EXIST,
        Errno::INVAL,
        Errno::NOSYS,
        Errno::NOTSUP,
        Errno::OPNOTSUPP,
        Errno::PERM,
        Errno::XDEV,
    ]
    .contains(&error)
}

/// Whether a file system answers so to a sync that it does not know.
pub(crate) fn is_no_sync(error: Errno) -> bool {
    [
        Errno::INVAL,
        Errno::NOSYS,
        Errno::NOTSUP,
        Errno::OPNOTSUPP,
        Errno::ROFS,
    ]
    .contains(&error)
}

/// Renames `from` to `to`; where the file system knows no renames, copies it there and removes it. A reader may then see a part of it.
///
/// # Errors
/// Of the rename, or of the copy, which is then removed again.
pub fn rename_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    let Err(error) = fs::rename(from, to) else {
        return Ok(());
    };
    if !Errno::from_io_error(&error).is_some_and(is_unknown) {
        return Err(error);
    }
    // What is there stays where there is nothing to copy: other file systems are told apart before anybody looks for it.
    fs::symlink_metadata(from)?;
    // A pipe in its place would keep the copy waiting for a reader.
    let _ = fs::remove_file(to);
    fs::copy(from, to).inspect_err(|_| {
        let _ = fs::remove_file(to);
    })?;
    // What cannot be removed has at least no name that anybody looks for.
    let _ = fs::remove_file(from);
    Ok(())
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_renamed_is_copied() {
        let folder = tempfile::tempdir().unwrap();
        // Mostly another file system, to which nothing can be renamed.
        let other = tempfile::tempdir_in("/dev/shm").unwrap();
        let (from, to) = (folder.path().join("a"), other.path().join("b"));
        fs::write(&from, b"new").unwrap();
        fs::write(&to, b"older").unwrap();
        rename_or_copy(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");
        assert!(!from.exists());
        assert!(rename_or_copy(&from, &to).is_err());
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }
}
