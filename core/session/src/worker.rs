//! The queue and the threads that empty it. They are Rust's own: Python starts no thread while it shuts down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use autosign_signing::Error as SigningError;

use crate::jobs::{Job, Push, Settles, State, TakenIn, is_gone};
use crate::lock::Locked;
use crate::publishing::Publishing;
use crate::run::Run;
use crate::session::SLICE;
use crate::signing::SignerSource;
use crate::spool::{Record, Spool};
use crate::thread::{spawn, yield_to_training};
use crate::{Config, Error, Event, Listener, Mode, OnError, Status};

/// A keyless signature is seconds of waiting, above all for a log that answers many at once as fast as one.
const KEYLESS_WIDTH: usize = 8;

/// What the threads of one session share.
pub(crate) struct Queue {
    state: Mutex<State>,
    pub(crate) changed: Condvar,
    /// Held from the last look at `newest` to the rename, so that an older signature never lands on a newer one.
    pub(crate) publishing: Publishing,
    /// Held while hashing: workers take turns, and so do helpers. What they do at once is wait for services.
    pub(crate) turns: [Mutex<()>; 2],
    /// Workers at most, and helpers for one who waits.
    width: usize,
    pub(crate) signer: Arc<SignerSource>,
    pub(crate) spool: Option<Spool>,
    pub(crate) listener: Listener,
    threads: Option<NonZeroUsize>,
    every: NonZeroUsize,
    /// Hashes only, and leaves records for a flush by another process.
    pub(crate) offline: bool,
    patient: bool,
    raise: bool,
    settle: Duration,
    /// Whether the spool could not be written to, which has been said.
    pub(crate) spool_fails: AtomicBool,
    /// Whether it was said that signatures are written in place.
    pub(crate) in_place: AtomicBool,
    pub(crate) identity: Option<String>,
    pub(crate) run: Run,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").finish_non_exhaustive()
    }
}

/// Who does a job: a thread that lives as long as the process, of low priority unless saves wait for it, or one of
/// normal priority that somebody waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Helper,
    Worker,
}

pub(crate) enum Outcome {
    Failed {
        lost: bool,
    },
    Hashed,
    Signed {
        signature: PathBuf,
        told: Vec<Event>,
    },
    Superseded,
}

impl Queue {
    pub(crate) fn new(config: &Config, spool: Option<Spool>, listener: Listener) -> Arc<Self> {
        let offline = config.mode == Mode::Offline;
        Arc::new(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            publishing: Publishing::default(),
            turns: Default::default(),
            width: if offline || config.signs_with_key() {
                1
            } else {
                KEYLESS_WIDTH
            },
            signer: Arc::new(SignerSource::new(config)),
            spool,
            listener,
            threads: config.threads,
            every: config.selection.every,
            offline,
            patient: !config.saves_wait(),
            raise: config.on_error == OnError::Raise,
            settle: config.settle,
            spool_fails: AtomicBool::new(false),
            in_place: AtomicBool::new(false),
            identity: config.signer(),
            run: Run::new(config.run.clone(), config.spool.clone()),
        })
    }

    /// Takes in what this process has just saved, in the place of any older job for the same root. Returns the number of
    /// the job if it is to be waited for.
    pub(crate) fn push(
        self: &Arc<Self>,
        record: Record,
        spooled: Option<PathBuf>,
        push: Push,
    ) -> Option<u64> {
        let taken = self.take_in(&mut self.lock(), record, spooled, push);
        let awaited = self.end_older(&taken);
        self.start_worker();
        awaited
    }

    /// [`Queue::push`] but for what the disk and others have to do with it, which [`Queue::end_older`] does.
    pub(crate) fn take_in(
        &self,
        state: &mut State,
        record: Record,
        spooled: Option<PathBuf>,
        push: Push,
    ) -> TakenIn {
        let grows = self.patient && !push.by_hand && push.counts && record.checkpoint.is_folder();
        let settles = grows && !self.settle.is_zero();
        let settles = settles.then(|| Settles {
            at: Instant::now() + self.settle,
            touched: BTreeSet::new(),
        });
        state.take_in(record, spooled, push, self.every, settles)
    }

    /// Ends the jobs that are not to be done any more. Returns the number of the new one, if it is to be waited for.
    pub(crate) fn end_older(&self, taken: &TakenIn) -> Option<u64> {
        for job in &taken.older {
            self.end_superseded(job);
        }
        if let Some(job) = &taken.passed_over {
            job.close();
            (self.listener)(&job.passed_over());
        }
        self.changed.notify_all();
        taken.awaited
    }

    /// Puts failed and held jobs back, and lets another thread help, of normal priority: somebody waits now.
    pub(crate) fn hurry(self: &Arc<Self>) {
        self.follow_copies();
        self.follow_moves();
        self.give_up_moves();
        self.follow_scattered(true);
        let mut state = self.lock();
        let again = std::mem::take(&mut state.failed);
        state.counts.failed -= again.len();
        state.queue.extend(again);
        let last = std::mem::take(&mut state.held);
        state.queue.extend(last.into_values());
        state.ripen(None);
        let has_saved = state.workers > 0;
        drop(state);
        self.follow_checkpoints();
        let now = Instant::now();
        self.follow_removals(now);
        self.lock().strays.hurry(now);
        self.take_strays_away(now);
        for checkpoint in self.regrown() {
            self.push_again(checkpoint);
        }
        if has_saved && !self.patient {
            // What a patient worker does first; here no save may wait for it.
            self.adopt_own();
        }
        let state = self.lock();
        if state.at_work.is_none() && state.queue.is_empty() && !state.adopting {
            return;
        }
        if let Some(control) = state.at_work.as_ref().filter(|_| self.patient) {
            control.hand_over();
        }
        let jobs = state.queue.len() + usize::from(state.at_work.is_some());
        drop(state);
        for _ in 0..jobs.clamp(1, self.width) {
            self.lock().helpers += 1;
            let queue = Arc::clone(self);
            let help = move || queue.help();
            if spawn("autosign-flush", help.clone()).is_err() {
                help(); // no thread to be had: the caller does the work
                break;
            }
        }
    }

    /// Waits at most `patience` until nothing is to be done any more; whether that is so.
    pub(crate) fn idle_within(self: &Arc<Self>, patience: Duration) -> bool {
        let end = Instant::now().checked_add(patience);
        loop {
            let now = Instant::now();
            self.follow_copies();
            self.take_strays_away(now);
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(now));
            let busy = |state: &mut State| state.is_busy();
            let state = self.lock().into_inner();
            // Whoever waits takes stray signatures away: the worker may be at a large file, or there may be none.
            let waited = self
                .changed
                .wait_timeout_while(state, left.min(SLICE), busy);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            let is_busy = Locked::new(state).is_busy();
            if !is_busy || left <= SLICE {
                return !is_busy;
            }
        }
    }

    /// Waits at most `patience` for the outcome of job `id`, which is given out once.
    pub(crate) fn outcome_within(&self, id: u64, patience: Duration) -> Option<Result<(), Error>> {
        let pending = |state: &mut State| !state.outcomes.contains_key(&id);
        let state = self.lock().into_inner();
        let waited = self.changed.wait_timeout_while(state, patience, pending);
        waited
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .outcomes
            .remove(&id)
    }

    pub(crate) fn status(&self) -> Status {
        let state = self.lock();
        Status {
            pending: state.queue.len() + state.held.len() + state.settling.len() + state.running,
            spooled: state.hashed.len(),
            ..state.counts
        }
    }

    /// Queues what dead sessions left behind for a signer that `takes` takes, or for none. Returns how many records are left
    /// for each other signer.
    pub(crate) fn adopt(
        self: &Arc<Self>,
        takes: impl Fn(Option<&str>) -> bool,
    ) -> Result<BTreeMap<String, usize>, Error> {
        let mut others = BTreeMap::new();
        let Some(spool) = &self.spool else {
            return Ok(others);
        };
        self.adopt_strays(Instant::now(), SystemTime::now());
        for mut spooled in spool.list()? {
            if spooled.owned {
                continue;
            }
            if self.offline && spooled.record.digest.is_some() {
                continue; // there is nothing left to do here
            }
            // What another process was told is news to the owner of this one.
            spooled.record.error = None;
            let signer = spooled.record.signer.as_deref();
            if takes(signer) {
                let root = &spooled.record.checkpoint.root;
                let mut state = self.lock();
                if state.newest.get(root).is_some_and(|newest| newest.own) {
                    drop(state);
                    Spool::remove(&spooled.path); // this process has saved it again since
                } else if state.adopted.insert(spooled.path.clone()) {
                    // Of several records for one root, left by several processes, one at most fits what is there.
                    let job = state.job(spooled.record, Some(spooled.path), false, false);
                    state.queue.push_back(job);
                }
            } else if let Some(signer) = signer {
                *others.entry(signer.to_owned()).or_default() += 1;
            }
        }
        Ok(others)
    }

    /// The same for what is this signer's own.
    fn adopt_own(self: &Arc<Self>) {
        let _ = self.adopt(|signer| signer == self.identity.as_deref());
    }

    pub(crate) fn start_worker(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.workers >= self.width {
            return;
        }
        state.workers += 1;
        let adopts = state.workers == 1 && self.patient;
        // Whoever waits from now on waits for what it finds, too.
        state.adopting |= adopts;
        drop(state);
        let queue = Arc::clone(self);
        let work = move || {
            if adopts {
                // Somebody who trains again has a reason to have the last run's checkpoints signed. It is a look into
                // a folder, done before the priority is so low that it could take long.
                // A panic must not leave somebody waiting for the end of it.
                let _ = catch_unwind(AssertUnwindSafe(|| queue.adopt_own()));
                queue.lock().adopting = false;
                queue.changed.notify_all();
            }
            if queue.patient {
                yield_to_training();
            }
            queue.work();
        };
        if spawn("autosign", work).is_err() {
            let mut state = self.lock();
            state.workers -= 1;
            state.adopting &= !adopts;
            let alone = state.workers == 0;
            drop(state);
            if alone && !self.patient {
                // Somebody waits for it. In background mode the spool remembers, and `hurry` signs.
                while self.step(Role::Helper) {}
            }
        }
    }

    /// A worker's life: one job after another, as long as nobody else does them.
    fn work(self: &Arc<Self>) -> ! {
        loop {
            self.look(Instant::now());
            if !self.step(Role::Worker) {
                let state = self.lock();
                let next = state.next_look().filter(|_| state.helpers == 0);
                let Some(next) = next else {
                    if state.queue.is_empty() || state.helpers > 0 {
                        drop(self.changed.wait(state.into_inner()));
                    }
                    continue;
                };
                let patience = next.saturating_duration_since(Instant::now());
                drop(self.changed.wait_timeout(state.into_inner(), patience));
            }
        }
    }

    /// Does what has become due by `now`.
    fn look(self: &Arc<Self>, now: Instant) {
        let mut state = self.lock();
        state.ripen(Some(now));
        let due = state.look_at.take_if(|at| *at <= now).is_some();
        drop(state);
        if due {
            self.follow_checkpoints_at_times();
        }
        self.follow_removals(now);
        self.take_strays_away(now);
    }

    /// Empties the queue for somebody who waits, what the worker hands over included.
    fn help(self: &Arc<Self>) {
        let over = |state: &State| state.queue.is_empty() && state.busy == 0 && !state.adopting;
        loop {
            while self.step(Role::Helper) {}
            let waiting = |state: &mut State| state.queue.is_empty() && !over(state);
            let state = self.lock().into_inner();
            drop(self.changed.wait_while(state, waiting));
            let mut state = self.lock();
            if over(&state) {
                state.helpers -= 1;
                break;
            }
        }
        self.changed.notify_all();
    }

    /// Does the next job; false where there is none for this role.
    fn step(self: &Arc<Self>, role: Role) -> bool {
        let mut state = self.lock();
        if role == Role::Worker && state.helpers > 0 {
            return false;
        }
        let Some(mut job) = state.queue.pop_front() else {
            return false;
        };
        let busy = usize::from(role == Role::Worker);
        state.running += 1;
        state.busy += busy;
        drop(state);

        let started = Instant::now();
        self.settled(&mut job);
        let root = job.record.checkpoint.root.clone();
        let framework = job.record.checkpoint.framework.clone();
        let result = catch_unwind(AssertUnwindSafe(|| self.sign(&mut job, role)));
        let result = result.unwrap_or(Err(Error::Panicked { path: root.clone() }));

        if matches!(result, Ok(Outcome::Superseded)) {
            self.follow_moves(); // it may be elsewhere
        }
        let interrupted = matches!(result, Ok(Outcome::Superseded))
            || (result.is_err() && job.control.is_cancelled());
        if interrupted {
            match self.put_back(job, busy) {
                Some(ended) => job = ended,
                None => return true,
            }
        }

        // Disk and listener first, the lock and whoever waits afterwards: all lines are written by then.
        let mut outcome = Ok(());
        let settled = match result {
            Ok(Outcome::Signed { signature, told }) => {
                job.close();
                (self.listener)(&Event::Signed {
                    root,
                    framework,
                    signature,
                    bytes: job.record.checkpoint.bytes(),
                    took: started.elapsed(),
                });
                told.iter().for_each(&self.listener);
                self.lock().signed(&job);
                None
            }
            Ok(Outcome::Hashed) => {
                (self.listener)(&Event::Hashed {
                    root,
                    framework,
                    bytes: job.record.checkpoint.bytes(),
                    took: started.elapsed(),
                });
                Some(Outcome::Hashed)
            }
            Err(_) if job.control.is_cancelled() => Some(Outcome::Superseded),
            Ok(other) => Some(other),
            Err(error) => {
                let lost = is_lost(&error);
                let news = job.note(&error);
                if lost {
                    job.close();
                }
                if job.awaited && (self.raise || job.by_hand) {
                    outcome = Err(error); // whoever waits is told
                } else if news {
                    let spooled = job.spooled.is_some() && !lost;
                    (self.listener)(&Event::Failed {
                        root,
                        framework,
                        error,
                        spooled,
                    });
                }
                Some(Outcome::Failed { lost })
            }
        };
        if matches!(settled, Some(Outcome::Superseded)) {
            outcome = by_hand(&job);
            self.end_superseded(&job);
        }
        self.follow_checkpoints_at_times();

        let mut state = self.lock();
        state.running -= 1;
        state.busy -= busy;
        if std::mem::take(&mut job.awaited) {
            state.outcomes.insert(job.id, outcome);
        }
        let mut overtaken = None;
        match settled {
            None | Some(Outcome::Signed { .. }) => {}
            Some(Outcome::Superseded) => state.superseded(&job),
            Some(Outcome::Failed { lost }) => overtaken = state.failed(job, lost),
            Some(Outcome::Hashed) => overtaken = state.hashed(job),
        }
        drop(state);
        if let Some(job) = overtaken {
            self.end_superseded(&job);
        }
        self.changed.notify_all();
        true
    }

    pub(crate) fn end_superseded(&self, job: &Job) {
        job.close();
        (self.listener)(&job.superseded());
    }

    /// [`Queue::follow_checkpoints`], but looks at all of them a tenth of the time at most: there may be thousands, on a slow disk.
    fn follow_checkpoints_at_times(self: &Arc<Self>) {
        let begun = Instant::now();
        let mut state = self.lock();
        if let Some(until) = state.looks_again.filter(|until| *until > begun) {
            state.look_at.get_or_insert(until);
            drop(state);
            self.follow_copies();
            self.follow_moves();
            return;
        }
        drop(state);
        self.follow_checkpoints();
        let ended = Instant::now();
        self.lock().looks_again = ended.checked_add((ended - begun) * 9);
    }

    /// Removes the records of checkpoints that are gone, and keeps their signatures until they can go, too.
    pub(crate) fn follow_checkpoints(self: &Arc<Self>) {
        self.follow_copies();
        self.follow_moves();
        let roots = self.lock().roots_below(Path::new("/"));
        let gone: BTreeSet<_> = roots.into_iter().filter(|root| is_gone(root)).collect();
        let strays = self.lock().published_at_all(&gone);
        for stray in strays {
            if is_gone(&stray.root) {
                // Known among the strays before it is not known here any more: its folder may be removed at any moment.
                self.keep_stray(&stray, Instant::now());
                self.lock().published.forget(&stray);
            }
        }

        let at = |job: &Job| (job.id, job.record.checkpoint.root.clone());
        let mut gone: Vec<_> = self.lock().hashed.iter().map(at).collect();
        gone.retain(|(_, root)| is_gone(root));
        for (id, _) in gone {
            let mut state = self.lock();
            let found = state.hashed.iter().position(|job| job.id == id);
            let job = found.map(|place| state.hashed.swap_remove(place));
            if let Some(job) = &job {
                state.superseded(job);
            }
            drop(state);
            if let Some(job) = &job {
                self.end_superseded(job);
            }
        }
    }

    pub(crate) fn threads(&self, role: Role) -> NonZeroUsize {
        let all = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        self.threads.unwrap_or_else(|| match role {
            Role::Worker if self.patient => NonZeroUsize::MIN,
            Role::Helper | Role::Worker => all(),
        })
    }

    /// The state, if nobody has it.
    pub(crate) fn try_lock(&self) -> Option<Locked<'_>> {
        self.state.try_lock().ok().map(Locked::new)
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        Locked::new(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whether no other try can sign it.
fn is_lost(error: &Error) -> bool {
    matches!(
        error,
        Error::Altered { .. } | Error::Signing(SigningError::SignatureName { .. })
    )
}

/// What whoever signs by hand is told of a `job` that is not signed as it was: unless a newer one comes, somebody else wrote to
/// it, or took it away.
fn by_hand(job: &Job) -> Result<(), Error> {
    if !job.by_hand || job.control.is_cancelled() {
        return Ok(());
    }
    let path = job.record.checkpoint.root.clone();
    Err(SigningError::ChangedWhileHashing { path }.into())
}
