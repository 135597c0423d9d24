//! One job, from its record to the signature in its place.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use autosign_signing::{Hashing, Manner, Placed, Statement, publish, take_back};

use crate::jobs::{Job, State, is_gone};
use crate::published::Published;
use crate::publishing::Held;
use crate::signing::hashed;
use crate::spool::Spool;
use crate::worker::{Outcome, Queue, Role};
use crate::{Error, Event};

/// A rename takes no longer than this, or has failed: what is there is signed then.
const RENAME: Duration = Duration::from_secs(1);
/// So often it is looked whether a rename has happened.
const LOOK: Duration = Duration::from_millis(5);

impl Queue {
    pub(crate) fn sign(self: &Arc<Self>, job: &mut Job, role: Role) -> Result<Outcome, Error> {
        if self.offline && job.spooled.is_none() {
            return Err(Error::NoSpool);
        }
        let checkpoint = &job.record.checkpoint;
        let Some((mut statement, told)) = self.hash(job, role)? else {
            return Ok(Outcome::Superseded);
        };
        let digest = statement.manifest().root_digest();
        if !job.record.is_of(&digest) {
            return Err(Error::Altered {
                path: checkpoint.root.clone(),
            });
        }
        job.record.digest = Some(digest.to_string());
        if let (true, Some(path)) = (self.offline, &job.spooled) {
            job.record.error = None;
            Spool::update(path, &job.record)?;
            return Ok(Outcome::Hashed);
        }
        self.run
            .link(&mut statement, &job.record, SystemTime::now());
        let bytes = self.signer.seal(&statement, &self.listener)?;
        let signature = checkpoint.signature();
        let _order = self.order_at(&checkpoint.root);
        if job.control.is_cancelled() || !checkpoint.is_unchanged() {
            return Ok(Outcome::Superseded);
        }
        let beside = self.times_beside_strays(&checkpoint.root);
        let placed = match publish(&signature, &bytes, Manner::With(&checkpoint.root)) {
            // Another process has removed it at this moment, and its folder with it.
            Err(_) if is_gone(&checkpoint.root) => return Ok(Outcome::Superseded),
            other => other?,
        };
        if placed == Placed::Written && !self.in_place.swap(true, Ordering::Relaxed) {
            let signature = signature.clone();
            (self.listener)(&Event::InPlace { signature });
        }
        for other in checkpoint.other_signatures() {
            // Where it cannot be removed, it is older than the model and verifies for nobody.
            let _ = take_back(&other);
        }
        self.changed_beside_strays(&checkpoint.root, beside, Instant::now());
        // Known to be ours before anybody else can be at this root: whoever removes its folder next asks for it.
        self.lock().published.insert(Published {
            root: checkpoint.root.clone(),
            checkpoint: checkpoint.clone(),
            signature: signature.clone(),
            bytes,
        });
        Ok(Outcome::Signed { signature, told })
    }

    /// Waits for whoever publishes at `root`, and for a rename of it that was told: a signature in the old place would be one
    /// file too many in a folder that is about to be removed.
    fn order_at(self: &Arc<Self>, root: &Path) -> Held<'_> {
        let end = Instant::now() + RENAME;
        loop {
            let order = self.publishing.at_one(root);
            if !self.lock().is_moving(root) || Instant::now() >= end {
                return order;
            }
            drop(order);
            self.follow_moves();
            let moving = |state: &mut State| state.is_moving(root);
            let state = self.lock().into_inner();
            drop(self.changed.wait_timeout_while(state, LOOK, moving));
        }
    }

    /// Hashes when it is this thread's turn; the worker whose turn it is can be asked to hand over.
    fn hash(&self, job: &Job, role: Role) -> Result<Option<(Statement, Vec<Event>)>, Error> {
        let [workers, helpers] = &self.turns;
        let turn = match role {
            Role::Helper => helpers,
            Role::Worker => workers,
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let at_work = AtWork::begin(self, job, role);
        let hashing = Hashing {
            threads: self.threads(role),
            progress: job.control.as_ref(),
            ..Hashing::default()
        };
        let hashed = hashed(&job.record.checkpoint, hashing);
        drop(at_work);
        hashed
    }
}

/// A worker is hashing, until this is dropped: also by a panic.
struct AtWork<'a>(Option<&'a Queue>);

impl<'a> AtWork<'a> {
    fn begin(queue: &'a Queue, job: &Job, role: Role) -> Self {
        if role == Role::Helper {
            return Self(None);
        }
        queue.lock().at_work = Some(Arc::clone(&job.control));
        Self(Some(queue))
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0 {
            queue.lock().at_work = None;
        }
    }
}
