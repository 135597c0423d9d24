//! What becomes of a checkpoint after its save: written anew, grown, renamed, linked; removed: `removals.rs`. Hooks tell of
//! it before it happens; what has happened is then looked at.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use autosign_signing::{Manner, Placement, find_signature, publish, take_back_all};

use crate::jobs::{Job, Move, Push, is_gone};
use crate::lock::{Locked, touches_disk};
use crate::spool::{Record, Spool};
use crate::told::Told;
use crate::worker::Queue;
use crate::{Checkpoint, Error, Event};

/// So long after it was announced a rename or removal is looked at.
pub(crate) const SOON: Duration = Duration::from_millis(100);
/// What was announced and has not happened by then, will not.
pub(crate) const NEVER: Duration = Duration::from_secs(10);

impl Queue {
    /// `root` is about to be written anew. Its signature is taken away and nothing publishes another one before
    /// [`Queue::broken_off`], or the next job for it.
    pub(crate) fn begins(self: &Arc<Self>, root: &Path) {
        self.follow_copies(); // what was copied, linked or renamed a moment ago has happened
        self.follow_moves();
        let link = root.is_symlink().then(|| named(root));
        let root = settled(root);
        if let Some(link) = link {
            self.lock().begun.insert(link, root.clone());
        }
        self.touched_at(root.clone());
        self.lock().scattered.retain(|group| !group.has(&root));
        self.begins_at(root);
    }

    /// The same for a path without links on the way.
    pub(crate) fn begins_at(&self, root: PathBuf) {
        // Whoever publishes there at this moment has done so when this can be had, and nobody does so afterwards.
        let order = self.publishing.at_one(&root);
        let mut state = self.lock();
        if let Some(newest) = state.newest.get(&root) {
            newest.control.cancel();
        }
        state.removals.retain(|left| left.checkpoint.root != root);
        let parked = state.take_all(&root);
        if state.newest.contains_key(&root) || !parked.is_empty() {
            let overwriting = state.overwriting.entry(root.clone()).or_default();
            overwriting.parked.extend(parked);
        }
        drop(state);
        drop(order);
        let taken = take_back_all(&root).filter(|(_, bytes)| !bytes.is_empty());
        let Some((placement, bytes)) = taken else {
            return;
        };
        let state = self.lock();
        let signed = state.published.at(&root).filter(|p| p.bytes == bytes);
        let signed = signed.map(|published| published.checkpoint.clone());
        drop(state);
        let before = signed.or_else(|| Checkpoint::observe(&root, "", true, &[]).ok());
        let before = before.map(|before| before.placed(placement));
        if let Some(before) = before {
            let mut state = self.lock();
            state.overwriting.entry(root).or_default().before = Some((before, bytes));
        }
    }

    /// The save that began has failed: what was there before is still to be signed, if it is still there.
    pub(crate) fn broken_off(self: &Arc<Self>, root: &Path) {
        let name = named(root);
        let led = self.lock().begun.remove(&name);
        self.broken_off_at(&led.unwrap_or_else(|| settled(root)));
    }

    /// The save that began at `root` is complete. Where that was a link, and the link itself was replaced, what it led to is as it
    /// was.
    pub(crate) fn complete(self: &Arc<Self>, root: &Path) {
        if self.lock().begun.is_empty() {
            return;
        }
        let name = named(root);
        let led = self.lock().begun.remove(&name);
        if let Some(led) = led.filter(|led| *led != settled(root)) {
            self.broken_off_at(&led);
        }
    }

    pub(crate) fn broken_off_at(self: &Arc<Self>, root: &Path) {
        let Some(overwriting) = self.lock().overwriting.remove(root) else {
            return;
        };
        if let Some((before, bytes)) = overwriting.before
            && before.is_unchanged()
        {
            let manner = Manner::With(root);
            let _ = publish(&before.signature(), &bytes, manner);
        }
        let parked = overwriting.parked.into_iter();
        let (alive, gone): (Vec<_>, Vec<_>) =
            parked.partition(|job| job.record.checkpoint.is_unchanged());
        self.supersede(&gone);
        if !alive.is_empty() {
            for job in &alive {
                job.control.revive();
            }
            self.lock().queue.extend(alive);
            self.start_worker();
        }
        self.changed.notify_all();
    }

    /// Ends jobs that no thread is at: what they are for has been written over by this process.
    fn supersede(&self, gone: &[Job]) {
        for job in gone {
            job.control.cancel();
            self.lock().superseded(job);
            self.end_superseded(job);
        }
    }

    /// Keeps a job that was interrupted, because a helper does it faster or because its root is being written anew, which may
    /// fail. One that has ended is returned.
    pub(crate) fn put_back(&self, job: Job, busy: usize) -> Option<Job> {
        let cancelled = job.control.is_cancelled();
        let handed_over = job.control.take_handed_over() && !cancelled;
        let changed = cancelled && !job.record.checkpoint.is_unchanged();
        let root = &job.record.checkpoint.root;
        let mut state = self.lock();
        if !(handed_over || (cancelled && state.is_newest(&job))) {
            return Some(job);
        }
        if changed && !state.overwriting.contains_key(root) {
            state.newest.remove(root); // the save that failed has left something else there
            return Some(job);
        }
        state.running -= 1;
        state.busy -= busy;
        if let Some(overwriting) = state.overwriting.get_mut(root) {
            overwriting.parked.push(job);
        } else {
            job.control.revive();
            state.queue.push_front(job);
        }
        drop(state);
        self.changed.notify_all();
        None
    }

    /// What was saved at `root` is not signed by itself.
    pub(crate) fn overwritten(&self, root: &Path) {
        let root = settled(root);
        let gone = self.lock().overwritten(&root);
        self.supersede(&gone);
    }

    /// The folder of this process that `root`, just saved, is a part of, and who saved it.
    pub(crate) fn part_of(&self, root: &Path) -> Option<(PathBuf, String)> {
        let is_file = root.is_file();
        let state = self.lock();
        if state.newest.contains_key(root) || state.published.at(root).is_some() {
            return None; // it has a signature of its own, and keeps one
        }
        let mut above = root.ancestors().skip(1);
        let folder = above.find(|path| state.folders.contains_key(*path))?;
        let known = state.folders.get(folder)?;
        let inside = root.strip_prefix(folder).ok()?;
        let first = inside.components().next()?.as_os_str().to_str()?;
        let beside = inside.components().count() == 1 && is_file;
        (beside || known.parts.contains(first))
            .then(|| (folder.to_path_buf(), known.framework.clone()))
    }

    /// What in the folder `root` has a signature of its own, with it.
    pub(crate) fn apart(&self, root: &Path) -> Vec<PathBuf> {
        let state = self.lock();
        let roots = state.roots_below(root);
        let known = state.known_at(root);
        drop(state);
        let inside = roots.iter().filter(|path| *path != root);
        let own = inside.flat_map(|path| {
            let signature = |placement: Placement| placement.signature_of(path);
            std::iter::once(path.clone()).chain(Placement::ALL.map(signature))
        });
        let said = known.map(|(known, _)| known.folders_apart());
        own.chain(said.into_iter().flatten()).collect()
    }

    /// This process is about to write to `path`, or to remove it.
    pub(crate) fn touched(&self, path: &Path) {
        if !self.lock().folders.is_empty() {
            self.touched_at(settled(path));
        }
    }

    /// The same for a path without links on the way.
    fn touched_at(&self, path: PathBuf) {
        let mut state = self.lock();
        let Some(root) = path
            .ancestors()
            .find(|path| state.folders.contains_key(*path))
        else {
            return;
        };
        let root = root.to_path_buf();
        let settling = state
            .settling
            .iter_mut()
            .find(|job| job.record.checkpoint.root == root);
        if let Some(settles) = settling.and_then(|job| job.settles.as_mut()) {
            settles.touched.insert(path);
        } else if path != root
            && let Some(folder) = state.folders.get_mut(&root)
        {
            folder.touched.insert(path);
        }
    }

    /// Takes the folders that this process has changed since they were signed, as they are now. Those that somebody else
    /// has changed as well are left as they are: their signature does not fit them, and that is so.
    pub(crate) fn regrown(&self) -> Vec<Checkpoint> {
        let mut all = Vec::new();
        let mut state = self.lock();
        for (root, folder) in &mut state.folders {
            let touched = std::mem::take(&mut folder.touched);
            if !touched.is_empty() {
                all.push((root.clone(), touched));
            }
        }
        drop(state);
        let mut grown = Vec::new();
        for (root, mut touched) in all {
            let state = self.lock();
            let before = state.published.at(&root).map(|it| it.checkpoint.clone());
            drop(state);
            let apart = self.apart(&root);
            let now = before.as_ref().and_then(|it| it.again(&apart).ok());
            if let (Some(before), Some(now)) = (&before, now)
                && now != *before
            {
                touched.extend(apart);
                if before.grew_into(&now, &touched, false) {
                    grown.push(now.anew());
                }
            } else if let Some(folder) = self.lock().folders.get_mut(&root) {
                // What is to be written is not yet, or it cannot be looked at right now: there is a next time.
                folder.touched.append(&mut touched);
            }
        }
        grown
    }

    /// A folder that has been left alone, as it is now: it may have grown.
    pub(crate) fn settled(&self, job: &mut Job) {
        let Some(settles) = job.settles.take() else {
            return;
        };
        let before = &job.record.checkpoint;
        let apart = self.apart(&before.root);
        let Ok(now) = before.again(&apart) else {
            return;
        };
        if now != *before && before.grew_into(&now, &settles.touched, true) {
            job.record.checkpoint = now;
            self.renew(job);
        }
    }

    fn renew(&self, job: &Job) {
        if let Some(path) = &job.spooled {
            // Where this fails, the record is of the folder as it was first, and does not fit.
            let _ = Spool::update(path, &job.record);
        }
        let mut state = self.lock();
        if let Some(folder) = state.folders.get_mut(&job.record.checkpoint.root) {
            folder.parts = job.record.checkpoint.parts();
        }
        if state.is_newest(job)
            && let Some(newest) = state.newest.get_mut(&job.record.checkpoint.root)
        {
            newest.checkpoint = job.record.checkpoint.clone();
        }
    }

    /// `from` is about to be renamed to `to`, or linked there as well.
    pub(crate) fn moving(self: &Arc<Self>, from: &Path, to: &Path, linked: bool) {
        self.follow_copies();
        self.follow_moves();
        let (from, to) = (named(from), named(to));
        let now = Instant::now();
        if !linked {
            self.strays_move(&from, &to, now);
        }
        let told = (!linked).then(|| Told::new(&from, now));
        let mut state = self.lock();
        if let Some(told) = told {
            state.strays.told(told);
        }
        let mut roots = state.roots_below(&from);
        if roots.is_empty() && !linked && state.known_at(&to).is_some() {
            roots.insert(from.clone()); // whatever it is, it replaces a checkpoint
        }
        drop(state);
        if self.scatter(&from, &to, linked, now) {
            roots.remove(&from);
        }
        // Of what is gone already there is no rename.
        roots.retain(|root| !is_gone(root) && (!linked || root.is_file()));
        let mut replaced = Vec::new();
        let mut state = self.lock();
        let renamed = roots.clone();
        for root in roots {
            if let Ok(inside) = root.strip_prefix(&from) {
                let to = if inside.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(inside)
                };
                replaced.push(to.clone());
                let id = state.next_id();
                state.moves.push(Move {
                    id,
                    from: root,
                    to,
                    linked,
                    told: Instant::now(),
                });
            }
        }
        if !replaced.is_empty() {
            state.look_at = Some(Instant::now() + SOON);
        }
        drop(state);
        if !linked {
            // Whoever publishes there at this moment has done so when this can be had, and sees the rename afterwards.
            drop(self.publishing.at(renamed));
            // What was signed under that name is replaced, or is not, where it fails.
            for to in replaced {
                self.begins_at(to);
            }
        }
        self.changed.notify_all();
        // A group without one of its files, or with another in its place, is not what was saved.
        let state = self.lock();
        let (mut left, replaced) = (state.groups_with(&from), state.groups_with(&to));
        drop(state);
        left.retain(|root| !root.starts_with(&from)); // else it is followed
        self.end(&if linked { replaced } else { &left | &replaced });
        self.touched(&from);
        self.touched(&to);
    }

    /// Gives the checkpoints that have been renamed or linked their new names: what happens next is for those. Threads that
    /// are at it at once do not wait for each other, since one may be of low priority: each looks for itself, and the first
    /// that has looked changes the state.
    pub(crate) fn follow_moves(self: &Arc<Self>) {
        let moves = self.lock().moves.clone();
        let mut followed = false;
        for moved in moves {
            if (moved.linked || is_gone(&moved.from)) && !is_gone(&moved.to) {
                followed |= self.follow_move(&moved);
                continue;
            }
            let mut state = self.lock();
            if moved.told.elapsed() < NEVER {
                state.look_at.get_or_insert(Instant::now() + SOON);
            } else {
                state.end_move(&moved);
                drop(state);
                self.broken_off_at(&moved.to);
            }
        }
        if followed {
            self.start_worker();
        }
        self.follow_scattered(false);
    }

    /// Somebody wants all that can be signed: what has not been renamed by now is as it was. Where it is after all, it is followed
    /// as before.
    pub(crate) fn give_up_moves(self: &Arc<Self>) {
        let moves = self.lock().moves.clone();
        for moved in moves.iter().filter(|moved| !moved.linked) {
            self.broken_off_at(&moved.to);
        }
    }

    /// Whether there is something to sign under the new name.
    fn follow_move(&self, moved: &Move) -> bool {
        while self.lock().has_move(moved) {
            let known = self.lock().known_at(&moved.from);
            let (checkpoint, signed) = known.clone().unzip();
            let Some(new) = checkpoint.and_then(|known| known.moved(moved.to.clone())) else {
                let replaced = self.lock().happened(moved);
                self.supersede(&replaced);
                return false;
            };
            // The signature of a folder has moved with it, and names nothing outside of it.
            let keeps = signed == Some(true) && new.is_folder() && !moved.linked;
            let signature = keeps.then(|| new.signature());
            let again = (!keeps && new.is_unchanged()).then(|| self.record_again(new.clone()));

            let mut state = self.lock();
            if !state.has_move(moved) || state.known_at(&moved.from) != known {
                drop(state);
                if let Some((_, Some(path))) = again {
                    Spool::remove(&path);
                }
                continue; // another thread was faster, or it was signed meanwhile
            }
            let replaced = state.happened(moved);
            let mut gone = Vec::new();
            if !moved.linked {
                gone = state.renamed(&moved.from, &new, signature);
            }
            let taken = again
                .map(|(record, spooled)| self.take_in(&mut state, record, spooled, Push::again()));
            drop(state);
            self.supersede(&replaced);
            gone.iter().for_each(Job::close);
            return taken.map(|taken| self.end_older(&taken)).is_some();
        }
        false
    }

    /// Whether this very checkpoint is signed already, or is going to be.
    pub(crate) fn has(&self, checkpoint: &Checkpoint) -> bool {
        let state = self.lock();
        if let Some(awaits) = state.awaits(checkpoint) {
            return awaits;
        }
        let published = state.published.at(&checkpoint.root).cloned();
        drop(state);
        let Some(published) =
            published.filter(|published| published.checkpoint.is_again(checkpoint))
        else {
            return false;
        };
        let is_there = published.is_there();
        let state = self.lock();
        let signed = || is_there && state.published.at(&published.root) == Some(&published);
        state.awaits(checkpoint).unwrap_or_else(signed)
    }

    /// Queues a checkpoint that was saved some time ago.
    pub(crate) fn push_again(self: &Arc<Self>, checkpoint: Checkpoint) {
        let (record, spooled) = self.record_again(checkpoint);
        self.push(record, spooled, Push::again());
    }

    /// The record of what is saved now.
    pub(crate) fn record(&self, checkpoint: Checkpoint) -> Record {
        let (signer, now) = (self.identity.clone(), SystemTime::now());
        Record::new(checkpoint, signer, &self.run, now)
    }

    /// Puts a record into the spool, if there is one; where that fails, says so.
    pub(crate) fn spool_record(&self, record: &Record) -> Option<PathBuf> {
        match self.spool.as_ref()?.put(record) {
            Ok(path) => {
                self.spool_fails.store(false, Ordering::Relaxed);
                Some(path)
            }
            Err(error) => {
                // Once, until it works again: a full disk stays full for many saves.
                if !self.spool_fails.swap(true, Ordering::Relaxed) {
                    (self.listener)(&Event::SpoolFailed { error });
                }
                None
            }
        }
    }

    pub(crate) fn record_again(&self, checkpoint: Checkpoint) -> (Record, Option<PathBuf>) {
        let record = self.record(checkpoint);
        let spooled = self.spool_record(&record);
        (record, spooled)
    }

    /// Waits at most `patience` for what was saved at `root` to be signed: its signature, or why there is none; nothing where
    /// the time ran out.
    pub(crate) fn signature_within(
        &self,
        root: &Path,
        patience: Duration,
    ) -> Option<Result<PathBuf, Error>> {
        let root = settled(root);
        let is_it = |job: &Job| job.record.checkpoint.root == root;
        let open = |state: &mut crate::jobs::State| {
            let ended = state.failed.iter().chain(&state.hashed).any(is_it);
            state.newest.contains_key(&root) && !ended
        };
        let state = self.lock().into_inner();
        let waited = self.changed.wait_timeout_while(state, patience, open);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut state = Locked::new(state);
        if open(&mut state) {
            return None;
        }
        let failed = state.failed.iter().find(|job| is_it(job));
        let mut reason = failed.and_then(|job| job.record.error.clone());
        if reason.is_none() && state.hashed.iter().any(is_it) {
            reason = Some("it is hashed, and a flush is to sign it".to_owned());
        }
        drop(state);
        if let Some(reason) = reason {
            return Some(Err(Error::NotSigned { path: root, reason }));
        }
        let signature = find_signature(&root);
        Some(if is_gone(&signature) {
            Err(autosign_signing::Error::Unsigned { signature }.into())
        } else {
            Ok(signature)
        })
    }
}

/// `path` without links on the way, also where there is nothing yet.
fn settled(path: &Path) -> PathBuf {
    touches_disk();
    path.canonicalize().unwrap_or_else(|_| named(path))
}

/// The same for the name itself: what is removed or renamed is a link, and not what it leads to.
pub(crate) fn named(path: &Path) -> PathBuf {
    touches_disk();
    match (
        path.parent().and_then(|parent| parent.canonicalize().ok()),
        path.file_name(),
    ) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use crate::jobs::Push;
    use crate::{Config, Environment};

    #[test]
    fn a_rename_that_was_told_long_ago_has_failed() {
        let folder = tempfile::tempdir().unwrap();
        let key = "../signing/tests/keys/p256.pem";
        let settings = Environment::from_iter([("MODEL_SIGNING_PRIVATE_KEY", key)]);
        let queue = Queue::new(&Config::read(&settings.into()).0, None, Box::new(|_| ()));
        let [one, other] = ["one.pt", "other.pt"].map(|name| folder.path().join(name));
        for file in [&one, &other] {
            std::fs::write(file, b"weights").unwrap();
            let checkpoint = Checkpoint::observe(file, "test", true, &[]).unwrap();
            queue.push(queue.record(checkpoint), None, Push::again());
        }
        queue.hurry();
        assert!(queue.idle_within(Duration::from_secs(30)));
        let signature = autosign_signing::signature_path(&other);
        let signed = std::fs::read(&signature).unwrap();

        queue.moving(&one, &other, false);
        queue.follow_moves();
        assert!(!signature.exists(), "it may go on");
        let long_ago = Instant::now().checked_sub(NEVER).unwrap();
        queue.lock().moves[0].told = long_ago;
        queue.follow_moves();
        // Where the worker was faster, it is at it.
        let end = Instant::now() + Duration::from_secs(30);
        while is_gone(&signature) && Instant::now() < end {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read(&signature).unwrap(), signed);
        assert!(queue.lock().moves.is_empty());
    }
}
