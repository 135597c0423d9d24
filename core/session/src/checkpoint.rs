//! A checkpoint as it was when its save returned.

use std::path::{Path, PathBuf};

use autosign_signing::{Ignore, Model, signature_path};
use serde::{Deserialize, Serialize};

use crate::Error;

/// One file or folder that was saved, and how its files looked then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Resolved path.
    pub root: PathBuf,
    /// Which framework saved it.
    pub framework: String,
    /// Whether git's own files in it are left out.
    #[serde(default = "yes")]
    pub ignore_git_paths: bool,
    files: Vec<Stamp>,
}

/// Name, inode, size and modification time of a file. Not its change time: a hard link made by the trainer, or a
/// `chmod`, is no change of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: String,
    ino: u64,
    size: u64,
    modified: (i64, i64),
}

impl Checkpoint {
    /// Looks at what was just saved at `root`, without git's own files if `ignore_git_paths`.
    ///
    /// # Errors
    /// Those of [`Model::open`].
    pub fn observe(root: &Path, framework: &str, ignore_git_paths: bool) -> Result<Self, Error> {
        let root = root
            .canonicalize()
            .map_err(|source| autosign_signing::Error::Io {
                action: "open",
                path: root.into(),
                source,
            })?;
        let model = Model::open(&root, &ignore(&root, ignore_git_paths)?)?;
        let files = model.files().iter().map(|file| Stamp {
            name: file.name.to_string(),
            ino: file.state.ino,
            size: file.state.size,
            modified: file.state.modified,
        });
        Ok(Self {
            files: files.collect(),
            framework: framework.to_owned(),
            ignore_git_paths,
            root,
        })
    }

    /// Whether its files look now as they did then.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        let now = Self::observe(&self.root, &self.framework, self.ignore_git_paths);
        now.is_ok_and(|now| now == *self)
    }

    /// Size of all files in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Where its signature belongs.
    #[must_use]
    pub fn signature(&self) -> PathBuf {
        signature_path(&self.root)
    }

    /// What of it is not signed: git's own files, unless they are to be, and the signature.
    pub(crate) fn ignore(&self) -> Result<Ignore, Error> {
        ignore(&self.root, self.ignore_git_paths)
    }
}

fn ignore(root: &Path, git: bool) -> Result<Ignore, Error> {
    Ok(Ignore::new(root, Some(&signature_path(root)), &[], git)?)
}

/// What records meant that were written before they could say.
fn yes() -> bool {
    true
}
