//! The signatures that this session has put into their places.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

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
        std::fs::read(&self.signature).is_ok_and(|found| found == self.bytes)
    }
}

impl State {
    /// Remembers what was published, in the place of what was there before.
    pub(crate) fn published(&mut self, published: Published) {
        self.published
            .retain(|older| older.signature != published.signature);
        self.published.push(published);
    }

    /// What was signed at `root`.
    pub(crate) fn published_at(&self, root: &Path) -> Option<&Published> {
        self.published
            .iter()
            .find(|published| published.root == root)
    }

    /// What was signed at `roots`, but for those of which a rename is still to be followed.
    pub(crate) fn published_at_all(&self, roots: &BTreeSet<PathBuf>) -> Vec<Published> {
        let moves = |root: &Path| self.moves.iter().any(|moved| moved.from == root);
        let published = self.published.iter();
        let found = published.filter(|it| roots.contains(&it.root) && !moves(&it.root));
        found.cloned().collect()
    }
}
