//! One checkpoint, from its record to its signature.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use autosign_signing::{
    Error as SigningError, Hashing, MissingShards, Progress, Signer, Statement, hash_model,
    missing_shards, seal,
};

use crate::thread::spawn;
use crate::{Checkpoint, Config, Error, Event, Listener};

/// A `chmod` or a hard link while a file is hashed looks like a change; so often is hashing tried again.
const ATTEMPTS: usize = 3;

/// How far hashing has come, and whether it is to stop at the next buffer: for good, because the signature is no longer
/// wanted, or to be begun again by a thread that gets more of the machine.
#[derive(Debug, Default)]
pub(crate) struct Control {
    cancelled: AtomicBool,
    handed_over: AtomicBool,
    total: AtomicU64,
    done: AtomicU64,
}

impl Control {
    pub(crate) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// It is wanted after all.
    pub(crate) fn revive(&self) {
        self.cancelled.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Asks for it only where less is lost than is left.
    pub(crate) fn hand_over(&self) {
        let (done, total) = (
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
        );
        if done < total - done.min(total) {
            self.handed_over.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was asked for, once.
    pub(crate) fn take_handed_over(&self) -> bool {
        self.handed_over.swap(false, Ordering::Relaxed)
    }
}

impl Progress for Control {
    fn start(&self, bytes: u64) {
        self.total.store(bytes, Ordering::Relaxed);
        self.done.store(0, Ordering::Relaxed);
    }

    fn advance(&self, bytes: u64) -> ControlFlow<()> {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        if self.is_cancelled() || self.handed_over.load(Ordering::Relaxed) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}

/// A checkpoint as hashed, and what is to be told when that is signed; or nothing where it was replaced or removed
/// meanwhile.
pub(crate) fn hashed(
    checkpoint: &Checkpoint,
    hashing: Hashing<'_>,
) -> Result<Option<(Statement, Vec<Event>)>, Error> {
    let ignore = match checkpoint.ignore() {
        Err(_) if !checkpoint.is_unchanged() => return Ok(None),
        other => other?,
    };
    let mut last = None;
    for _ in 0..ATTEMPTS {
        if !checkpoint.is_unchanged() {
            return Ok(None);
        }
        let known = checkpoint.manifest().transpose();
        match known.unwrap_or_else(|| hash_model(|| checkpoint.model(), hashing)) {
            // Looked at again after hashing: what was hashed is what was saved.
            Ok(_) if !checkpoint.is_unchanged() => return Ok(None),
            Ok(manifest) => {
                let missing = match missing_shards(&manifest, || checkpoint.model()) {
                    Err(_) if !checkpoint.is_unchanged() => return Ok(None),
                    other => other?,
                };
                let told = missing.iter().filter_map(|one| incomplete(checkpoint, one));
                return Ok(Some((Statement::new(manifest, ignore), told.collect())));
            }
            Err(SigningError::Cancelled) => return Ok(None),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) if checkpoint.is_unchanged() => Err(error.into()),
        _ => Ok(None),
    }
}

fn incomplete(checkpoint: &Checkpoint, missing: &MissingShards) -> Option<Event> {
    Some(Event::Incomplete {
        root: checkpoint.root.clone(),
        framework: checkpoint.framework.clone(),
        index: missing.index.to_string(),
        file: missing.names.first()?.to_string(),
        missing: missing.names.len(),
    })
}

/// After so long a training run looks whether its Sigstore instance has other keys or addresses now.
const LOOK_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// The configured signer, made when it is first needed and kept from then on.
pub(crate) struct SignerSource {
    config: Config,
    loaded: Mutex<Option<Arc<dyn Signer>>>,
    looked: Mutex<Option<Instant>>,
    told: Once,
}

impl SignerSource {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            config: config.clone(),
            loaded: Mutex::new(None),
            looked: Mutex::new(None),
            told: Once::new(),
        }
    }

    /// The bytes of the bundle over `statement`, verified. `listener` hears it if they go on public record.
    pub(crate) fn seal(
        self: &Arc<Self>,
        statement: &Statement,
        listener: &Listener,
    ) -> Result<Vec<u8>, Error> {
        let (signer, kept) = self.signer(listener)?;
        self.follow_trust();
        let sealed = seal(statement, signer.as_ref()).map_err(Error::from);
        if !matches!(&sealed, Err(error) if error.is_of_token()) {
            return sealed;
        }
        // Pulled out, or its session has ended: it may be there again, for this signature or for a later one.
        *self.lock() = None;
        if !kept {
            return sealed;
        }
        let (signer, _) = self.signer(listener)?;
        Ok(seal(statement, signer.as_ref())?)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<dyn Signer>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signer, and whether it was made before. What cannot be read is tried again for the next checkpoint: it may be
    /// mounted late.
    fn signer(&self, listener: &Listener) -> Result<(Arc<dyn Signer>, bool), Error> {
        let mut loaded = self.lock();
        if let Some(signer) = loaded.as_ref() {
            return Ok((Arc::clone(signer), true));
        }
        let signer: Arc<dyn Signer> = if self.config.signs_with_key() {
            self.config.key_signer()?
        } else {
            let (signer, public) = self.config.keyless.signer()?;
            if public {
                self.told.call_once(|| listener(&Event::PublicLog));
            }
            Arc::new(signer)
        };
        Ok((Arc::clone(loaded.insert(signer)), false))
    }

    /// Fetches trust once a day, on a thread that nobody waits for. Where that fails, what is known stays in use.
    fn follow_trust(self: &Arc<Self>) {
        if self.config.signs_with_key() || self.config.keyless.repository().is_none() {
            return;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return;
        }
        *looked = Some(Instant::now());
        drop(looked);
        let source = Arc::clone(self);
        let look = move || {
            if let Ok(true) = source.config.keyless.refresh() {
                *source.lock() = None; // the next one believes, and asks, whom the instance names now
            }
        };
        let _ = spawn("autosign-trust", look);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashing_is_handed_over_in_its_first_half_only() {
        let control = Control::default();
        control.hand_over();
        assert!(!control.take_handed_over(), "nothing has begun");
        control.start(100);
        assert!(control.advance(49).is_continue());
        control.hand_over();
        assert!(control.advance(0).is_break() && !control.is_cancelled());
        assert!(control.take_handed_over() && !control.take_handed_over());
        assert!(control.advance(1).is_continue());
        control.hand_over();
        assert!(!control.take_handed_over(), "half is done");
        control.cancel();
        assert!(control.advance(0).is_break());
    }
}
