//! Signatures of removed checkpoints that sessions which are gone had not taken away yet.

use std::time::{Duration, Instant, SystemTime};

use crate::spool::Spool;
use crate::strays::{STILL, Watched};
use crate::worker::Queue;

/// In a folder that has not been changed for so long nobody is removing anything, also where a clock is minutes off.
const LONG: Duration = Duration::from_secs(600);

impl Queue {
    /// Takes over the stray signatures of sessions that are gone.
    pub(crate) fn adopt_strays(&self, now: Instant, clock: SystemTime) {
        let left = self.spool.as_ref().map(Spool::strays).unwrap_or_default();
        for (record, mut stray) in left {
            let Some(seen) = self.times(stray.folder()) else {
                Spool::remove(&record); // it has gone with its folder
                continue;
            };
            let noted = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(stray.since));
            let age = noted.and_then(|noted| clock.duration_since(noted).ok());
            let still = if seen == stray.seen {
                age.unwrap_or_default().min(STILL)
            } else if seen.age(clock) >= LONG {
                STILL
            } else {
                Duration::ZERO
            };
            stray.seen = seen;
            let watched = Watched {
                stray,
                record: Some(record),
                told: false,
                since: now.checked_sub(still).unwrap_or(now),
            };
            let mut state = self.lock();
            if !state.strays.has(&watched.stray.signature) {
                state.strays.take_in(watched);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::Checkpoint;
    use crate::jobs::Push;
    use crate::testing::{queue, records, signature, signed};

    #[test]
    fn the_next_session_removes_what_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = queue(folder.path(), "one");
        let [gone, back, altered] = signed(&earlier, folder.path(), ["gone", "back", "altered"]);
        for file in [&gone, &back, &altered] {
            std::fs::remove_file(file).unwrap();
        }
        earlier.follow_checkpoints();
        drop(earlier);
        // Its threads have the queue still, but a process that ends lets go of its lock.
        std::fs::remove_file(folder.path().join("spool/one.lock")).unwrap();
        std::fs::write(&back, b"another").unwrap();
        std::fs::write(signature(&altered), b"a note").unwrap();

        let next = queue(folder.path(), "two");
        let (now, clock) = (Instant::now(), SystemTime::now());
        next.adopt_strays(now, clock);
        next.take_strays_away(now);
        assert!(signature(&gone).exists(), "the removal may go on");
        for seconds in [11, 22] {
            next.take_strays_away(now + Duration::from_secs(seconds));
        }
        let left = [&gone, &back, &altered].map(|file| signature(file).exists());
        assert_eq!(left, [false, true, true]);
        assert_eq!(records(folder.path()), 0);
    }

    /// A session that was killed after it had removed both files; the second removal came after it had noted the first.
    fn killed(folder: &Path) -> [PathBuf; 2] {
        let earlier = queue(folder, "one");
        let files = signed(&earlier, folder, ["1.pt", "2.pt"]);
        for file in &files {
            std::fs::remove_file(file).unwrap();
            earlier.follow_checkpoints();
        }
        std::fs::remove_file(folder.join("spool/one.lock")).unwrap();
        files
    }

    #[test]
    fn a_flush_waits_for_what_a_killed_session_left() {
        let folder = tempfile::tempdir().unwrap();
        let files = killed(folder.path());
        let flush = queue(folder.path(), "two");
        let now = Instant::now();
        flush.adopt_strays(now, SystemTime::now());
        flush.lock().strays.await_all();
        flush.lock().strays.hurry(now);
        flush.take_strays_away(now + Duration::from_secs(9));
        assert!(flush.lock().is_busy(), "the removal may go on elsewhere");
        flush.take_strays_away(now + Duration::from_secs(11));
        assert!(!flush.lock().is_busy());
        assert!(!files.iter().any(|file| signature(file).exists()));
        assert_eq!(records(folder.path()), 0);
    }

    #[test]
    fn what_a_flush_signs_itself_is_no_removal() {
        let folder = tempfile::tempdir().unwrap();
        let files = killed(folder.path());
        let pending = folder.path().join("pending.pt");
        std::fs::write(&pending, b"weights").unwrap();
        let flush = queue(folder.path(), "two");
        let now = Instant::now();
        flush.adopt_strays(now, SystemTime::now());
        let checkpoint = Checkpoint::observe(&pending, "test", true, &[]).unwrap();
        flush.push(flush.record(checkpoint), None, Push::again());
        flush.hurry();
        assert!(flush.idle_within(Duration::from_secs(30)));
        assert!(signature(&pending).exists());
        flush.take_strays_away(now + STILL + Duration::from_secs(5));
        assert!(!files.iter().any(|file| signature(file).exists()));
    }

    #[test]
    fn in_a_folder_that_nobody_has_changed_for_long_they_go_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let files = killed(folder.path());
        let next = queue(folder.path(), "two");
        let now = Instant::now();
        next.adopt_strays(now, SystemTime::now() + LONG + Duration::from_secs(2));
        next.take_strays_away(now);
        assert!(!files.iter().any(|file| signature(file).exists()));
        assert_eq!(records(folder.path()), 0);
    }

    #[test]
    fn a_folder_that_is_gone_is_nobody_s_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("step-1");
        std::fs::create_dir(&inner).unwrap();
        let earlier = queue(folder.path(), "one");
        let [file] = signed(&earlier, &inner, ["m.pt"]);
        std::fs::remove_file(&file).unwrap();
        earlier.follow_checkpoints();
        assert_eq!(records(folder.path()), 1);
        std::fs::remove_file(folder.path().join("spool/one.lock")).unwrap();
        std::fs::remove_dir_all(&inner).unwrap();
        queue(folder.path(), "two").adopt_strays(Instant::now(), SystemTime::now());
        assert_eq!(records(folder.path()), 0);
    }
}
