//! The signatures that this session has put into their places.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

use autosign_signing::read_signature;

use crate::Checkpoint;
use crate::jobs::State;
use crate::lock::touches_disk;

/// What a signature is of, so that it can go when its checkpoint goes.
#[derive(Clone, PartialEq)]
pub(crate) struct Published {
    pub(crate) root: PathBuf,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) signature: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

impl Published {
    /// Whether the signature is where it was put.
    pub(crate) fn is_there(&self) -> bool {
        touches_disk();
        read_signature(&self.signature).is_ok_and(|found| found.as_ref() == Some(&self.bytes))
    }
}

/// What is signed, by root: one signature each.
#[derive(Default)]
pub(crate) struct Signed(BTreeMap<PathBuf, Published>);

impl Signed {
    /// Remembers what was published, in the place of what was there before.
    pub(crate) fn insert(&mut self, published: Published) {
        // The signature of a folder and that of a file `model` in it have one name.
        let folder = published.root.parent().map(Path::to_path_buf);
        for other in folder.into_iter().chain([published.root.join("model")]) {
            self.forget_if(&other, |older| older.signature == published.signature);
        }
        self.0.insert(published.root.clone(), published);
    }

    /// What was signed at `root`.
    pub(crate) fn at(&self, root: &Path) -> Option<&Published> {
        self.0.get(root)
    }

    /// What was signed at `path` and below it.
    pub(crate) fn below(&self, path: &Path) -> impl Iterator<Item = &Published> {
        below(&self.0, path).map(|(_, published)| published)
    }

    /// Forgets it, unless something else is signed there by now.
    pub(crate) fn forget(&mut self, published: &Published) {
        self.forget_if(&published.root, |other| other == published);
    }

    fn forget_if(&mut self, root: &Path, is_it: impl FnOnce(&Published) -> bool) {
        if self.0.get(root).is_some_and(is_it) {
            self.0.remove(root);
        }
    }

    /// What was signed at `from`, and its signature, have moved.
    pub(crate) fn renamed(&mut self, from: &Path, checkpoint: &Checkpoint, signature: PathBuf) {
        if let Some(published) = self.0.remove(from) {
            self.insert(Published {
                root: checkpoint.root.clone(),
                checkpoint: checkpoint.clone(),
                signature,
                ..published
            });
        }
    }
}

/// The entries at `path` and below it: those of a folder follow it.
pub(crate) fn below<'a, V>(
    map: &'a BTreeMap<PathBuf, V>,
    path: &Path,
) -> impl Iterator<Item = (&'a PathBuf, &'a V)> {
    let entries = map.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
    entries.take_while(move |(key, _)| key.starts_with(path))
}

impl State {
    /// What was signed at `roots`, but for those of which a rename is still to be followed.
    pub(crate) fn published_at_all(&self, roots: &BTreeSet<PathBuf>) -> Vec<Published> {
        let moves = |root: &Path| self.moves.iter().any(|moved| moved.from == root);
        let found = roots.iter().filter_map(|root| self.published.at(root));
        found.filter(|it| !moves(&it.root)).cloned().collect()
    }
}
