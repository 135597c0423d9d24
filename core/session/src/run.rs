//! Which training this is, and the chain of what it signed: each statement names the digest of the one before.
//!
//! The head of each chain is kept in the spool folder, so that the next process of the same run goes on where this one ends.
//! Without a spool there is no chain. Where the head cannot be kept, a statement names none: a signature is never lost to it.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use autosign_signing::{Annotations, Digest, Statement};
use serde::{Deserialize, Serialize};

use crate::kept;
use crate::session::new_name;
use crate::spool::{Record, check_private};

/// The heads of so many runs are kept, of those that signed last.
const HEADS: usize = 256;

/// The training that this process is part of.
#[derive(Debug)]
pub(crate) struct Run {
    name: String,
    last: AtomicU64,
    spool: Option<PathBuf>,
}

/// When a run has saved something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// In seconds since 1970.
    pub(crate) saved: u64,
    /// Its place among what the run saves.
    pub(crate) sequence: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Heads {
    #[serde(default)]
    runs: BTreeMap<String, Head>,
}

/// What a run has signed last.
#[derive(Serialize, Deserialize)]
struct Head {
    /// Its digest, hex.
    digest: String,
    /// The largest so far.
    sequence: u64,
    /// When, in seconds since 1970.
    at: u64,
}

impl Run {
    /// The run `name`, or one of its own; `spool` is where its head is kept.
    pub(crate) fn new(name: Option<String>, spool: Option<PathBuf>) -> Self {
        // Of a run that begins now there is nothing to know.
        let kept = spool.as_deref().filter(|_| name.is_some());
        let kept = kept.filter(|spool| check_private(spool).is_ok());
        let name = name.unwrap_or_else(new_name);
        let kept = kept.and_then(|spool| kept::read::<Heads>(&heads(spool)).ok());
        let last = kept.and_then(|kept| Some(kept.runs.get(&name)?.sequence));
        Self {
            name,
            last: AtomicU64::new(last.unwrap_or_default()),
            spool,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The moment of a checkpoint that is saved `now`. Its place is in milliseconds since 1970, or more where the clock was set
    /// back, so that none is given twice.
    pub(crate) fn moment(&self, now: SystemTime) -> Moment {
        let time = sequence(now);
        let place = |last: u64| time.max(last.saturating_add(1));
        let update = |last| Some(place(last));
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        let last = self.last.fetch_update(set, fetch, update);
        Moment {
            saved: since_1970(now).as_secs(),
            sequence: last.map_or(time, place),
        }
    }

    /// Says in `statement` what `record` says of its checkpoint, and which one was signed before it.
    pub(crate) fn link(&self, statement: &mut Statement, record: &Record, now: SystemTime) {
        let said = Annotations {
            run: record.run.clone(),
            step: record.checkpoint.step,
            sequence: record.checkpoint.moment.map(|moment| moment.sequence),
            created: created(record.saved),
            parent: None,
        };
        statement.annotate(said.clone());
        if let (Some(run), Some(spool)) = (&record.run, &self.spool)
            && follow(spool, run, statement, now).is_err()
        {
            statement.annotate(said); // or two would name the same one
        }
    }
}

fn heads(spool: &Path) -> PathBuf {
    spool.join("runs").join("heads.json")
}

/// Has `statement` name the head of `run`, and be it from now on.
fn follow(spool: &Path, run: &str, statement: &mut Statement, now: SystemTime) -> io::Result<()> {
    let path = heads(spool);
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    // Whoever else can write there could have it name anything.
    check_private(spool).map_err(io::Error::other)?;
    kept::change(&path, |heads: &mut Heads| {
        let before = heads.runs.get(run);
        let mut said = statement.annotations().clone();
        said.parent = before.and_then(|head| Digest::from_hex(&head.digest));
        let place = said.sequence.max(before.map(|head| head.sequence));
        statement.annotate(said);
        let head = Head {
            digest: statement.digest().map_err(io::Error::other)?.to_string(),
            sequence: place.unwrap_or_default(),
            at: since_1970(now).as_secs(),
        };
        heads.runs.insert(run.to_owned(), head);
        if heads.runs.len() > HEADS {
            let oldest = heads.runs.iter().min_by_key(|(_, head)| head.at);
            let oldest = oldest.map(|(run, _)| run.clone());
            oldest.map(|run| heads.runs.remove(&run));
        }
        Ok(())
    })
}

/// What is said of a checkpoint of `run` that is signed by hand at the time `now`.
#[must_use]
pub fn saved(run: String, step: Option<u64>, now: SystemTime) -> Annotations {
    Annotations {
        run: Some(run),
        step,
        sequence: Some(sequence(now)),
        created: created(since_1970(now).as_secs()),
        parent: None,
    }
}

/// The place of what is saved `now`, in milliseconds since 1970.
fn sequence(now: SystemTime) -> u64 {
    since_1970(now).as_millis().try_into().unwrap_or(u64::MAX)
}

fn created(seconds: u64) -> Option<SystemTime> {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}
