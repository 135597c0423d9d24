//! Any save, and what it can fail with.

use std::io::{self, Write};
use std::path::Path;

use autosign_session::{HashedFile, Mode, NewFile, Session};

use crate::{AutoSign, Error};

/// Why a checkpoint was not saved, or not signed.
#[derive(Debug, thiserror::Error)]
pub enum SaveError<E: std::error::Error + 'static> {
    /// It was not written: the framework's own error.
    #[error(transparent)]
    Save(E),
    /// It could not be signed, and `MODEL_SIGNING_ON_ERROR` is `raise`. It is written and stays, unless a setting is wrong
    /// ([`Error::Setting`]): that is told before.
    #[error(transparent)]
    Sign(#[from] Error),
}

impl AutoSign {
    /// Runs `save`, which writes a checkpoint to `path`, and has it signed. A signature of what was there before is taken
    /// away first; it comes back if `save` fails and has changed nothing.
    ///
    /// # Errors
    /// [`SaveError::Save`] with what `save` fails with; [`SaveError::Sign`] only where `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn save<T, E: std::error::Error + 'static>(
        &self,
        path: &Path,
        framework: &str,
        save: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, SaveError<E>> {
        let saved = self.saving(path, save)?;
        self.saved(path, framework)?;
        Ok(saved)
    }

    /// Runs `save`, after which something is to be signed at `root`.
    pub(crate) fn saving<T, E: std::error::Error + 'static>(
        &self,
        root: &Path,
        save: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, SaveError<E>> {
        let begun = Begun::new(self.session(), root);
        let saved = save().map_err(SaveError::Save)?;
        begun.complete();
        Ok(saved)
    }

    /// Has `write` write the file at `path`, and has it signed: it is hashed on the way, so that signing reads nothing. The
    /// file appears under its name when it is complete; where `write` fails, the one that was there stays. In mode `disabled`
    /// nothing is hashed.
    ///
    /// # Errors
    /// [`SaveError::Save`] with what `write` fails with, or the disk; [`SaveError::Sign`] only where
    /// `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn write<T, E: std::error::Error + From<io::Error> + 'static>(
        &self,
        path: &Path,
        framework: &str,
        write: impl FnOnce(&mut dyn Write) -> Result<T, E>,
    ) -> Result<T, SaveError<E>> {
        if self.session().config().mode == Mode::Disabled {
            return self.saving(path, || {
                let mut file = NewFile::create(path)?;
                let value = write(&mut file)?;
                file.finish()?;
                Ok(value)
            });
        }
        let (value, written) = self.saving(path, || {
            let mut file = HashedFile::create(path)?;
            let value = write(&mut file)?;
            Ok((value, file.finish()?))
        })?;
        let ticket = self.session().saved_written(path, framework, written)?;
        ticket.wait()?;
        Ok(value)
    }

    /// Removes the checkpoint at `path`, a file or a folder, and its signature with it, whoever saved it. The signature of a
    /// checkpoint of this process goes also where it is removed in another way, but with the next save or at the end.
    ///
    /// # Errors
    /// Those of [`std::fs::remove_file`] and [`std::fs::remove_dir_all`].
    pub fn remove(&self, path: &Path) -> io::Result<()> {
        self.session().removing(path);
        if path.is_dir() && !path.is_symlink() {
            return std::fs::remove_dir_all(path);
        }
        std::fs::remove_file(path)
    }
}

/// A save that has begun. It is broken off unless it completes, also where it panics.
struct Begun<'a> {
    session: &'a Session,
    root: &'a Path,
    completed: bool,
}

impl<'a> Begun<'a> {
    fn new(session: &'a Session, root: &'a Path) -> Self {
        session.begins(root);
        Self {
            session,
            root,
            completed: false,
        }
    }

    fn complete(mut self) {
        self.completed = true;
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.completed {
            self.session.broken_off(self.root);
        }
    }
}

/// One call that saves a checkpoint and has it signed.
///
/// It goes through the [`AutoSign`] that [`AutoSign::from_environment`] last made, if that lives. Else it takes one for
/// itself, and so waits for the signature; and the signature of a checkpoint that is removed later stays.
pub trait SaveSigned {
    /// What the framework's own save fails with.
    type Error: std::error::Error + 'static;

    /// The framework's own save to `path`, and a signature.
    ///
    /// # Errors
    /// [`SaveError::Save`] as without us; [`SaveError::Sign`] only where `MODEL_SIGNING_ON_ERROR` is `raise`.
    fn save_signed<P: AsRef<Path>>(&self, path: P) -> Result<(), SaveError<Self::Error>> {
        self.save_with(&AutoSign::current()?, path)
    }

    /// The same through `autosign`.
    ///
    /// # Errors
    /// Those of [`SaveSigned::save_signed`].
    fn save_with<P: AsRef<Path>>(
        &self,
        autosign: &AutoSign,
        path: P,
    ) -> Result<(), SaveError<Self::Error>>;
}
