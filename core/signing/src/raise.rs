//! Errors of the file system, made where they happen.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Error, FileKind};

impl Error {
    pub(crate) fn not_a_file(path: &Path, kind: impl Into<FileKind>) -> Self {
        match kind.into() {
            FileKind::SYMLINK => Self::Symlink {
                path: path.into(),
                target: path.read_link().unwrap_or_default(),
            },
            kind => Self::NotAFile {
                path: path.into(),
                kind,
            },
        }
    }

    pub(crate) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// Why the model at `path` cannot be opened.
    pub(crate) fn cannot_open(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let prefix = path.to_owned();
        move |source| {
            let mut index = prefix.clone().into_os_string();
            index.push(".index");
            let index = PathBuf::from(index);
            if source.kind() == io::ErrorKind::NotFound && index.is_file() {
                return Self::CheckpointPrefix { prefix, index };
            }
            Self::io("open", prefix)(source)
        }
    }

    pub(crate) fn at(path: impl Into<PathBuf>) -> impl FnOnce(Self) -> Self {
        let path = path.into();
        move |source| Self::At {
            path,
            source: Box::new(source),
        }
    }
}
