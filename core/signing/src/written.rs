//! A file that is hashed while it is written, so that nobody has to read it again.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::model::{FileState, Inodes, Model};
use crate::rename::rename_or_copy;
use crate::{Digest, Error, Manifest, Resource, Serialization, temporary_name};

/// A piece as large as this is hashed beside the write of it; for a smaller one a thread costs more than it saves.
const BESIDE_BYTES: usize = 1 << 20;

/// A file on its way: it appears under its name when it is complete.
#[must_use = "without `finish` there is no file"]
pub struct NewFile {
    path: PathBuf,
    /// Where it is until it is complete; nothing for what is no regular file.
    temp: Option<PathBuf>,
    file: File,
    broken: Option<io::Error>,
}

impl fmt::Debug for NewFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl NewFile {
    /// Begins a file that will be at `path`, or where a link there leads to, in the place of what is there. It gets the
    /// permissions of that.
    ///
    /// # Errors
    /// Those of creating a file in the same folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let before = fs::metadata(&path).ok();
        let special = before.as_ref().is_some_and(|before| !before.is_file());
        let temp = if special { None } else { Some(beside(&path)?) };
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(temp.is_some());
        let new = Self {
            file: file.open(temp.as_ref().unwrap_or(&path))?,
            temp,
            path,
            broken: None,
        };
        if let Some(before) = before.filter(|_| !special) {
            new.file.set_permissions(before.permissions())?;
        }
        Ok(new)
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// Any error of writing, also one that the writer has passed over; there is no file then.
    pub fn finish(mut self) -> io::Result<()> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        if let Some(temp) = &self.temp {
            rename_or_copy(temp, &self.path)?;
        }
        self.temp = None;
        Ok(())
    }
}

impl Write for NewFile {
    /// Writes all of `bytes`; nothing more after an error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(error) = &self.broken {
            return Err(copy(error));
        }
        if let Err(error) = self.file.write_all(bytes) {
            self.broken = Some(copy(&error));
            return Err(error);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(temp) = &self.temp {
            // What cannot be removed has at least no name that anybody looks for.
            let _ = fs::remove_file(temp);
        }
    }
}

/// A [`NewFile`] that is hashed while it is written.
///
/// ```
/// use std::io::Write;
/// use autosign_signing::{Digest, HashedFile};
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("weights.bin");
/// let mut file = HashedFile::create(&path)?;
/// file.write_all(b"weights")?;
/// assert!(!path.exists());
/// let written = file.finish()?;
/// assert_eq!(written.digest(), Digest::of(&std::fs::read(&path)?));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "without `finish` there is no file"]
pub struct HashedFile {
    file: NewFile,
    hasher: Sha256,
    bytes: u64,
}

impl HashedFile {
    /// [`NewFile::create`].
    ///
    /// # Errors
    /// Those of [`NewFile::create`].
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: NewFile::create(path)?,
            hasher: Sha256::new(),
            bytes: 0,
        })
    }

    /// Gives the complete file its name.
    ///
    /// # Errors
    /// Those of [`NewFile::finish`].
    pub fn finish(self) -> io::Result<WrittenFile> {
        let file = &self.file.file;
        let state = FileState::of(&rustix::fs::fstat(file)?, Inodes::of(file));
        self.file.finish()?;
        Ok(WrittenFile {
            state,
            bytes: self.bytes,
            digest: <[u8; 32]>::from(self.hasher.finalize()).into(),
        })
    }

    fn take_in(&mut self, bytes: &[u8]) -> io::Result<()> {
        let (file, sha256) = (&mut self.file, &mut self.hasher);
        if bytes.len() < BESIDE_BYTES {
            file.write_all(bytes)?;
            sha256.update(bytes);
            return Ok(());
        }
        let hashed = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new();
            let beside = thread.spawn_scoped(scope, || sha256.update(bytes));
            file.write_all(bytes)?;
            Ok::<_, io::Error>(beside.is_ok())
        })?;
        if !hashed {
            sha256.update(bytes); // no thread to be had
        }
        Ok(())
    }
}

impl Write for HashedFile {
    /// Writes all of `bytes`; nothing more after an error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take_in(bytes)?;
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(count);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A complete file, as it was when it was complete, and the digest of what was written to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrittenFile {
    state: FileState,
    bytes: u64,
    digest: Digest,
}

impl WrittenFile {
    /// SHA-256 of what was written.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The root digest of a model that is this file.
    #[must_use]
    pub fn root_digest(&self) -> Digest {
        Digest::of(self.digest.as_bytes())
    }

    /// The manifest of `model`, which is not read; nothing where that is not this file alone, as it was when it was
    /// complete. Renames, links and permissions change no content.
    ///
    /// # Errors
    /// Those of [`Manifest::new`].
    pub fn manifest(&self, model: &Model) -> Result<Option<Manifest>, Error> {
        let [file] = model.files() else {
            return Ok(None);
        };
        let is_whole = self.bytes == self.state.size;
        if !model.is_single() || !is_whole || !file.state.has_content_of(&self.state) {
            return Ok(None);
        }
        let resource = Resource {
            name: file.name.clone(),
            shard: None,
            digest: self.digest.into(),
        };
        let manifest = Manifest::new(model.name(), Serialization::default(), vec![resource])?;
        Ok(Some(manifest))
    }
}

fn copy(error: &io::Error) -> io::Error {
    let code = error.raw_os_error();
    code.map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// A new name in the same folder.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = temporary_name("saving").map_err(io::Error::other)?;
    Ok(path.with_file_name(name))
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;
    use crate::{Hashing, Ignore, hash};

    fn manifest(written: &WrittenFile, path: &Path) -> Option<Manifest> {
        let model = Model::open(path, &Ignore::git()).unwrap();
        written.manifest(&model).unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn pieces_of_all_sizes_have_the_digest_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        let mut file = HashedFile::create(&path).unwrap();
        for length in [
            0,
            1,
            3,
            BESIDE_BYTES - 1,
            BESIDE_BYTES,
            2 * BESIDE_BYTES + 7,
        ] {
            let piece: Vec<u8> = (0..=250).cycle().skip(length % 251).take(length).collect();
            assert_eq!(file.write(&piece).unwrap(), length);
        }
        assert!(!path.exists());
        let written = file.finish().unwrap();
        let read = hash(&path, &Ignore::git(), Hashing::default()).unwrap();
        assert_eq!(manifest(&written, &path).unwrap(), read);
        assert_eq!(written.root_digest(), read.root_digest());
        assert_eq!(names(folder.path()), ["a.bin"]);
    }

    #[test]
    fn only_the_file_itself_has_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("a"), folder.path().join("b"));
        let mut file = HashedFile::create(&path).unwrap();
        file.write_all(b"weights").unwrap();
        let written = file.finish().unwrap();
        assert_eq!(manifest(&written, folder.path()), None);
        // Renamed, linked, of other permissions: the same content.
        fs::rename(&path, &moved).unwrap();
        fs::hard_link(&moved, &path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(manifest(&written, &path).is_some());
        assert_eq!(manifest(&written, &moved).unwrap().model_name(), "b");
        // A copy, and other content of the same length at the same time.
        let times = fs::metadata(&path).unwrap().modified().unwrap();
        fs::copy(&path, folder.path().join("c")).unwrap();
        let copy = File::options().write(true).open(folder.path().join("c"));
        copy.unwrap().set_modified(times).unwrap();
        assert_eq!(manifest(&written, &folder.path().join("c")), None);
        let mut same = File::options().write(true).open(&path).unwrap();
        same.write_all(b"w").unwrap();
        same.set_modified(times + std::time::Duration::from_nanos(1))
            .unwrap();
        assert_eq!(manifest(&written, &path), None);
    }

    #[test]
    fn what_somebody_else_appended_is_not_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = HashedFile::create(&path).unwrap();
        file.write_all(b"weights").unwrap();
        let temp = folder.path().join(&names(folder.path())[0]);
        let mut other = File::options().append(true).open(temp).unwrap();
        other.write_all(b"more").unwrap();
        let written = file.finish().unwrap();
        assert_eq!(manifest(&written, &path), None);
    }

    #[test]
    fn a_file_that_is_not_finished_is_none_and_the_old_one_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, b"old").unwrap();
        let mut file = HashedFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn an_error_that_the_writer_passes_over_is_one_at_the_end() {
        let mut file = HashedFile::create(Path::new("/dev/full")).unwrap();
        for _ in 0..2 {
            assert!(file.write(b"weights").is_err());
        }
        let error = file.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn a_link_and_the_permissions_stay_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("last"));
        fs::write(&path, b"old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink("a", &link).unwrap();
        let mut file = HashedFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.finish().unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
