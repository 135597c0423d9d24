//! A signer that makes no more signatures than it may: it waits before anything that ends, and holds nobody up.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod stack;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime};

use autosign_signing::{
    Clock, Connection, KeylessSigner, Rate, Sources, TokenText, TrustConfig, seal,
};
use serde_json::json;
use stack::{Proxy, STACK, origin, redirected, statement};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A clock that goes on only when somebody sleeps, and remembers how often Fulcio had been asked by then.
struct Slept {
    now: Mutex<SystemTime>,
    fulcio: Mutex<Option<Arc<Proxy>>>,
    asked: Mutex<Vec<usize>>,
}

impl Slept {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            now: Mutex::new(SystemTime::now()),
            fulcio: Mutex::default(),
            asked: Mutex::default(),
        })
    }
}

impl Clock for Slept {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, pause: Duration) {
        let fulcio = self.fulcio.lock().unwrap();
        let asked = fulcio.as_ref().map_or(0, |fulcio| fulcio.asked());
        self.asked.lock().unwrap().push(asked);
        *self.now.lock().unwrap() += pause;
    }
}

/// With a token for a day.
fn signer(trust: TrustConfig, clock: Arc<dyn Clock>, count: u32, per: Duration) -> KeylessSigner {
    let ends = SystemTime::now() + 24 * HOUR;
    let ends = ends.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let token = STACK.token("email", &json!({"exp": ends.as_secs()}), "");
    let connection = Connection::new(None, clock).unwrap();
    let sources = Sources::only(Box::new(TokenText::new(token)), connection);
    let signer = KeylessSigner::new(trust, sources).unwrap();
    signer.with_rate(Rate::new(count, per).unwrap())
}

#[test]
fn forty_signatures_at_thirty_a_minute() {
    let clock = Slept::new();
    let signer = signer(STACK.trust("trust_config_v1"), clock.clone(), 30, MINUTE);
    let start = clock.now();
    for number in 0..40_u8 {
        seal(&statement(&[number]), &signer).unwrap();
    }
    let took = clock.now().duration_since(start).unwrap();
    assert_eq!(took, Duration::from_secs(10 * 2));
    assert_eq!(clock.asked.lock().unwrap().len(), 10);
}

#[test]
fn nothing_ends_while_it_waits() {
    let trust = STACK.trust_json("trust_config_v1");
    let fulcio = Arc::new(Proxy::before(&origin(&trust, "caUrls"), |_, honest| honest));
    let clock = Slept::new();
    *clock.fulcio.lock().unwrap() = Some(Arc::clone(&fulcio));
    // Twenty minutes between two signatures, and a certificate lives ten.
    let signer = signer(
        redirected(&trust, "caUrls", &fulcio),
        clock.clone(),
        3,
        HOUR,
    );
    for number in 0..6_u8 {
        seal(&statement(&[number]), &signer).unwrap();
    }
    assert_eq!(*clock.asked.lock().unwrap(), [1, 2, 3]);
    assert_eq!(fulcio.asked(), 4);
}

/// A clock on which whoever sleeps waits for a second sleeper.
#[derive(Default)]
struct Together {
    sleepers: Mutex<Vec<Duration>>,
    met: Condvar,
}

impl Clock for Together {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31)
    }

    fn sleep(&self, pause: Duration) {
        let mut sleepers = self.sleepers.lock().unwrap();
        sleepers.push(pause);
        self.met.notify_all();
        let alone = |sleepers: &mut Vec<Duration>| sleepers.len() < 2;
        let waited = self.met.wait_timeout_while(sleepers, MINUTE, alone);
        assert!(!waited.unwrap().1.timed_out(), "the other one is held up");
    }
}

#[test]
fn all_wait_at_once() {
    let clock = Arc::new(Together::default());
    let signer = signer(STACK.trust("trust_config"), clock.clone(), 1, HOUR);
    std::thread::scope(|scope| {
        for number in 0..3_u8 {
            // The clock is in a year in which no token is good: it is all about the wait before.
            let signer = &signer;
            scope.spawn(move || seal(&statement(&[number]), signer).unwrap_err());
        }
    });
    let mut waits = clock.sleepers.lock().unwrap().clone();
    waits.sort_unstable();
    assert_eq!(waits, [HOUR, 2 * HOUR]);
}
