//! How many signatures a signer makes: services that many share refuse those who ask too often.

use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// So many signatures in so long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    per: Duration,
}

impl Rate {
    /// `count` signatures, one after another or all at once, in `per`; nothing where `count` is 0.
    #[must_use]
    pub fn new(count: u32, per: Duration) -> Option<Self> {
        let count = NonZeroU32::new(count)?;
        Some(Self { count, per })
    }
}

/// A token bucket: full it holds `count`, and it is filled evenly.
pub(super) struct Bucket {
    rate: Rate,
    level: Mutex<Level>,
}

struct Level {
    /// When it was last looked at.
    at: SystemTime,
    /// How long filling it took from then.
    lacks: Duration,
}

impl Bucket {
    /// A full one.
    pub(super) fn new(rate: Rate, now: SystemTime) -> Self {
        let lacks = Duration::ZERO;
        Self {
            rate,
            level: Mutex::new(Level { at: now, lacks }),
        }
    }

    /// Takes the next token at `now`, and says how long to wait for it. It is this caller's: others wait for later ones,
    /// each for itself.
    pub(super) fn take(&self, now: SystemTime) -> Duration {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that is set back makes nobody wait for the time to come again.
        let passed = now.duration_since(level.at).unwrap_or_default();
        let lacks = level.lacks.saturating_sub(passed);
        level.at = now;
        level.lacks = lacks.saturating_add(self.rate.per / self.rate.count.get());
        level.lacks.saturating_sub(self.rate.per)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn bucket(count: u32, per: Duration) -> (Bucket, SystemTime) {
        let rate = Rate::new(count, per).unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        (Bucket::new(rate, now), now)
    }

    #[test]
    fn two_hundred_at_thirty_a_minute_take_as_long_as_they_should() {
        let (bucket, start) = bucket(30, MINUTE);
        let mut now = start;
        let mut at = Vec::new();
        for _ in 0..200 {
            now += bucket.take(now);
            at.push(now.duration_since(start).unwrap());
        }
        assert!(at[..30].iter().all(Duration::is_zero), "a burst");
        let even = (1..=170).map(|number| Duration::from_secs(2 * number));
        assert_eq!(at[30..], even.collect::<Vec<_>>());

        // After a rest a burst again, and no more than one.
        now += 10 * MINUTE;
        let waits: Vec<_> = (0..31).map(|_| bucket.take(now)).collect();
        assert!(waits[..30].iter().all(Duration::is_zero));
        assert_eq!(waits[30], Duration::from_secs(2));
    }

    #[test]
    fn those_who_wait_at_once_get_a_token_each() {
        let (bucket, now) = bucket(30, MINUTE);
        let mut waits: Vec<Duration> = std::thread::scope(|scope| {
            let ask = || (0..25).map(|_| bucket.take(now)).collect::<Vec<_>>();
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            let waits = asking.into_iter().map(|thread| thread.join().unwrap());
            waits.flatten().collect()
        });
        waits.sort_unstable();
        let even = (1..=170).map(|number| Duration::from_secs(2 * number));
        let expected: Vec<_> = vec![Duration::ZERO; 30].into_iter().chain(even).collect();
        assert_eq!(waits, expected);
    }

    #[test]
    fn a_clock_that_is_set_back_costs_nothing() {
        let (bucket, now) = bucket(1, MINUTE);
        assert_eq!(bucket.take(now), Duration::ZERO);
        assert_eq!(bucket.take(now - 60 * MINUTE), MINUTE);
        assert_eq!(bucket.take(now - 58 * MINUTE), Duration::ZERO);
    }
}
