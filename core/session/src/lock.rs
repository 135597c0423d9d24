//! The lock over [`State`]. Saves take it, so whoever has it touches no disk: one that is slow to answer would stop them all.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::MutexGuard;

use crate::jobs::State;

thread_local! {
    /// Whether this thread has the lock.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

/// The state, which nobody else has meanwhile.
pub(crate) struct Locked<'a> {
    state: MutexGuard<'a, State>,
    _held: Held,
}

struct Held;

impl<'a> Locked<'a> {
    pub(crate) fn new(state: MutexGuard<'a, State>) -> Self {
        HELD.set(true);
        Self { state, _held: Held }
    }

    /// For a wait, which gives it back.
    pub(crate) fn into_inner(self) -> MutexGuard<'a, State> {
        self.state
    }
}

impl Deref for Locked<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.state
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.state
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(false);
    }
}

/// What touches a disk says so first. A debug build, as the tests are, then refuses to do it under the lock.
pub(crate) fn touches_disk() {
    debug_assert!(!HELD.get(), "a disk is touched while the state is locked");
}
