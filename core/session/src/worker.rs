//! The queue and the threads that empty it. They are Rust's own: Python starts no thread while it shuts down.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use autosign_signing::{Hashing, publish, retract};

use crate::signing::{Cancel, SignerSource, hashed};
use crate::spool::{Record, Spool};
use crate::{Config, Error, Event, Listener, OnError, Status};

/// A checkpoint on its way to a signature.
pub(crate) struct Job {
    id: u64,
    record: Record,
    spooled: Option<PathBuf>,
    cancel: Arc<Cancel>,
    /// Somebody waits for the outcome.
    awaited: bool,
    /// Saved by this process, not left by another one.
    own: bool,
}

/// What a signature is of, so that it can go when its checkpoint goes.
struct Published {
    root: PathBuf,
    signature: PathBuf,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    /// Jobs that could not be signed, to be tried again when the session is flushed.
    failed: Vec<Job>,
    running: usize,
    /// Root to the newest job for it: only that one may publish.
    newest: BTreeMap<PathBuf, (u64, Arc<Cancel>)>,
    outcomes: BTreeMap<u64, Result<(), Error>>,
    published: Vec<Published>,
    counts: Status,
    next_id: u64,
    has_worker: bool,
}

/// What the threads of one session share.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Held from the last look at `newest` to the rename, so that an older signature never lands on a newer one.
    publishing: Mutex<()>,
    signer: SignerSource,
    pub(crate) spool: Option<Spool>,
    pub(crate) listener: Listener,
    threads: Option<NonZeroUsize>,
    patient: bool,
    raise: bool,
    identity: Option<String>,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

enum Outcome {
    Signed(Published),
    Superseded,
}

impl Queue {
    pub(crate) fn new(config: &Config, spool: Option<Spool>, listener: Listener) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            publishing: Mutex::new(()),
            signer: SignerSource::new(config),
            spool,
            listener,
            threads: config.threads,
            patient: !config.saves_wait(),
            raise: config.on_error == OnError::Raise,
            identity: config.signer(),
        })
    }

    /// Takes in what this process has just saved, in the place of any older job for the same root; returns its number.
    pub(crate) fn push(
        self: &Arc<Self>,
        record: Record,
        spooled: Option<PathBuf>,
        awaited: bool,
    ) -> u64 {
        let root = record.checkpoint.root.clone();
        let mut state = self.lock();
        let mut events = Vec::new();
        if let Some((_, older)) = state.newest.get(&root) {
            older.turn();
        }
        let (queued, failed) = (
            take(&mut state.queue, &root),
            take(&mut state.failed, &root),
        );
        state.counts.failed -= failed.len();
        let id = state.enqueue(record, spooled, awaited, true);
        for job in queued.into_iter().chain(failed) {
            events.push(state.supersede(&job));
            if job.awaited {
                state.outcomes.insert(job.id, Ok(()));
            }
        }
        self.tell(state, &events);
        self.start_worker();
        id
    }

    /// Puts failed jobs back, and lets another thread help, of normal priority: somebody waits now.
    pub(crate) fn hurry(self: &Arc<Self>) {
        let mut state = self.lock();
        let again = std::mem::take(&mut state.failed);
        state.counts.failed -= again.len();
        state.queue.extend(again);
        let idle = state.queue.is_empty();
        drop(state);
        self.retract_orphans();
        if !idle {
            let queue = Arc::clone(self);
            let help = move || while queue.step(queue.every_core()) {};
            if spawn("autosign-flush", help.clone()).is_err() {
                help(); // no thread to be had: the caller does the work
            }
        }
        self.changed.notify_all();
    }

    /// Waits at most `patience` for an empty queue; whether it is.
    pub(crate) fn idle_within(&self, patience: Duration) -> bool {
        let busy = |state: &mut State| state.running > 0 || !state.queue.is_empty();
        let waited = self.changed.wait_timeout_while(self.lock(), patience, busy);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !busy(&mut state)
    }

    /// Waits at most `patience` for the outcome of job `id`, which is given out once.
    pub(crate) fn outcome_within(&self, id: u64, patience: Duration) -> Option<Result<(), Error>> {
        let pending = |state: &mut State| !state.outcomes.contains_key(&id);
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), patience, pending);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .outcomes
            .remove(&id)
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.lock();
        Status {
            pending: state.queue.len() + state.running,
            ..state.counts
        }
    }

    /// Queues what dead sessions with the same signer left behind; also what nobody was named for if `anybody`.
    /// Returns how many records are left for other signers.
    pub(crate) fn adopt(self: &Arc<Self>, anybody: bool) -> Result<usize, Error> {
        let Some(spool) = &self.spool else {
            return Ok(0);
        };
        let mut others = 0;
        for spooled in spool.list()? {
            if spooled.owned {
                continue;
            }
            let signer = &spooled.record.signer;
            if *signer == self.identity || (anybody && signer.is_none()) {
                let mut state = self.lock();
                if state.newest.contains_key(&spooled.record.checkpoint.root) {
                    Spool::remove(&spooled.path); // this process has saved it again since
                } else {
                    state.enqueue(spooled.record, Some(spooled.path), false, false);
                }
            } else {
                others += 1;
            }
        }
        Ok(others)
    }

    fn start_worker(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.has_worker {
            return;
        }
        state.has_worker = true;
        drop(state);
        let queue = Arc::clone(self);
        let work = move || {
            if queue.patient {
                yield_to_training();
                // Somebody who trains again has a reason to have the last run's checkpoints signed.
                let _ = queue.adopt(false);
            }
            loop {
                let threads = if queue.patient {
                    queue.threads.unwrap_or(NonZeroUsize::MIN)
                } else {
                    queue.every_core()
                };
                if !queue.step(threads) {
                    let empty = |state: &mut State| state.queue.is_empty();
                    drop(queue.changed.wait_while(queue.lock(), empty));
                }
            }
        };
        if spawn("autosign", work).is_err() {
            self.lock().has_worker = false; // the spool remembers, and `hurry` signs
        }
    }

    /// Does the next job with `threads` hashing threads; false where there is none.
    fn step(&self, threads: NonZeroUsize) -> bool {
        let mut state = self.lock();
        let Some(mut job) = state.queue.pop_front() else {
            return false;
        };
        state.running += 1;
        drop(state);

        let started = Instant::now();
        let root = job.record.checkpoint.root.clone();
        let result = catch_unwind(AssertUnwindSafe(|| self.sign(&mut job, threads)));
        let result = result.unwrap_or(Err(Error::Panicked { path: root.clone() }));

        let (id, awaited) = (job.id, job.awaited);
        let mut outcome = Ok(());
        let mut state = self.lock();
        let event = match result {
            Ok(Outcome::Signed(published)) => {
                let (signature, bytes) =
                    (published.signature.clone(), job.record.checkpoint.bytes());
                state.published.retain(|older| older.signature != signature);
                state.published.push(published);
                state.counts.signed += 1;
                state.close(&job);
                Some(Event::Signed {
                    root,
                    signature,
                    bytes,
                    took: started.elapsed(),
                })
            }
            Ok(Outcome::Superseded) => Some(state.supersede(&job)),
            Err(error) if awaited && self.raise => {
                state.fail(job, &error);
                outcome = Err(error); // whoever waits is told
                None
            }
            Err(error) => {
                let (news, spooled) = state.fail(job, &error);
                news.then_some(Event::Failed {
                    root,
                    error,
                    spooled,
                })
            }
        };
        self.tell(state, event.as_slice());
        self.retract_orphans();

        // Only now: who waits for an empty queue must find every line written.
        let mut state = self.lock();
        state.running -= 1;
        if awaited {
            state.outcomes.insert(id, outcome);
        }
        drop(state);
        self.changed.notify_all();
        true
    }

    fn sign(&self, job: &mut Job, threads: NonZeroUsize) -> Result<Outcome, Error> {
        let checkpoint = &job.record.checkpoint;
        let hashing = Hashing {
            threads,
            progress: job.cancel.as_ref(),
        };
        let Some(statement) = hashed(checkpoint, hashing)? else {
            return Ok(Outcome::Superseded);
        };
        let digest = statement.manifest().root_digest();
        if !job.record.is_of(&digest) {
            return Err(Error::Altered {
                path: checkpoint.root.clone(),
            });
        }
        job.record.digest = Some(digest.to_string());
        let bytes = self.signer.seal(&statement)?;
        let signature = checkpoint.signature();
        let _order = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if job.cancel.is_turned() || !checkpoint.is_unchanged() {
            return Ok(Outcome::Superseded);
        }
        publish(&signature, &bytes, true)?;
        Ok(Outcome::Signed(Published {
            root: checkpoint.root.clone(),
            signature,
            bytes,
        }))
    }

    /// Lets go of the state, then tells: whoever listens may block, and no save may wait for that.
    fn tell(&self, state: MutexGuard<'_, State>, events: &[Event]) {
        drop(state);
        self.changed.notify_all();
        for event in events {
            (self.listener)(event);
        }
    }

    /// Removes the signatures of checkpoints that are gone, as long as they are still the ones put there.
    fn retract_orphans(&self) {
        let orphans = take_orphans(&mut self.lock().published);
        for orphan in orphans {
            if std::fs::read(&orphan.signature).is_ok_and(|found| found == orphan.bytes) {
                // A signature that cannot be removed is stray, but true of what it signed.
                let _ = retract(&orphan.signature);
            }
        }
    }

    fn every_core(&self) -> NonZeroUsize {
        self.threads
            .unwrap_or_else(|| std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn enqueue(
        &mut self,
        record: Record,
        spooled: Option<PathBuf>,
        awaited: bool,
        own: bool,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let cancel = Arc::new(Cancel::default());
        self.newest
            .insert(record.checkpoint.root.clone(), (id, Arc::clone(&cancel)));
        self.queue.push_back(Job {
            id,
            record,
            spooled,
            cancel,
            awaited,
            own,
        });
        id
    }

    /// Keeps a job that could not be signed. Whether the reason is news, and whether the spool remembers the job.
    fn fail(&mut self, mut job: Job, error: &Error) -> (bool, bool) {
        let reason = error.to_string();
        let news = job.record.error.as_ref() != Some(&reason);
        let lost = matches!(error, Error::Altered { .. });
        job.record.error = Some(reason);
        job.awaited = false;
        match &job.spooled {
            Some(path) if lost => Spool::remove(path),
            // Where this fails, the record is still there as it was.
            Some(path) => drop(Spool::update(path, &job.record)),
            None => {}
        }
        let spooled = job.spooled.is_some() && !lost;
        self.counts.failed += 1;
        if lost {
            self.forget(&job);
        } else {
            self.failed.push(job);
        }
        (news, spooled)
    }

    fn supersede(&mut self, job: &Job) -> Event {
        self.counts.superseded += 1;
        self.close(job);
        let root = job.record.checkpoint.root.clone();
        // Not cancelled by a newer save of ours, and yet there.
        let unsigned = job.own && !job.cancel.is_turned() && root.exists();
        Event::Superseded { root, unsigned }
    }

    fn close(&mut self, job: &Job) {
        if let Some(path) = &job.spooled {
            Spool::remove(path);
        }
        self.forget(job);
    }

    fn forget(&mut self, job: &Job) {
        let root = &job.record.checkpoint.root;
        if self.newest.get(root).is_some_and(|(id, _)| *id == job.id) {
            self.newest.remove(root);
        }
    }
}

/// Removes the jobs for `root` from `jobs`.
fn take<C>(jobs: &mut C, root: &std::path::Path) -> Vec<Job>
where
    C: Default + IntoIterator<Item = Job> + Extend<Job>,
{
    let (taken, kept): (Vec<Job>, Vec<Job>) = std::mem::take(jobs)
        .into_iter()
        .partition(|job| job.record.checkpoint.root == root);
    jobs.extend(kept);
    taken
}

/// Signatures whose checkpoint is gone: trainers remove old checkpoints and know nothing of signatures.
fn take_orphans(published: &mut Vec<Published>) -> Vec<Published> {
    let gone = |one: &Published| {
        std::fs::symlink_metadata(&one.root)
            .is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound)
    };
    let (orphans, kept) = std::mem::take(published).into_iter().partition(gone);
    *published = kept;
    orphans
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
}

/// Lowers this thread, and those it starts, below whatever trains.
fn yield_to_training() {
    // On Linux the call is for one thread; elsewhere it would slow the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 19);
}
