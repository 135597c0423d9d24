//! Checkpoints of several files that are renamed one file after the other, as `P.index` and `P.data` of TensorFlow are. Each rename
//! is told before it happens. The checkpoint is signed again when its first file, which it is named after, has another name, and
//! all others are there: under their old names, which that file may mention, or under new ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::jobs::{State, is_gone};
use crate::life::{NEVER, SOON};
use crate::worker::Queue;
use crate::{Checkpoint, Error, Event};

/// A group of which a file was to be renamed a moment ago.
#[derive(Clone)]
pub(crate) struct Scattered {
    id: u64,
    /// It as it was saved.
    of: Checkpoint,
    /// Its files get names more, and keep those that they have.
    linked: bool,
    /// Where each of its files is, by where it was.
    places: BTreeMap<PathBuf, PathBuf>,
    /// Renames that were told and have not been seen.
    told: Vec<(PathBuf, PathBuf)>,
    last: Instant,
    /// The file that it is named after has had another name since.
    moved: bool,
    /// It as it was queued since the last rename was told.
    queued: Option<Checkpoint>,
}

impl Scattered {
    fn new(id: u64, of: Checkpoint, linked: bool, now: Instant) -> Self {
        let paths = of.paths().into_iter();
        Self {
            id,
            places: paths.map(|path| (path.clone(), path)).collect(),
            of,
            linked,
            told: Vec::new(),
            last: now,
            moved: false,
            queued: None,
        }
    }

    /// Whether one of its files is at `path`, or is going to be.
    pub(crate) fn has(&self, path: &Path) -> bool {
        let to = self.told.iter().map(|(_, to)| to);
        self.places.values().chain(to).any(|place| place == path)
    }

    /// Whether one of its files is at `path` or below.
    pub(crate) fn has_any_below(&self, path: &Path) -> bool {
        self.places.values().any(|place| place.starts_with(path))
    }

    /// The path of the file that it is named after.
    fn root(&self) -> &Path {
        self.places.get(&self.of.root).unwrap_or(&self.of.root)
    }

    /// Takes note of the renames that have happened, and returns to where.
    fn look(&mut self) -> Vec<PathBuf> {
        let told = std::mem::take(&mut self.told).into_iter();
        let (happened, left) = told.partition(|(from, to)| {
            if self.linked {
                !is_gone(to)
            } else {
                is_gone(from)
            }
        });
        self.told = left;
        for (from, to) in &happened {
            if let Some(place) = self.places.values_mut().find(|it| *it == from) {
                place.clone_from(to);
            }
        }
        let happened: Vec<(PathBuf, PathBuf)> = happened;
        self.moved |= self.root() != self.of.root;
        happened.into_iter().map(|(_, to)| to).collect()
    }

    /// It under its new name, if it has or had one, and all its files are there.
    fn whole(&self) -> Option<Checkpoint> {
        let new = self.of.regrouped(&self.places)?;
        (self.told.is_empty() && self.moved && new.is_unchanged()).then_some(new)
    }
}

impl State {
    /// The groups that a file at `path` itself is part of, by what they are known as.
    fn groups_of(&self, path: &Path, linked: bool) -> Vec<Checkpoint> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let newest = self.newest.values().map(|newest| &newest.checkpoint);
        let published = self.published.below(folder).map(|it| &it.checkpoint);
        let all = newest.chain(published);
        let mut groups: Vec<_> = all
            .filter(|it| it.lists(path) && !is_scattered(&self.scattered, &it.root, linked))
            .cloned()
            .collect();
        groups.dedup();
        groups
    }
}

fn is_scattered(scattered: &[Scattered], root: &Path, linked: bool) -> bool {
    scattered.iter().any(|group| {
        let known = if linked { &group.of.root } else { group.root() };
        group.linked == linked && known == root
    })
}

impl Queue {
    /// The file `from` is about to be renamed to `to`, or linked there. Returns whether it is part of a group, which is followed here.
    pub(crate) fn scatter(
        self: &Arc<Self>,
        from: &Path,
        to: &Path,
        linked: bool,
        now: Instant,
    ) -> bool {
        if !from.is_file() {
            return false;
        }
        let mut state = self.lock();
        let replaces = |group: &Scattered| group.places.values().any(|place| place == to);
        state.scattered.retain(|group| !replaces(group));
        for of in state.groups_of(from, linked) {
            let id = state.next_id();
            state.scattered.push(Scattered::new(id, of, linked, now));
        }
        let mut roots = BTreeSet::new();
        let groups = state.scattered.iter_mut();
        for group in groups.filter(|group| group.linked == linked && group.has(from)) {
            group.told.push((from.to_path_buf(), to.to_path_buf()));
            group.last = now;
            group.queued = None;
            roots.insert(group.root().to_path_buf());
        }
        if roots.is_empty() {
            return false;
        }
        state.look_at.get_or_insert(now + SOON);
        drop(state);
        if linked {
            return true;
        }
        // What was to be signed there is not what it was, and if it stays so, it is queued again.
        self.end(&roots);
        let mut state = self.lock();
        state
            .removals
            .retain(|left| !roots.contains(&left.checkpoint.root));
        drop(state);
        self.begins_at(to.to_path_buf());
        true
    }

    /// Follows the groups whose files have been renamed. Where somebody waits for all, what has not been renamed by now is not going to be.
    pub(crate) fn follow_scattered(self: &Arc<Self>, hurried: bool) {
        let groups = self.lock().scattered.clone();
        let now = Instant::now();
        for mut group in groups {
            let happened = group.look();
            let age = now.saturating_duration_since(group.last);
            let over = age >= NEVER;
            let mut failed = Vec::new();
            if hurried || over {
                failed = std::mem::take(&mut group.told);
            }
            let due = hurried || over || age >= SOON;
            let whole = group.whole().filter(|_| due);
            let again = whole.filter(|whole| group.queued.as_ref() != Some(whole));
            group.queued = again.clone().or(group.queued);
            let is_whole = group.queued.is_some();

            let mut state = self.lock();
            let known = state.scattered.iter_mut().find(|it| it.id == group.id);
            let Some(known) = known.filter(|it| it.last == group.last) else {
                continue; // another thread was faster, or there is more to follow
            };
            let was_queued = known.queued != group.queued;
            *known = group.clone();
            if over || (hurried && !is_whole) {
                state.scattered.retain(|it| it.id != group.id);
            } else if !is_whole {
                state.look_at.get_or_insert(now + SOON);
            }
            drop(state);
            for to in happened {
                self.overwritten(&to);
            }
            for (_, to) in failed {
                self.broken_off_at(&to);
            }
            if let Some(again) = again.filter(|_| was_queued) {
                self.push_again(again);
            } else if (over || hurried) && !is_whole {
                self.left_scattered(&group);
            }
        }
    }

    /// It is not whole and is not going to be: as it was before, or in pieces.
    fn left_scattered(self: &Arc<Self>, group: &Scattered) {
        if group.linked && !group.moved {
            return; // its first file has the names that it had
        }
        if group.of.is_unchanged() && !group.linked {
            self.push_again(group.of.clone());
        } else if group.moved && !is_gone(group.root()) {
            let root = group.root().to_path_buf();
            (self.listener)(&Event::Failed {
                root: root.clone(),
                framework: group.of.framework.clone(),
                error: Error::InPieces { path: root },
                spooled: false,
            });
        }
    }
}
