//! Where the checkpoints of one session stand. [`State`] is behind a lock that saves take, so it never touches a disk: see
//! `lock.rs`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::copies::Copy;
use crate::lock::touches_disk;
use crate::published::{Signed, below};
use crate::scattered::Scattered;
use crate::signing::Control;
use crate::spool::{Record, Spool};
use crate::strays::Strays;
use crate::{Checkpoint, Error, Event, Status};

/// A checkpoint on its way to a signature.
pub(crate) struct Job {
    pub(crate) id: u64,
    pub(crate) record: Record,
    pub(crate) spooled: Option<PathBuf>,
    pub(crate) control: Arc<Control>,
    /// Somebody waits for the outcome.
    pub(crate) awaited: bool,
    /// Whoever waits is told why there is no signature, whatever the settings are.
    pub(crate) by_hand: bool,
    /// Saved by this process, not left by another one.
    pub(crate) own: bool,
    /// A folder that is signed once it has been left alone: when that will be.
    pub(crate) settles: Option<Settles>,
}

/// A folder that may still grow: other saves into it usually follow the first.
pub(crate) struct Settles {
    pub(crate) at: Instant,
    /// What this process itself has written to since.
    pub(crate) touched: BTreeSet<PathBuf>,
}

/// The newest job for a root.
pub(crate) struct Newest {
    id: u64,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) control: Arc<Control>,
    pub(crate) own: bool,
}

/// A root that is being written anew.
#[derive(Default)]
pub(crate) struct Overwriting {
    /// What was signed there, and its signature, which has been taken away.
    pub(crate) before: Option<(Checkpoint, Vec<u8>)>,
    /// Jobs for what was there.
    pub(crate) parked: Vec<Job>,
}

/// What belongs to a folder that was saved.
#[derive(Default)]
pub(crate) struct Folder {
    pub(crate) framework: String,
    /// Names at its top.
    pub(crate) parts: BTreeSet<String>,
    /// What this process has written to since it was signed.
    pub(crate) touched: BTreeSet<PathBuf>,
}

/// A checkpoint that is about to get another name, or one more.
#[derive(Clone)]
pub(crate) struct Move {
    pub(crate) id: u64,
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) linked: bool,
    pub(crate) told: Instant,
}

/// A checkpoint that was not signed yet when its removal was told.
pub(crate) struct Removal {
    pub(crate) checkpoint: Checkpoint,
    /// When it is looked at whether it is still there.
    pub(crate) look_at: Instant,
}

/// How a checkpoint is taken in.
#[derive(Clone, Copy)]
pub(crate) struct Push {
    /// Somebody waits for the outcome.
    pub(crate) awaited: bool,
    /// ... who asked for this very checkpoint: it is signed now, and a failure is told.
    pub(crate) by_hand: bool,
    /// It is a save, of which the settings may want each n-th only.
    pub(crate) counts: bool,
}

impl Push {
    /// Something that was saved before.
    pub(crate) fn again() -> Self {
        Self {
            awaited: false,
            by_hand: false,
            counts: false,
        }
    }
}

/// What taking a checkpoint in has led to.
pub(crate) struct TakenIn {
    /// The number of its job, if somebody waits for that.
    pub(crate) awaited: Option<u64>,
    /// Jobs for the same root.
    pub(crate) older: Vec<Job>,
    /// One that would have been signed if it had stayed the newest of its family.
    pub(crate) passed_over: Option<Job>,
}

/// Saves of which each n-th is signed: one framework's, in one folder.
pub(crate) type Family = (PathBuf, String);

fn family(checkpoint: &Checkpoint) -> Family {
    let folder = checkpoint.root.parent().unwrap_or(&checkpoint.root);
    (folder.to_path_buf(), checkpoint.framework.clone())
}

/// Every job, by what has become of it.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) queue: VecDeque<Job>,
    /// Jobs that could not be signed, to be tried again when the session is flushed.
    pub(crate) failed: Vec<Job>,
    /// Jobs of mode `offline` that are done here: their records are for a flush by another process.
    pub(crate) hashed: Vec<Job>,
    /// Saves so far, of each family.
    saves: BTreeMap<Family, usize>,
    /// The newest job of each family that is signed only if it stays the newest.
    pub(crate) held: BTreeMap<Family, Job>,
    /// Folders that may still grow.
    pub(crate) settling: Vec<Job>,
    /// What is being written anew, by root.
    pub(crate) overwriting: BTreeMap<PathBuf, Overwriting>,
    /// Links that are being saved to, and where they led when that began: a save may replace the link itself.
    pub(crate) begun: BTreeMap<PathBuf, PathBuf>,
    /// Folders that were saved: what belongs to them.
    pub(crate) folders: BTreeMap<PathBuf, Folder>,
    /// Renames and links that were announced.
    pub(crate) moves: Vec<Move>,
    /// Groups whose files are renamed one after the other.
    pub(crate) scattered: Vec<Scattered>,
    /// Copies that are being made.
    pub(crate) copies: Vec<Copy>,
    /// Removals that may fail.
    pub(crate) removals: Vec<Removal>,
    /// Signatures whose checkpoint is gone.
    pub(crate) strays: Strays,
    /// When something may have happened to what was signed.
    pub(crate) look_at: Option<Instant>,
    /// Not before then all of it is looked at again.
    pub(crate) looks_again: Option<Instant>,
    pub(crate) running: usize,
    /// Root to the newest job for it: only that one may publish.
    pub(crate) newest: BTreeMap<PathBuf, Newest>,
    /// A worker looks for the records of other processes.
    pub(crate) adopting: bool,
    /// Records of other processes that have become jobs.
    pub(crate) adopted: BTreeSet<PathBuf>,
    pub(crate) outcomes: BTreeMap<u64, Result<(), Error>>,
    pub(crate) published: Signed,
    pub(crate) counts: Status,
    next_id: u64,
    pub(crate) workers: usize,
    /// Workers with a job.
    pub(crate) busy: usize,
    /// Threads that empty the queue for somebody who waits; workers leave it to them.
    pub(crate) helpers: usize,
    /// What a worker hashes.
    pub(crate) at_work: Option<Arc<Control>>,
}

impl Job {
    /// Removes its record from the spool.
    pub(crate) fn close(&self) {
        if let Some(path) = &self.spooled {
            Spool::remove(path);
        }
    }

    /// Writes to its record why it could not be signed; whether that was not known before.
    pub(crate) fn note(&mut self, error: &Error) -> bool {
        let reason = error.to_string();
        if self.record.error.as_ref() == Some(&reason) {
            return false;
        }
        self.record.error = Some(reason);
        if let Some(path) = &self.spooled {
            // Where this fails, the record is still there as it was.
            let _ = Spool::update(path, &self.record);
        }
        true
    }

    /// It is of no use any more: it was cancelled, or what lies there is not what was saved.
    pub(crate) fn superseded(&self) -> Event {
        touches_disk();
        let root = self.record.checkpoint.root.clone();
        let unsigned = self.own && !self.control.is_cancelled() && root.exists();
        Event::Superseded {
            root,
            framework: self.record.checkpoint.framework.clone(),
            unsigned,
        }
    }

    /// A newer one of its family came, and it was none of those that are signed.
    pub(crate) fn passed_over(&self) -> Event {
        Event::PassedOver {
            root: self.record.checkpoint.root.clone(),
            framework: self.record.checkpoint.framework.clone(),
            setting: "MODEL_SIGNING_EVERY",
        }
    }
}

impl State {
    pub(crate) fn next_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Takes in what was saved, in the place of any older job for the same root. `settles` is for a folder that may grow.
    pub(crate) fn take_in(
        &mut self,
        record: Record,
        spooled: Option<PathBuf>,
        push: Push,
        every: NonZeroUsize,
        settles: Option<Settles>,
    ) -> TakenIn {
        let root = record.checkpoint.root.clone();
        let family = family(&record.checkpoint);
        self.note_folder(&record.checkpoint);
        if let Some(older) = self.newest.get(&root) {
            older.control.cancel();
        }
        let mut older = self.take_all(&root);
        older.extend(self.overwriting.remove(&root).unwrap_or_default().parked);
        let due = !push.counts || push.by_hand || self.is_due(&family, every);
        let passed_over = if push.counts {
            self.held.remove(&family)
        } else {
            None
        };
        let mut job = self.job(record, spooled, push.awaited && due, true);
        job.by_hand = push.by_hand;
        let awaited = job.awaited.then_some(job.id);
        if !due {
            self.held.insert(family, job);
        } else if settles.is_some() {
            job.settles = settles;
            self.settling.push(job);
        } else {
            self.queue.push_back(job);
        }
        for job in &older {
            self.superseded(job);
        }
        if let Some(job) = &passed_over {
            self.forget(job);
        }
        TakenIn {
            awaited,
            older,
            passed_over,
        }
    }

    /// Remembers what belongs to a folder.
    fn note_folder(&mut self, checkpoint: &Checkpoint) {
        let root = &checkpoint.root;
        // What is saved into a folder that is signed as a whole changes that folder.
        if let Some(outer) = root
            .ancestors()
            .skip(1)
            .find(|path| self.folders.contains_key(*path))
            .map(Path::to_path_buf)
            && let Some(outer) = self.folders.get_mut(&outer)
        {
            outer.touched.insert(root.clone());
        }
        if checkpoint.is_folder() {
            let folder = Folder {
                framework: checkpoint.framework.clone(),
                parts: checkpoint.parts(),
                touched: BTreeSet::new(),
            };
            self.folders.insert(root.clone(), folder);
        }
    }

    /// What is at `root`, and whether it is signed.
    pub(crate) fn known_at(&self, root: &Path) -> Option<(Checkpoint, bool)> {
        if let Some(newest) = self.newest.get(root) {
            return Some((newest.checkpoint.clone(), false));
        }
        let published = self.published.at(root)?;
        Some((published.checkpoint.clone(), true))
    }

    /// Removes the removals that are to be looked at by `now`; all where it is nothing.
    pub(crate) fn take_removals(&mut self, now: Option<Instant>) -> Vec<Checkpoint> {
        let is_due = |removal: &Removal| now.is_none_or(|now| removal.look_at <= now);
        let (due, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.removals)
            .into_iter()
            .partition(is_due);
        self.removals = left;
        due.into_iter().map(|removal| removal.checkpoint).collect()
    }

    /// Whether it was told that `root` is renamed, and that has not been seen yet.
    pub(crate) fn is_moving(&self, root: &Path) -> bool {
        let mut moves = self.moves.iter();
        moves.any(|moved| !moved.linked && moved.from == root)
    }

    /// Whether `moved` is still to be followed.
    pub(crate) fn has_move(&self, moved: &Move) -> bool {
        self.moves.iter().any(|other| other.id == moved.id)
    }

    /// What was at `root` has been written over. Returns the jobs for it.
    pub(crate) fn overwritten(&mut self, root: &Path) -> Vec<Job> {
        let gone = self.overwriting.remove(root).unwrap_or_default().parked;
        // One that a thread is at is not to begin again.
        let newest = self.newest.get(root);
        if newest.is_some_and(|newest| newest.control.is_cancelled()) {
            self.newest.remove(root);
        }
        gone
    }

    /// `moved` has been followed, or will not happen.
    pub(crate) fn end_move(&mut self, moved: &Move) {
        self.moves.retain(|other| other.id != moved.id);
    }

    /// `moved` has happened. Returns the jobs for what it has replaced; what is linked replaces nothing.
    pub(crate) fn happened(&mut self, moved: &Move) -> Vec<Job> {
        self.end_move(moved);
        if moved.linked {
            return Vec::new();
        }
        self.strays.happened(&moved.from);
        self.overwritten(&moved.to)
    }

    /// What was at `from` is `new` now, and its signature, if it came along, is at `signature`. Else returns the jobs for it.
    pub(crate) fn renamed(
        &mut self,
        from: &Path,
        new: &Checkpoint,
        signature: Option<PathBuf>,
    ) -> Vec<Job> {
        if let Some(folder) = self.folders.remove(from) {
            self.folders.insert(new.root.clone(), folder);
        }
        if let Some(signature) = signature {
            self.published.renamed(from, new, signature);
            return Vec::new();
        }
        if let Some(newest) = self.newest.remove(from) {
            newest.control.cancel();
        }
        let gone = self.take_all(from);
        for job in &gone {
            self.let_go(job);
        }
        gone
    }

    /// A new job, the newest for its root.
    pub(crate) fn job(
        &mut self,
        record: Record,
        spooled: Option<PathBuf>,
        awaited: bool,
        own: bool,
    ) -> Job {
        let id = self.next_id();
        let control = Arc::new(Control::default());
        let newest = Newest {
            id,
            checkpoint: record.checkpoint.clone(),
            control: Arc::clone(&control),
            own,
        };
        self.newest.insert(record.checkpoint.root.clone(), newest);
        Job {
            id,
            record,
            spooled,
            control,
            awaited,
            by_hand: false,
            own,
            settles: None,
        }
    }

    /// Whether there is something that somebody may wait for.
    pub(crate) fn is_busy(&self) -> bool {
        let open = self.running > 0 || !self.queue.is_empty() || !self.copies.is_empty();
        open || self.adopting || self.strays.are_awaited()
    }

    /// Queues the folders that have been left alone until `now`; all of them where it is nothing.
    pub(crate) fn ripen(&mut self, now: Option<Instant>) {
        let is_ripe = |job: &Job| {
            let at = job.settles.as_ref().map(|settles| settles.at);
            now.zip(at).is_none_or(|(now, at)| at <= now)
        };
        let (ripe, green): (Vec<Job>, Vec<Job>) = std::mem::take(&mut self.settling)
            .into_iter()
            .partition(is_ripe);
        self.settling = green;
        self.queue.extend(ripe);
    }

    /// When there is something to do that is not in the queue yet.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        let settles = self.settling.iter().filter_map(|job| job.settles.as_ref());
        let removals = self.removals.iter().map(|removal| removal.look_at);
        let looks = settles.map(|settles| settles.at).chain(removals);
        let looks = looks.chain(self.strays.next_look());
        looks.chain(self.look_at).min()
    }

    /// Whether `checkpoint` is the one that is going to be signed at its root; nothing where none is.
    pub(crate) fn awaits(&self, checkpoint: &Checkpoint) -> Option<bool> {
        let newest = self.newest.get(&checkpoint.root)?;
        Some(newest.own && newest.checkpoint.is_again(checkpoint) && !newest.control.is_cancelled())
    }

    /// Whether `job` is the newest for its root.
    pub(crate) fn is_newest(&self, job: &Job) -> bool {
        let newest = self.newest.get(&job.record.checkpoint.root);
        newest.is_some_and(|newest| newest.id == job.id)
    }

    /// Removes every job for `root` that no thread is at, wherever it stands.
    pub(crate) fn take_all(&mut self, root: &Path) -> Vec<Job> {
        let mut taken = take(&mut self.failed, root);
        self.counts.failed -= taken.len();
        taken.extend(take(&mut self.queue, root));
        taken.extend(take(&mut self.hashed, root));
        taken.extend(take(&mut self.settling, root));
        let of_root = |job: &Job| job.record.checkpoint.root == root;
        let families: Vec<_> = self
            .held
            .iter()
            .filter(|(_, job)| of_root(job))
            .map(|(family, _)| family.clone())
            .collect();
        taken.extend(
            families
                .iter()
                .filter_map(|family| self.held.remove(family)),
        );
        taken
    }

    /// Every root at or below `path` that is or was to be signed by this process.
    pub(crate) fn roots_below(&self, path: &Path) -> BTreeSet<PathBuf> {
        let published = self.published.below(path).map(|it| &it.root);
        let newest = below(&self.newest, path).map(|(root, _)| root);
        newest.chain(published).cloned().collect()
    }

    /// The groups that are to be signed and have a file at or below `path`.
    pub(crate) fn groups_with(&self, path: &Path) -> BTreeSet<PathBuf> {
        let lists = |newest: &&Newest| newest.checkpoint.lists(path);
        let groups = self.newest.values().filter(lists);
        groups
            .map(|newest| newest.checkpoint.root.clone())
            .collect()
    }

    /// Whether a save of `family`, which is now counted, is one of those that are signed in any case.
    pub(crate) fn is_due(&mut self, family: &Family, every: NonZeroUsize) -> bool {
        if every == NonZeroUsize::MIN {
            return true;
        }
        let saves = self.saves.entry(family.clone()).or_default();
        *saves += 1;
        saves.is_multiple_of(every.get())
    }

    pub(crate) fn signed(&mut self, job: &Job) {
        self.counts.signed += 1;
        self.forget(job);
    }

    pub(crate) fn superseded(&mut self, job: &Job) {
        self.counts.superseded += 1;
        self.let_go(job);
        self.forget(job);
    }

    /// Whoever still waits for `job`, which no thread was at, has nothing to wait for.
    fn let_go(&mut self, job: &Job) {
        if job.awaited {
            self.outcomes.insert(job.id, Ok(()));
        }
    }

    /// Keeps a job for another try, unless its checkpoint is lost, or was removed meanwhile: then gives the job back.
    pub(crate) fn failed(&mut self, job: Job, lost: bool) -> Option<Job> {
        if job.control.is_cancelled() && !self.is_newest(&job) {
            self.superseded(&job);
            return Some(job);
        }
        self.counts.failed += 1;
        if lost {
            self.forget(&job);
        } else {
            self.failed.push(job);
        }
        None
    }

    /// Keeps a job that is done here, unless a newer one came meanwhile: then gives it back.
    pub(crate) fn hashed(&mut self, job: Job) -> Option<Job> {
        if job.control.is_cancelled() {
            self.superseded(&job);
            return Some(job);
        }
        self.hashed.push(job);
        None
    }

    pub(crate) fn forget(&mut self, job: &Job) {
        if self.is_newest(job) {
            self.newest.remove(&job.record.checkpoint.root);
        }
    }
}

/// Removes the jobs for `root` from `jobs`.
pub(crate) fn take<C>(jobs: &mut C, root: &Path) -> Vec<Job>
where
    C: Default + IntoIterator<Item = Job> + Extend<Job>,
    for<'a> &'a C: IntoIterator<Item = &'a Job>,
{
    let of_root = |job: &Job| job.record.checkpoint.root.as_os_str() == root.as_os_str();
    // Thousands may wait, and nearly always none is for this root.
    if !(&*jobs).into_iter().any(of_root) {
        return Vec::new();
    }
    let (taken, kept): (Vec<Job>, Vec<Job>) = std::mem::take(jobs).into_iter().partition(of_root);
    jobs.extend(kept);
    taken
}

/// Whether nothing is at `root` any more, as far as can be told.
pub(crate) fn is_gone(root: &Path) -> bool {
    touches_disk();
    std::fs::symlink_metadata(root).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
}
