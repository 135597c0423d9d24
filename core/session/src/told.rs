//! Removals that were told before they happen, and whether they have happened.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::lock::touches_disk;

/// A removal that was told and has not happened after so long has failed.
pub(crate) const FAILED: Duration = Duration::from_secs(60);

/// A removal that was told.
#[derive(Clone)]
pub(crate) struct Told {
    pub(crate) path: PathBuf,
    /// What was there then.
    found: Option<Found>,
    pub(crate) at: Instant,
    /// It is known to have happened.
    pub(crate) has_happened: bool,
}

/// In seconds: what is older looks otherwise after a change.
const OLD: i64 = 3;

/// What tells that something else is there now. The inode of a file does not, on file systems that number anew at each look; of a
/// folder what is removed in it is told, too.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    File { bytes: u64, modified: (i64, i64) },
    Folder { ino: u64, born: Option<SystemTime> },
}

impl Found {
    /// Whether it would look otherwise if it were written to at the time `now`. File systems tell times by the tick of a clock, some
    /// by the second: what is as young as that may look the same.
    pub(crate) fn shows_changes(self, now: SystemTime) -> bool {
        let Self::File { modified, .. } = self else {
            return false;
        };
        let since_1970 = now.duration_since(SystemTime::UNIX_EPOCH);
        let now = since_1970.map_or(0, |since| since.as_secs());
        i64::try_from(now).is_ok_and(|now| modified.0.saturating_add(OLD) <= now)
    }
}

impl Told {
    /// The removal of `path` is told `now`.
    pub(crate) fn new(path: &Path, now: Instant) -> Self {
        Self {
            path: path.to_path_buf(),
            found: found(path),
            at: now,
            has_happened: false,
        }
    }

    pub(crate) fn has_failed(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= FAILED
    }

    /// Whether it has not happened yet.
    pub(crate) fn is_going_on(&self) -> bool {
        !self.has_happened && self.found.is_some() && self.found == found(&self.path)
    }
}

/// What is at `path` now; nothing where that is nothing.
pub(crate) fn found(path: &Path) -> Option<Found> {
    touches_disk();
    let found = std::fs::symlink_metadata(path).ok()?;
    Some(if found.is_dir() {
        Found::Folder {
            ino: found.ino(),
            born: found.created().ok(), // a new folder gets the number of one that has just gone
        }
    } else {
        Found::File {
            bytes: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
        }
    })
}
