//! Folders that are about to be removed, which works only if they are empty.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use autosign_signing::{Digest, Placement, hidden_folders, read_signature, unprepare_hidden};

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
        if signatures_in(&path).is_none() {
            return; // it fails, whatever we do
        }
        self.removing(&path);
        // Listed again: a signature that was being published has come meanwhile, and none comes from now on.
        let Some(listed) = signatures_in(&path) else {
            return;
        };
        let is_ours = |signature: &PathBuf| {
            let known = self.lock().digest_of(&path, signature);
            known.is_some_and(|digest| is_there(signature, &digest))
        };
        empty(&path, &listed, is_ours);
    }

    /// A child that was forked from this session's process is about to remove the folder `path`. Signatures go first where nothing
    /// else is in it. No thread of the session is in the child, and where one of them had the lock, nothing happens.
    pub(crate) fn removing_folder_in_child(&self, path: &Path) {
        let path = named(path);
        let known = self.try_lock().map(|state| {
            let strays = state.strays.signatures_below(&path);
            (state.roots_below(&path), strays)
        });
        if let (Some((roots, strays)), Some(listed)) = (known, signatures_in(&path)) {
            let places =
                |root: &PathBuf| Placement::ALL.map(|placement| placement.signature_of(root));
            let known: BTreeSet<_> = roots.iter().flat_map(places).chain(strays).collect();
            empty(&path, &listed, |signature| {
                known.contains(signature) && read_signature(signature).is_ok_and(|it| it.is_some())
            });
        }
    }
}

/// All that is in the folder at `path`, hidden signatures too, if it may all be signatures. Nothing of what is no folder, or is one of
/// hidden signatures itself: what those are of is elsewhere.
fn signatures_in(path: &Path) -> Option<Vec<PathBuf>> {
    let is_folder = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_dir());
    let (hidden, inside) = hidden_folders(path);
    let mut around = path.ancestors().take(2);
    if !is_folder(path) || around.any(|it| it.file_name() == hidden.file_name()) {
        return None;
    }
    let mut listed = list(path);
    if listed.iter().any(|entry| !may_be_ours(entry)) {
        return None;
    }
    if is_folder(&hidden) && is_folder(&inside) && list(&hidden) == [inside.clone()] {
        listed.retain(|entry| *entry != hidden);
        listed.extend(list(&inside));
    }
    Some(listed)
}

/// Removes what was `listed` in the folder at `path`, if all of it is a signature that `may_go`.
fn empty(path: &Path, listed: &[PathBuf], may_go: impl Fn(&PathBuf) -> bool) {
    if listed.iter().all(may_go) {
        for signature in listed {
            remove(signature);
        }
        // Made when a save began, for a signature that never came.
        unprepare_hidden(&path.join("model"));
    }
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
    fn a_signature_that_comes_while_the_removal_is_told_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let inner = inner(folder.path());
        let [model] = signed(&queue, &inner, ["m.pt"]);
        let signature = signature(&model);
        let bytes = std::fs::read(&signature).unwrap();
        for file in [&model, &signature] {
            std::fs::remove_file(file).unwrap();
        }
        std::thread::scope(|scope| {
            let publishes = queue.publishing.at_one(&model);
            let removes = scope.spawn(|| queue.removing_folder(&inner));
            while !queue
                .lock()
                .strays
                .was_told(&model, std::time::Instant::now())
            {
                std::thread::yield_now();
            }
            std::fs::write(&signature, bytes).unwrap();
            drop(publishes);
            removes.join().unwrap();
        });
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
    fn signatures_of_what_is_there_stay() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let inner = inner(folder.path());
        let model = inner.join("m.pt");
        std::fs::write(&model, b"weights").unwrap();
        let checkpoint = crate::Checkpoint::observe(&model, "test", true, &[]).unwrap();
        let hidden = checkpoint.placed(Placement::Hidden);
        queue.push(queue.record(hidden), None, crate::jobs::Push::again());
        queue.hurry();
        assert!(queue.idle_within(std::time::Duration::from_secs(30)));
        let signature = Placement::Hidden.signature_of(&model);
        // As whoever prunes empty folders tries: these are not empty.
        let (outer, files) = hidden_folders(&inner);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&inner, &link).unwrap();
        let archive = folder.path().join("archive");
        std::fs::create_dir(&archive).unwrap();
        std::fs::copy(&signature, archive.join("m.pt.sig")).unwrap();
        std::os::unix::fs::symlink(&outer, archive.join(".signatures")).unwrap();
        for path in [&files, &outer, &inner, &link, &archive] {
            queue.removing_folder(path);
            queue.removing_folder_in_child(path);
            std::fs::remove_dir(path).unwrap_err();
        }
        assert!(signature.exists() && archive.join("m.pt.sig").exists());
    }

    #[test]
    fn a_forked_child_removes_what_its_parent_has_signed_or_is_going_to() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let inner = inner(folder.path());
        let [model] = signed(&queue, &inner, ["m.pt"]);
        std::fs::write(inner.join("other.pt.sig"), b"a note").unwrap();
        std::fs::remove_file(&model).unwrap();
        queue.removing_folder_in_child(&inner);
        assert!(signature(&model).exists(), "the folder holds a note");
        std::fs::remove_file(inner.join("other.pt.sig")).unwrap();
        let state = queue.lock().into_inner();
        queue.removing_folder_in_child(&inner);
        drop(state);
        assert!(signature(&model).exists(), "a thread has the lock for ever");
        queue.removing_folder_in_child(&inner);
        std::fs::remove_dir(&inner).unwrap();
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
