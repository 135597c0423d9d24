//! What a process must remember of tokens, and what a fork does to it. Without locks: where a process is forked while
//! another thread holds one, nobody ever gives it back.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::getpid;
use sha2::{Digest, Sha256};

use super::Pkcs11Fault as Fault;

/// The process that last called a module, and how many of its calls are not over: 32 bits each.
static CALLS: AtomicU64 = AtomicU64::new(0);
/// The PIN that was last refused, and by which token. A forked child knows it, too.
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// This process.
pub(super) fn process() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

/// A call into a module, until this is dropped.
pub(super) struct Call<'a>(&'a AtomicU64);

impl Call<'_> {
    /// Not where this process was forked in the midst of one: the module's own locks may be held for ever here.
    pub(super) fn begin() -> Result<Self, Fault> {
        Self::of(&CALLS, process())
    }
}

impl<'a> Call<'a> {
    fn of(calls: &'a AtomicU64, process: u32) -> Result<Self, Fault> {
        let own = u64::from(process) << 32;
        let begun = calls.fetch_update(Ordering::AcqRel, Ordering::Acquire, |calls| {
            let count = calls & u64::from(u32::MAX);
            let known = calls == own | count;
            (known || count == 0).then_some((own | count) + 1)
        });
        begun.map(|_| Self(calls)).map_err(|_| Fault::Forked)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A PIN that is about to be tried.
pub(super) struct Try(u64);

impl Try {
    /// Not one that the token of that label and serial number has refused this process, and not where it is the `last` one
    /// before the token locks itself: both are for a person.
    pub(super) fn of(token: [&str; 2], last: bool, pin: &str) -> Result<Self, Fault> {
        if last {
            return Err(Fault::PinLastTry);
        }
        let [label, serial] = token;
        let tried = Self::new(&[label, serial, pin]);
        if REFUSED.load(Ordering::Acquire) == tried.0 {
            return Err(Fault::PinNotTriedAgain);
        }
        Ok(tried)
    }

    fn new(parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part.as_bytes());
            hash.update([0]);
        }
        let bytes = hash.finalize();
        let bytes = bytes.first_chunk().copied().unwrap_or_default();
        Self(u64::from_le_bytes(bytes) | 1) // never what stands for none
    }

    /// It was refused.
    pub(super) fn was_wrong(&self) {
        REFUSED.store(self.0, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_in_the_midst_of_a_call_is_noticed() {
        let calls = AtomicU64::new(0);
        let first = Call::of(&calls, 7).unwrap();
        let second = Call::of(&calls, 7).unwrap();
        drop(first);
        // What a child has that is forked now.
        let child = AtomicU64::new(calls.load(Ordering::Relaxed));
        drop(second);
        assert!(matches!(Call::of(&child, 8), Err(Fault::Forked)));
        assert!(matches!(Call::of(&child, 8), Err(Fault::Forked)));
        // One that is forked later is free, and so is its parent.
        let child = AtomicU64::new(calls.load(Ordering::Relaxed));
        let call = Call::of(&child, 8).unwrap();
        assert!(Call::of(&child, 8).is_ok() && Call::of(&calls, 7).is_ok());
        drop(call);
    }

    #[test]
    fn a_pin_is_refused_once_and_the_last_try_is_nobodys() {
        let token = ["Models", "01"];
        let last = Try::of(token, true, "1234").err();
        assert!(matches!(last, Some(Fault::PinLastTry)), "{last:?}");
        Try::of(token, false, "1234").unwrap().was_wrong();
        let again = Try::of(token, false, "1234").err();
        assert!(matches!(again, Some(Fault::PinNotTriedAgain)), "{again:?}");
        assert!(Try::of(token, false, "1235").is_ok());
        assert!(Try::of(["Models", "02"], false, "1234").is_ok());
    }
}
