//! Who may publish or take away a signature where: one thread at a root, and any number at different ones.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The roots at which a thread is at it. A signature is synced to its disk, which can take long while a large checkpoint is
/// written, and a save waits for none but that of its own root.
#[derive(Default)]
pub(crate) struct Publishing {
    held: Mutex<BTreeSet<PathBuf>>,
    freed: Condvar,
}

/// Roots at which nobody else publishes, until this is dropped: also by a panic.
#[must_use]
pub(crate) struct Held<'a> {
    publishing: &'a Publishing,
    roots: BTreeSet<PathBuf>,
}

impl Publishing {
    /// Waits for whoever is at one of `roots`. Not to be asked for by who holds others: two who did would wait for each other.
    pub(crate) fn at(&self, roots: BTreeSet<PathBuf>) -> Held<'_> {
        let taken = |held: &mut BTreeSet<PathBuf>| !held.is_disjoint(&roots);
        let waited = self.freed.wait_while(self.lock(), taken);
        let mut held = waited.unwrap_or_else(PoisonError::into_inner);
        held.extend(roots.iter().cloned());
        drop(held);
        Held {
            publishing: self,
            roots,
        }
    }

    /// The same for one root.
    pub(crate) fn at_one(&self, root: &Path) -> Held<'_> {
        self.at(BTreeSet::from([root.to_path_buf()]))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<PathBuf>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.publishing
            .lock()
            .retain(|root| !self.roots.contains(root));
        self.publishing.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_is_at_one_root_waits_for_nobody_at_another() {
        let publishing = Publishing::default();
        let held = publishing.at_one(Path::new("/run/1.pt"));
        // Were it one lock for all, this would never return.
        drop(publishing.at_one(Path::new("/run/2.pt")));
        let (sent, received) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let both = ["/run/1.pt", "/run/2.pt"].map(PathBuf::from);
                let held = publishing.at(both.into());
                sent.send(()).unwrap();
                drop(held);
            });
            let early = received.recv_timeout(Duration::from_millis(50));
            assert!(early.is_err(), "the first has not been let go");
            drop(publishing.at_one(Path::new("/run/2.pt")));
            drop(held);
            received.recv_timeout(Duration::from_secs(30)).unwrap();
        });
        assert_eq!(received.try_recv(), Err(TryRecvError::Empty));
        assert!(publishing.lock().is_empty());
    }

    #[test]
    fn a_panic_lets_go() {
        let publishing = Publishing::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _held = publishing.at_one(Path::new("/run/1.pt"));
            panic!("a bug");
        }));
        assert!(panicked.is_err());
        drop(publishing.at_one(Path::new("/run/1.pt")));
    }
}
