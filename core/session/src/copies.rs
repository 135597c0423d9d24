//! Copies that this process makes of what it has saved: `checkpoint.pth.tar` to `model_best.pth.tar`, or a file that is moved to
//! another disk. Python tells of a copy before it begins, and nobody tells when it is complete.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use autosign_signing::{Bundle, Manifest, RelPath, Resource, find_signature, read_signature};

use crate::Checkpoint;
use crate::jobs::{Push, State, is_gone};
use crate::life::{NEVER, SOON, named};
use crate::spool::Spool;
use crate::told::{Found, found};
use crate::worker::Queue;

/// A copy that is being made.
#[derive(Clone)]
pub(crate) struct Copy {
    id: u64,
    /// What is copied.
    of: Checkpoint,
    to: PathBuf,
    /// What was there before, where a change of it shows: a file of the same size is no copy yet.
    before: Option<Found>,
    /// Bytes that were there at the last look.
    bytes: u64,
    /// When there were fewer.
    since: Instant,
}

impl State {
    /// The copy is complete, or is not going to be; whether that was not known before.
    fn end_copy(&mut self, copy: &Copy) -> bool {
        let before = self.copies.len();
        self.copies.retain(|other| other.id != copy.id);
        self.copies.len() < before
    }

    fn copy_grew(&mut self, copy: &Copy, bytes: u64, now: Instant) {
        let mut copies = self.copies.iter_mut();
        if let Some(copy) = copies.find(|other| other.id == copy.id) {
            copy.bytes = bytes;
            copy.since = now;
        }
    }
}

impl Queue {
    /// `from` is about to be copied to `to`, which is signed then if `from` is or is to be.
    pub(crate) fn copying(self: &Arc<Self>, from: &Path, to: &Path) {
        self.follow_copies();
        let (from, to) = (named(from), named(to));
        let known = self.lock().known_at(&from);
        let Some((of, _)) = known.filter(|(known, _)| known.is_one_file()) else {
            return;
        };
        // Where nothing is yet, a signature that is there has been copied first.
        if !is_gone(&to) {
            self.begins(&to);
        }
        let before = found(&to).filter(|before| before.shows_changes(SystemTime::now()));
        let mut state = self.lock();
        let id = state.next_id();
        let now = Instant::now();
        state.copies.retain(|copy| copy.to != to);
        state.copies.push(Copy {
            id,
            of,
            to,
            before,
            bytes: 0,
            since: now,
        });
        state.look_at.get_or_insert(now + SOON);
        drop(state);
        self.changed.notify_all();
    }

    /// Takes in the copies that are complete.
    pub(crate) fn follow_copies(self: &Arc<Self>) {
        let copies = self.lock().copies.clone();
        let now = Instant::now();
        for copy in copies {
            let bytes = std::fs::metadata(&copy.to).map_or(0, |found| found.len());
            if bytes == copy.of.bytes() && found(&copy.to) != copy.before {
                self.complete_copy(&copy);
            } else if bytes != copy.bytes {
                self.lock().copy_grew(&copy, bytes, now);
            } else if now.saturating_duration_since(copy.since) >= NEVER
                && self.lock().end_copy(&copy)
            {
                self.broken_off(&copy.to);
            }
        }
        let mut state = self.lock();
        if !state.copies.is_empty() {
            state.look_at.get_or_insert(now + SOON);
        }
    }

    /// Whether a signature lies at the copy that says of it what that of the original says: so it is where a whole folder is
    /// copied.
    fn came_along(&self, of: &Checkpoint, to: &Path) -> bool {
        let state = self.lock();
        let signed = state.published.at(&of.root).cloned();
        drop(state);
        let signed = signed.filter(|it| it.checkpoint == *of);
        let signed = signed.and_then(|signed| manifest_of(&signed.bytes));
        let found = read_signature(&find_signature(to)).ok().flatten();
        let found = found.and_then(|found| manifest_of(&found));
        let name = to.file_name();
        signed.zip(found).is_some_and(|(signed, found)| {
            let mut names = found.files();
            names.all(|file| name == Some(file.as_str().as_ref()))
                && signed.resources() == found.resources()
        })
    }

    fn complete_copy(self: &Arc<Self>, copy: &Copy) {
        if self.came_along(&copy.of, &copy.to) {
            if self.lock().end_copy(copy) {
                self.overwritten(&copy.to);
            }
            return;
        }
        let Some((checkpoint, digest)) = self.copied(copy) else {
            if self.lock().end_copy(copy) {
                self.broken_off(&copy.to);
            }
            return;
        };
        let mut record = self.record(checkpoint);
        record.digest = digest;
        let spooled = self.spool_record(&record);
        let mut state = self.lock();
        if !state.end_copy(copy) {
            drop(state); // another thread was faster
            spooled.as_deref().map(Spool::remove);
            return;
        }
        let taken = self.take_in(&mut state, record, spooled, Push::again());
        drop(state);
        self.end_older(&taken);
        self.start_worker();
    }

    /// The copy, and the root digest that it must have, if what it was made of has been signed.
    fn copied(&self, copy: &Copy) -> Option<(Checkpoint, Option<String>)> {
        let of = &copy.of;
        let checkpoint = Checkpoint::observe(&copy.to, &of.framework, of.ignore_git_paths, &[]);
        let checkpoint = checkpoint.ok()?.saved_as(of);
        let state = self.lock();
        let signed = state.published.at(&of.root).cloned();
        drop(state);
        let signed = signed.filter(|signed| signed.checkpoint == *of);
        let digest = signed.and_then(|signed| digest_of(&signed.bytes, &checkpoint.root));
        Some((checkpoint, digest))
    }
}

/// What a signature says of its files.
fn manifest_of(signature: &[u8]) -> Option<Manifest> {
    let (_, statement) = Bundle::parse(signature).ok()?.statement().ok()?;
    Some(statement.manifest().clone())
}

/// The root digest of the file that `signature` is of, had it been saved at `path`.
fn digest_of(signature: &[u8], path: &Path) -> Option<String> {
    let name = RelPath::parse(path.file_name()?.to_str()?).ok()?;
    let signed = manifest_of(signature)?;
    let named = |resource: &Resource| Resource {
        name: name.clone(),
        ..resource.clone()
    };
    let resources = signed.resources().iter().map(named).collect();
    let model = name.as_str().to_owned();
    let manifest = Manifest::new(model, signed.serialization(), resources).ok()?;
    Some(manifest.root_digest().to_string())
}
