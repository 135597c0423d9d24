//! Whether something has been removed from a folder, by whoever it was.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::lock::touches_disk;

/// So many names are looked at, to find the folders in a folder.
const NAMES: usize = 10_000;

/// When a folder was last changed, and those in it: seconds and nanoseconds of the change time, which cannot be set. A folder
/// has another one after each removal. Where they are equal, nothing was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FolderTimes {
    own: (i64, i64),
    newest: (i64, i64),
}

impl FolderTimes {
    /// Those of `folder` now, without what is in `spool`; nothing where it is gone or cannot be looked at.
    pub(crate) fn of(folder: &Path, spool: Option<&Path>) -> Option<Self> {
        touches_disk();
        let own = changed(folder)?;
        let mut newest = own;
        let mut folders = vec![folder.to_path_buf()];
        let mut names = 0;
        while let Some(folder) = folders.pop() {
            // One that is being removed at this moment has changed the folder that it was in.
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            for entry in entries {
                names += 1;
                if names > NAMES {
                    return Some(Self { own, newest });
                }
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    let inner: PathBuf = entry.path();
                    if spool == Some(inner.as_path()) {
                        continue; // records come and go
                    }
                    newest = changed(&inner).map_or(newest, |changed| newest.max(changed));
                    folders.push(inner);
                }
            }
        }
        Some(Self { own, newest })
    }

    /// How long before `now` the last change was.
    pub(crate) fn age(self, now: SystemTime) -> Duration {
        let since_1970 = Duration::from_secs(u64::try_from(self.newest.0).unwrap_or_default());
        let newest = SystemTime::UNIX_EPOCH + since_1970;
        now.duration_since(newest).unwrap_or_default()
    }
}

fn changed(folder: &Path) -> Option<(i64, i64)> {
    let found = std::fs::symlink_metadata(folder).ok()?;
    Some((found.ctime(), found.ctime_nsec()))
}
