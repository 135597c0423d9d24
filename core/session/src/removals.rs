//! Checkpoints that are removed. Hooks tell of it before it happens, and nobody tells whether it has.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use autosign_signing::read_signature;

use crate::Checkpoint;
use crate::jobs::{Removal, is_gone};
use crate::life::{NEVER, SOON, named};
use crate::published::Published;
use crate::told::Told;
use crate::worker::Queue;

impl Queue {
    /// `path` is about to be removed, with all below it. Nothing is published there from now on.
    pub(crate) fn removing(self: &Arc<Self>, path: &Path) {
        self.follow_copies();
        self.follow_moves();
        let path = named(path);
        let told = Told::new(&path, Instant::now());
        let mut state = self.lock();
        state.strays.told(told);
        state.scattered.retain(|group| !group.has_any_below(&path));
        let (below, groups) = (state.roots_below(&path), state.groups_with(&path));
        drop(state);
        if below.is_empty() {
            self.watch_stranger(&path);
        }
        self.end(&(&below | &groups));
        self.touched(&path);
    }

    /// Nothing is published at `roots` from now on.
    pub(crate) fn end(self: &Arc<Self>, roots: &BTreeSet<PathBuf>) {
        if roots.is_empty() {
            return;
        }
        let _order = self.publishing.at(roots.clone());
        let mut state = self.lock();
        let mut gone = Vec::new();
        for root in roots {
            gone.extend(state.take_all(root));
            if let Some(newest) = state.newest.remove(root) {
                newest.control.cancel();
                state.removals.push(Removal {
                    checkpoint: newest.checkpoint,
                    look_at: Instant::now() + NEVER,
                });
            }
            state.folders.remove(root);
        }
        for job in &gone {
            state.superseded(job);
        }
        state.look_at = Some(Instant::now() + SOON);
        drop(state);
        for job in &gone {
            job.control.cancel();
            self.end_superseded(job);
        }
        self.changed.notify_all();
    }

    /// The signature of a file that an earlier process saved, and this one is about to remove, goes with it.
    fn watch_stranger(&self, path: &Path) {
        let signature = autosign_signing::find_signature(path);
        if is_gone(&signature) || !path.is_file() {
            return;
        }
        let read = read_signature(&signature).ok().flatten();
        let observed = Checkpoint::observe(path, "", true, &[]).ok();
        if let (Some(bytes), Some(checkpoint)) = (read, observed) {
            let mut state = self.lock();
            state.published.insert(Published {
                root: path.to_path_buf(),
                checkpoint,
                signature,
                bytes,
            });
            state.look_at = Some(Instant::now() + SOON);
            drop(state);
            self.changed.notify_all();
        }
    }

    /// What was to be removed long before `now`, and is there as it was saved, is signed after all.
    pub(crate) fn follow_removals(self: &Arc<Self>, now: Instant) {
        for checkpoint in self.not_removed(Some(now)) {
            self.push_again(checkpoint);
        }
    }

    /// At the end of the program: the spool remembers what was to be removed and is still there. Returns how much that is.
    pub(crate) fn spool_not_removed(&self) -> usize {
        let left = self.not_removed(None);
        let count = left.len();
        for checkpoint in left {
            self.record_again(checkpoint);
        }
        count
    }

    /// Takes what is to be looked at by `now`, or all, and leaves out what is gone, is being removed, or was saved again.
    fn not_removed(&self, now: Option<Instant>) -> Vec<Checkpoint> {
        let mut checkpoints = self.lock().take_removals(now);
        checkpoints.retain(|checkpoint| checkpoint.is_unchanged() && !self.has(checkpoint));
        checkpoints
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::jobs::Push;
    use crate::{Config, Environment, Status};

    /// A queue that signs a folder when it is told to, and a folder in it.
    fn with_folder(root: &Path) -> Arc<Queue> {
        let settings = [
            (
                "MODEL_SIGNING_PRIVATE_KEY",
                "../signing/tests/keys/p256.pem",
            ),
            ("MODEL_SIGNING_SETTLE", "1h"),
        ];
        let (config, errors) = Config::read(&Environment::from_iter(settings).into());
        assert!(errors.is_empty());
        let queue = Queue::new(&config, None, Box::new(|_| ()));
        std::fs::write(root.join("weights"), b"w").unwrap();
        let checkpoint = Checkpoint::observe(root, "test", true, &[]).unwrap();
        let push = Push {
            counts: true,
            ..Push::again()
        };
        queue.push(queue.record(checkpoint), None, push);
        assert_eq!(queue.status().pending, 1);
        queue
    }

    fn idle(queue: &Arc<Queue>) -> Status {
        queue.hurry();
        assert!(queue.idle_within(Duration::from_secs(30)));
        queue.status()
    }

    #[test]
    fn what_is_there_long_after_its_removal_was_told_is_signed() {
        let folder = tempfile::tempdir().unwrap();
        let queue = with_folder(folder.path());
        queue.removing(folder.path());
        let now = Instant::now();
        queue.follow_removals(now + NEVER / 2);
        assert_eq!(idle(&queue).signed, 0, "the removal may go on");
        queue.follow_removals(now + NEVER);
        assert_eq!(idle(&queue).signed, 1);
        assert!(autosign_signing::signature_path(folder.path()).exists());
        assert!(queue.lock().removals.is_empty());
    }

    #[test]
    fn what_is_gone_or_saved_again_is_not_signed_for_it() {
        for again in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let queue = with_folder(folder.path());
            queue.removing(folder.path());
            if again {
                queue.begins(folder.path());
            } else {
                std::fs::remove_file(folder.path().join("weights")).unwrap();
            }
            queue.follow_removals(Instant::now() + NEVER);
            let status = idle(&queue);
            assert_eq!((status.signed, status.superseded), (0, 1));
            assert!(queue.lock().removals.is_empty());
        }
    }
}
