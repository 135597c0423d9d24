//! Signatures whose checkpoint is gone. Whoever removes files has often listed their folder before, our signature among
//! them, and must find all that it has listed: else the removal fails, and the training with it. A signature without a file
//! does no harm. So it stays until nothing has been removed there for a while.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use autosign_signing::{Digest, read_signature, retract, tidy_hidden};
use serde::{Deserialize, Serialize};

use crate::folder_times::FolderTimes;
use crate::jobs::is_gone;
use crate::published::Published;
use crate::spool::Spool;
use crate::told::Told;
use crate::worker::Queue;

/// A signature goes when nothing has been removed beside it for so long.
pub(crate) const STILL: Duration = Duration::from_secs(10);
/// The same for somebody who waits until all is done, and only where this process itself has removed the checkpoint: it tells
/// of its other removals, too.
const STILL_FOR_WHO_WAITS: Duration = Duration::from_secs(1);
/// So long at most somebody waits for a folder to be left alone, beyond the time that this takes.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many removals are remembered, the last ones.
const REMEMBERED: usize = 4096;

/// A signature whose checkpoint is gone, as the spool remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stray {
    /// The checkpoint.
    pub(crate) root: PathBuf,
    pub(crate) signature: PathBuf,
    /// Digest of the signature, in hex: nothing else is ever removed.
    digest: String,
    /// How its folder looked when it was last known that something is removed there.
    pub(crate) seen: FolderTimes,
    /// When that was, in seconds since 1970.
    pub(crate) since: u64,
}

/// A stray signature that this process is going to remove.
#[derive(Clone)]
pub(crate) struct Watched {
    pub(crate) stray: Stray,
    /// Where the spool remembers it.
    pub(crate) record: Option<PathBuf>,
    /// Whether this process has said that it removes the checkpoint.
    pub(crate) told: bool,
    pub(crate) since: Instant,
}

/// The stray signatures of one session, and the removals that its process has told of. Touches no disk.
#[derive(Default)]
pub(crate) struct Strays {
    all: Vec<Watched>,
    told: VecDeque<Told>,
    /// Until then somebody waits for those that this process has told of, also for those that come only now.
    awaited: Option<Instant>,
    /// ... and for all others, too.
    all_awaited: bool,
}

impl Stray {
    /// It after the folder `from` was renamed to `to`; nothing where it was not in there.
    fn moved(self, from: &Path, to: &Path) -> Option<Self> {
        Some(Self {
            root: to.join(self.root.strip_prefix(from).ok()?),
            signature: to.join(self.signature.strip_prefix(from).ok()?),
            ..self
        })
    }

    /// The folder that it lies in, or in a hidden folder below.
    pub(crate) fn folder(&self) -> &Path {
        self.root.parent().unwrap_or(Path::new("/"))
    }
}

/// Whether the signature at `path` is still what was put there.
pub(crate) fn is_there(path: &Path, digest: &str) -> bool {
    let found = read_signature(path).ok().flatten();
    found.is_some_and(|found| Digest::of(&found).to_string() == digest)
}

impl Strays {
    /// A removal was told: whoever does it may go on to what lies beside it.
    pub(crate) fn told(&mut self, told: Told) {
        if self.told.len() == REMEMBERED {
            self.told.pop_front();
        }
        let beside = |watched: &&mut Watched| told.path.starts_with(watched.stray.folder());
        for watched in self.all.iter_mut().filter(beside) {
            watched.since = told.at;
        }
        self.told.push_back(told);
    }

    /// What was told of `path` has happened: if something is there again, it is something else.
    pub(crate) fn happened(&mut self, path: &Path) {
        let mut told = self.told.iter_mut().rev();
        if let Some(told) = told.find(|told| told.path == path) {
            told.has_happened = true;
        }
    }

    /// Somebody waits from `now` on until all is done.
    pub(crate) fn hurry(&mut self, now: Instant) {
        let still = if self.all_awaited {
            STILL
        } else {
            Duration::ZERO
        };
        self.awaited = Some(now + still + PATIENCE);
    }

    /// Whoever waits from now on wants those to be gone, too, that others have left.
    pub(crate) fn await_all(&mut self) {
        self.all_awaited = true;
    }

    /// Whether somebody waits for one of them.
    pub(crate) fn are_awaited(&self) -> bool {
        self.all.iter().any(|watched| self.is_awaited(watched))
    }

    fn is_awaited(&self, watched: &Watched) -> bool {
        self.awaited.is_some() && (watched.told || self.all_awaited)
    }

    /// Whether somebody waits for it, and this process tells of all removals beside it.
    fn is_hurried(&self, watched: &Watched) -> bool {
        self.awaited.is_some() && watched.told
    }

    fn due_at(&self, watched: &Watched) -> Instant {
        watched.since
            + if self.is_hurried(watched) {
                STILL_FOR_WHO_WAITS
            } else {
                STILL
            }
    }

    /// When one of them may be removed, at the soonest.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.all.iter().map(|watched| self.due_at(watched)).min()
    }

    /// Takes one in. Returns the record of an older one in the same place.
    pub(crate) fn take_in(&mut self, watched: Watched) -> Option<PathBuf> {
        let signature = &watched.stray.signature;
        let place = self
            .all
            .iter()
            .position(|older| older.stray.signature == *signature);
        let older = place.map(|place| self.all.swap_remove(place));
        self.all.push(watched);
        older.and_then(|older| older.record)
    }

    pub(crate) fn was_told(&self, root: &Path, now: Instant) -> bool {
        let mut told = self.told.iter();
        told.any(|told| !told.has_failed(now) && root.starts_with(&told.path))
    }

    /// Those to be looked at by `now`, and the removals that may still be going on.
    fn due(&mut self, now: Instant) -> (Vec<Watched>, Vec<Told>) {
        self.awaited = self.awaited.filter(|until| *until > now);
        let due = self.all.iter();
        let due = due.filter(|watched| self.due_at(watched) <= now);
        let due: Vec<_> = due.cloned().collect();
        if due.is_empty() {
            return (due, Vec::new());
        }
        self.told.retain(|told| !told.has_failed(now));
        (due, self.told.iter().cloned().collect())
    }

    /// Notes that something was removed beside the signature at `signature`, whose folder now looks like `seen`.
    fn disturbed(&mut self, signature: &Path, seen: FolderTimes, now: Instant) {
        let mut all = self.all.iter_mut();
        if let Some(watched) = all.find(|watched| watched.stray.signature == signature) {
            watched.stray.seen = seen;
            watched.since = watched.since.max(now);
        }
    }

    /// This session itself has changed `folder`, from `before` to `after`.
    fn changed(&mut self, folder: &Path, before: FolderTimes, after: FolderTimes, now: Instant) {
        for watched in &mut self.all {
            if watched.stray.folder() == folder && watched.stray.seen == before {
                watched.stray.seen = after;
                // Somebody else may have removed something between the two looks.
                watched.since = watched.since.max(now);
            }
        }
    }

    fn forget(&mut self, signature: &Path) {
        self.all.retain(|it| it.stray.signature != signature);
    }

    fn below(&self, path: &Path) -> Vec<Stray> {
        let strays = self.all.iter().map(|watched| &watched.stray);
        let below = strays.filter(|stray| stray.signature.starts_with(path));
        below.cloned().collect()
    }

    /// The signatures at and below `path`.
    pub(crate) fn signatures_below(&self, path: &Path) -> Vec<PathBuf> {
        let below = self.below(path).into_iter();
        below.map(|stray| stray.signature).collect()
    }

    pub(crate) fn has(&self, signature: &Path) -> bool {
        let mut all = self.all.iter();
        all.any(|watched| watched.stray.signature == signature)
    }

    /// The digest of the signature at `signature`.
    pub(crate) fn digest(&self, signature: &Path) -> Option<String> {
        let mut all = self.all.iter();
        let found = all.find(|watched| watched.stray.signature == signature)?;
        Some(found.stray.digest.clone())
    }
}

impl Queue {
    /// Keeps the signature of a checkpoint that is gone, until nothing is removed beside it any more.
    pub(crate) fn keep_stray(&self, published: &Published, now: Instant) {
        if is_gone(&published.signature) {
            return; // it has gone with the checkpoint
        }
        if let Some(stray) = self.stray(published) {
            let told = self.lock().strays.was_told(&stray.root, now);
            self.watch(stray, told, now);
        }
    }

    /// The folder `from` is about to be renamed to `to`, and the stray signatures in it with it.
    pub(crate) fn strays_move(&self, from: &Path, to: &Path, now: Instant) {
        let state = self.lock();
        let mut inside = state.strays.below(from);
        let published = state.published.below(from);
        let published = published.filter(|it| it.signature.starts_with(from));
        let published: Vec<_> = published.cloned().collect();
        drop(state);
        let gone = published.iter().filter(|it| is_gone(&it.root));
        inside.extend(gone.filter_map(|it| self.stray(it)));
        for stray in inside {
            if let Some(stray) = stray.moved(from, to) {
                self.watch(stray, true, now);
            }
        }
    }

    /// The signature of a checkpoint that is gone; nothing where its folder is gone, too.
    fn stray(&self, published: &Published) -> Option<Stray> {
        let folder = published.root.parent().unwrap_or(Path::new("/"));
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Some(Stray {
            root: published.root.clone(),
            signature: published.signature.clone(),
            digest: Digest::of(&published.bytes).to_string(),
            seen: self.times(folder)?,
            since: since.map_or(0, |since| since.as_secs()),
        })
    }

    pub(crate) fn times(&self, folder: &Path) -> Option<FolderTimes> {
        FolderTimes::of(folder, self.spool.as_ref().map(Spool::folder))
    }

    fn watch(&self, stray: Stray, told: bool, now: Instant) {
        // Without a record the signature is left behind if the process ends before its time, and does no harm.
        let spool = self.spool.as_ref();
        let record = spool.and_then(|spool| spool.put_stray(&stray).ok());
        let mut state = self.lock();
        let watched = Watched {
            told,
            stray,
            record,
            since: now,
        };
        let older = state.strays.take_in(watched);
        drop(state);
        if let Some(record) = older {
            Spool::remove(&record);
        }
        self.changed.notify_all();
    }

    /// How the folder of `root` looks, if there are stray signatures in it. What comes next is no removal.
    pub(crate) fn times_beside_strays(&self, root: &Path) -> Option<FolderTimes> {
        let folder = root.parent()?;
        let is_theirs = |watched: &Watched| watched.stray.folder() == folder;
        let state = self.lock();
        let any = state.strays.all.iter().any(is_theirs);
        drop(state);
        any.then(|| self.times(folder)).flatten()
    }

    /// This session has just put something into the folder of `root`, which looked like `before`.
    pub(crate) fn changed_beside_strays(
        &self,
        root: &Path,
        before: Option<FolderTimes>,
        now: Instant,
    ) {
        if let (Some(folder), Some(before)) = (root.parent(), before)
            && let Some(after) = self.times(folder)
        {
            self.lock().strays.changed(folder, before, after, now);
        }
    }

    /// Removes the stray signatures beside which nothing is removed any more at the time `now`.
    pub(crate) fn take_strays_away(&self, now: Instant) {
        let (due, mut going) = self.lock().strays.due(now);
        if due.is_empty() {
            return;
        }
        going.retain(Told::is_going_on);
        let mut folders = BTreeMap::new();
        for watched in due {
            let stray = &watched.stray;
            let folder = stray.folder();
            let looked = folders.entry(folder.to_path_buf());
            let seen = *looked.or_insert_with(|| self.times(folder));
            let is_hurried = self.lock().strays.is_hurried(&watched);
            let is_disturbed = going.iter().any(|told| told.path.starts_with(folder));
            match seen {
                // Who has removed the checkpoint is this process, and somebody waits: what it removes next is told.
                Some(seen) if is_disturbed || (!is_hurried && seen != stray.seen) => {
                    self.lock().strays.disturbed(&stray.signature, seen, now);
                }
                Some(_) => {
                    self.take_away(stray);
                    self.forget_stray(&watched);
                }
                None => self.forget_stray(&watched), // it has gone with its folder
            }
        }
        for (folder, before) in folders {
            if let (Some(before), Some(after)) = (before, self.times(&folder)) {
                self.lock().strays.changed(&folder, before, after, now);
            }
        }
        self.changed.notify_all();
    }

    fn take_away(&self, stray: &Stray) {
        let _order = self.publishing.at_one(&stray.root);
        // Else it was saved again, or signed by somebody else.
        if is_gone(&stray.root) && is_there(&stray.signature, &stray.digest) {
            remove(&stray.signature);
        }
    }

    fn forget_stray(&self, watched: &Watched) {
        if let Some(record) = &watched.record {
            Spool::remove(record);
        }
        self.lock().strays.forget(&watched.stray.signature);
    }
}

/// One that cannot be removed is left behind, and true of what it signed.
pub(crate) fn remove(signature: &Path) {
    let _ = retract(signature);
    tidy_hidden(signature);
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::testing::{queue, records, signature, signed};
    use crate::told::FAILED;

    #[test]
    fn what_a_removal_has_listed_stays_until_nothing_is_removed_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let [first, second] = signed(&queue, folder.path(), ["1.pt", "2.pt"]);
        let start = Instant::now();
        for (file, seconds) in [(&first, 0), (&second, 9)] {
            queue.removing(file);
            std::fs::remove_file(file).unwrap();
            queue.follow_checkpoints();
            queue.take_strays_away(start + Duration::from_secs(seconds));
        }
        assert_eq!(records(folder.path()), 2);
        // The second removal was seen when the first was looked at ...
        queue.take_strays_away(start + Duration::from_secs(11));
        queue.take_strays_away(start + Duration::from_secs(20));
        assert!(
            signature(&first).exists(),
            "it is listed, and may be removed next"
        );
        // ... and ten seconds later nothing else has been.
        queue.take_strays_away(start + Duration::from_secs(31));
        assert!(!signature(&first).exists() && !signature(&second).exists());
        assert_eq!(records(folder.path()), 0);
    }

    #[test]
    fn a_removal_that_takes_long_is_not_over() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let [first, second] = signed(&queue, folder.path(), ["1.pt", "2.pt"]);
        queue.removing(&first);
        std::fs::remove_file(&first).unwrap();
        queue.removing(&second); // the disk takes its time
        queue.follow_checkpoints();
        let now = Instant::now();
        queue.lock().strays.hurry(now);
        for seconds in [2, 4, 30] {
            queue.take_strays_away(now + Duration::from_secs(seconds));
            assert!(signature(&first).exists());
        }
        // A minute after it was told the second has not been removed and is not going to be.
        queue.take_strays_away(now + FAILED);
        assert!(!signature(&first).exists() && signature(&second).exists());
    }

    #[test]
    fn who_waits_for_all_waits_a_second_for_what_this_process_removes() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let [told, other] = signed(&queue, folder.path(), ["told.pt", "other.pt"]);
        std::fs::remove_file(&other).unwrap();
        queue.removing(&told);
        std::fs::remove_file(&told).unwrap();
        queue.hurry();
        assert!(queue.idle_within(Duration::from_secs(30)));
        assert!(!signature(&told).exists());
        assert!(
            signature(&other).exists(),
            "whoever removes it does not tell what is next"
        );
    }

    #[test]
    fn who_waits_waits_for_what_another_thread_finds_out_at_that_moment() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let [file] = signed(&queue, folder.path(), ["m.pt"]);
        let seen_by_the_worker = queue.lock().published.at(&file).unwrap().clone();
        queue.removing(&file);
        std::fs::remove_file(&file).unwrap();
        queue.hurry();
        queue.keep_stray(&seen_by_the_worker, Instant::now());
        assert!(queue.idle_within(Duration::from_secs(30)));
        assert!(!signature(&file).exists());
    }

    #[test]
    fn a_folder_that_was_removed_and_made_again_is_not_going_on() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let inner = folder.path().join("run");
        for _ in 0..3 {
            std::fs::create_dir(&inner).unwrap();
            let [gone] = signed(&queue, &inner, ["m.pt"]);
            queue.removing(&gone);
            std::fs::remove_file(&gone).unwrap();
            queue.follow_checkpoints();
            let now = Instant::now();
            queue.lock().strays.hurry(now);
            queue.take_strays_away(now + Duration::from_secs(2));
            assert!(!signature(&gone).exists());
            queue.removing(&inner);
            std::fs::remove_dir_all(&inner).unwrap();
        }
    }

    #[test]
    fn what_was_renamed_and_back_is_not_going_on() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let [gone, file] = signed(&queue, folder.path(), ["gone.pt", "m.pt"]);
        queue.removing(&gone);
        std::fs::remove_file(&gone).unwrap();
        let elsewhere = folder.path().join("elsewhere.pt");
        for (from, to) in [(&file, &elsewhere), (&elsewhere, &file)] {
            queue.moving(from, to, false);
            std::fs::rename(from, to).unwrap();
        }
        queue.follow_checkpoints();
        let now = Instant::now();
        queue.lock().strays.hurry(now);
        queue.take_strays_away(now + Duration::from_secs(2));
        assert!(!signature(&gone).exists());
    }

    #[test]
    fn a_signature_whose_folder_is_renamed_goes_there() {
        let folder = tempfile::tempdir().unwrap();
        let queue = queue(folder.path(), "one");
        let [inner, renamed] = ["step-1", "kept"].map(|name| folder.path().join(name));
        std::fs::create_dir(&inner).unwrap();
        let [model] = signed(&queue, &inner, ["m.pt"]);
        let moved = folder.path().join("m.pt");
        queue.moving(&model, &moved, false);
        std::fs::rename(&model, &moved).unwrap();
        queue.moving(&inner, &renamed, false);
        std::fs::rename(&inner, &renamed).unwrap();
        queue.hurry();
        assert!(queue.idle_within(Duration::from_secs(30)));
        assert!(signature(&moved).exists());
        assert!(!renamed.join("m.pt.sig").exists());
    }
}
