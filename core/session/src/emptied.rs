//! Folders that are about to be removed, which works only if they are empty.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use autosign_signing::{Bundle, Digest, hidden_folders, read_signature, unprepare_hidden};

use crate::jobs::State;
use crate::life::named;
use crate::strays::{is_there, remove};
use crate::worker::Queue;

impl State {
    /// The digest of what this session has put to `signature`, in or below `folder`.
    fn digest_of(&self, folder: &Path, signature: &Path) -> Option<String> {
        let mut published = self.published.below(folder);
        let published = published.find(|it| it.signature == *signature);
        let published = published.map(|it| Digest::of(&it.bytes).to_string());
        published.or_else(|| self.strays.digest(signature))
    }
}

impl Queue {
    /// The folder `path` is about to be removed. Where nothing is left in it but signatures of this session, they go first;
    /// where something else is, nothing happens.
    pub(crate) fn removing_folder(self: &Arc<Self>, path: &Path) {
        let path = named(path);
        if path.is_symlink() || list(&path).iter().any(|entry| !may_be_ours(entry)) {
            return; // it fails, whatever we do
        }
        self.removing(&path);
        empty(&path, |signature| {
            let known = self.lock().digest_of(&path, signature);
            known.map_or_else(|| is_left(signature), |digest| is_there(signature, &digest))
        });
    }
}

/// Where nothing is left in the folder at `path` but signatures that sessions have made, removes them: their checkpoints are gone. It
/// is for a process without a session that is about to remove the folder.
pub fn empty_of_signatures(path: &Path) {
    empty(&named(path), is_left);
}

/// Removes all that is in the folder at `path`, if all of it is a signature that `may_go`.
fn empty(path: &Path, may_go: impl Fn(&Path) -> bool) {
    let (hidden, inside) = hidden_folders(path);
    let mut listed = list(path);
    if listed.contains(&hidden) {
        listed.retain(|entry| *entry != hidden);
        listed.extend(list(&inside));
    }
    if listed.iter().all(|entry| may_go(entry)) {
        for signature in &listed {
            remove(signature);
        }
        // Made when a save began, for a signature that never came.
        unprepare_hidden(&hidden);
    }
}

/// Whether some session made it: no other tool says when a model was saved.
fn is_left(signature: &Path) -> bool {
    let bytes = read_signature(signature).ok().flatten();
    let bundle = bytes.and_then(|bytes| Bundle::parse(&bytes).ok());
    let statement = bundle.and_then(|bundle| bundle.statement().ok());
    statement.is_some_and(|(_, statement)| statement.annotations().created.is_some())
}

/// Whether it has the name of a signature, or of one that is being written, or is the folder of hidden ones.
fn may_be_ours(entry: &Path) -> bool {
    let name = entry.file_name().unwrap_or_default();
    name.to_string_lossy().starts_with(".signature")
        || entry.extension().is_some_and(|suffix| suffix == "sig")
}

fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::testing::{queue, signature, signed};

    fn inner(folder: &Path) -> PathBuf {
        let inner = folder.join("step-1");
        std::fs::create_dir(&inner).unwrap();
        inner
    }

    #[test]
    fn a_folder_that_holds_nothing_but_signatures_is_emptied_before_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let inner = inner(folder.path());
        let [model, other] = signed(&queue, &inner, ["m.pt", "other.pt"]);
        for file in [&model, &other] {
            queue.removing(file);
            std::fs::remove_file(file).unwrap();
            queue.removing_folder(&inner);
            assert_eq!(signature(&model).exists(), file == &model);
        }
        std::fs::remove_dir(&inner).unwrap();
    }

    #[test]
    fn a_folder_with_a_note_in_it_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let inner = inner(folder.path());
        let [model] = signed(&queue, &inner, ["m.pt"]);
        std::fs::remove_file(&model).unwrap();
        std::fs::write(inner.join("b.sig"), b"a note").unwrap();
        queue.removing_folder(&inner);
        assert!(signature(&model).exists());
    }

    #[test]
    fn a_removal_that_cannot_succeed_stops_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let inner = inner(folder.path());
        let model = inner.join("m.pt");
        std::fs::write(&model, b"weights").unwrap();
        let checkpoint = crate::Checkpoint::observe(&model, "test", true, &[]).unwrap();
        let _nobody_signs = queue.turns.each_ref().map(|turn| turn.lock().unwrap());
        queue.push(
            queue.record(checkpoint.clone()),
            None,
            crate::jobs::Push::again(),
        );
        queue.removing_folder(&inner);
        assert!(queue.has(&checkpoint), "it is still to be signed");
        assert!(queue.lock().removals.is_empty());
    }
}
