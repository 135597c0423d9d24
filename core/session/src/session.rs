//! The one public face: a program tells its session what it saved.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use autosign_signing::random;

use crate::spool::{Record, Spool};
use crate::worker::Queue;
use crate::{Checkpoint, Config, Error, Event, Listener, Mode, OnError, Settings, listener};

/// How many checkpoints stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Signed by this session.
    pub signed: usize,
    /// Waiting, or being hashed or signed.
    pub pending: usize,
    /// Hashed, and in the spool for a flush by another process: mode `offline`.
    pub spooled: usize,
    /// Not signed so far; tried again by a flush.
    pub failed: usize,
    /// Replaced or removed before they were signed.
    pub superseded: usize,
}

/// Signs what it is told was saved, as its settings say. One for a process, and none across a fork.
///
/// ```
/// use std::time::Duration;
/// use autosign_session::{Config, Environment, Session};
///
/// let folder = tempfile::tempdir()?;
/// let checkpoint = folder.path().join("last.pt");
/// let key = "../signing/tests/keys/p256.pem";
/// let environment = Environment::from_iter([("MODEL_SIGNING_PRIVATE_KEY", key), ("MODEL_SIGNING_SPOOL", "off")]);
/// let session = Session::start(Config::read(&environment.into()).0, Box::new(|event| println!("{}", event.line().1)));
///
/// std::fs::write(&checkpoint, b"weights")?;
/// session.saved(&checkpoint, "plain")?.wait()?;
/// assert_eq!(session.flush(Some(Duration::from_secs(10))).signed, 1);
/// assert!(folder.path().join("last.pt.sig").exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Session {
    config: Config,
    queue: Arc<Queue>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("status", &self.status())
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session with the settings of this process, which writes its lines to stderr.
    ///
    /// # Errors
    /// [`Error::Setting`] and [`Error::ConfigFile`] where `MODEL_SIGNING_ON_ERROR` is `raise`; else a wrong setting is a line
    /// on stderr.
    pub fn from_environment() -> Result<Self, Error> {
        let settings = Settings::of_process();
        let (config, errors) = Config::read(&settings);
        let listener = listener(&config);
        for error in settings.warnings() {
            listener(&Event::WrongSetting { error });
        }
        for error in errors {
            if config.on_error == OnError::Raise {
                return Err(error);
            }
            listener(&Event::WrongSetting { error });
        }
        Ok(Self::start(config, listener))
    }

    /// A session with these settings. Starts no thread until something is saved, and looks at files
    /// only to see where a token may come from.
    #[must_use]
    pub fn start(config: Config, listener: Listener) -> Self {
        let spool = config
            .spool
            .clone()
            .map(|folder| Spool::new(folder, new_name()));
        let queue = Queue::new(&config, spool, listener);
        if let Some(until) = config.token_ends() {
            (queue.listener)(&Event::TokenEnds { until });
        }
        Self { config, queue }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Notes that `framework` has just saved a checkpoint at `root`, to be signed. Returns at once; whoever must wait
    /// for the signature polls the ticket.
    ///
    /// A target that is neither file nor folder (`/dev/null`, a pipe) is no checkpoint and is passed over, and so is what
    /// the settings leave out.
    ///
    /// # Errors
    /// Where `MODEL_SIGNING_ON_ERROR` is `raise`: why the checkpoint cannot be signed at all. Else that is an event.
    pub fn saved(&self, root: &Path, framework: &str) -> Result<Ticket<'_>, Error> {
        let nothing = Ticket {
            queue: &self.queue,
            job: None,
        };
        if self.config.mode == Mode::Disabled || is_special(root) {
            return Ok(nothing);
        }
        let selection = &self.config.selection;
        let passed_over = |setting| {
            (self.queue.listener)(&Event::PassedOver {
                root: root.into(),
                framework: framework.to_owned(),
                setting,
            });
        };
        if let Some(setting) = selection.by_path(root) {
            passed_over(setting);
            return Ok(nothing);
        }
        let observed = Checkpoint::observe(root, framework, self.config.ignore_git_paths);
        let checkpoint = match observed {
            Ok(checkpoint) => checkpoint,
            Err(error) if self.config.on_error == OnError::Raise && root.exists() => {
                return Err(error);
            }
            Err(error) => {
                (self.queue.listener)(&Event::Failed {
                    root: root.into(),
                    framework: framework.to_owned(),
                    error,
                    spooled: false,
                });
                return Ok(nothing);
            }
        };
        if let Some(setting) = selection.by_size(checkpoint.bytes()) {
            passed_over(setting);
            return Ok(nothing);
        }
        let record = Record {
            checkpoint,
            signer: self.config.signer(),
            saved: SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            digest: None,
            error: None,
        };
        let spooled = self.spool(&record);
        let job = self.queue.push(record, spooled, self.config.saves_wait());
        Ok(Ticket {
            queue: &self.queue,
            job,
        })
    }

    /// Tries failed checkpoints again and waits until every one is signed or has failed, at most `patience`; in mode
    /// `offline` until every one is hashed.
    #[expect(clippy::must_use_candidate, reason = "most callers only want the wait")]
    pub fn flush(&self, patience: Option<Duration>) -> Status {
        self.hurry();
        // A wait beyond what the clock can count is a wait without end.
        let end = patience.and_then(|patience| Instant::now().checked_add(patience));
        while !self.idle_within(SLICE) && end.is_none_or(|end| Instant::now() < end) {}
        self.status()
    }

    /// [`Session::flush`] in steps, for callers with something else to look after: first this, once ...
    pub fn hurry(&self) {
        self.queue.hurry();
    }

    /// ... then this: waits at most `patience`; whether nothing is pending any more.
    #[must_use]
    pub fn idle_within(&self, patience: Duration) -> bool {
        self.queue.idle_within(patience)
    }

    /// Says what is left unsigned, at the end of the program.
    pub fn report_left(&self) {
        let status = self.status();
        let spool = self.queue.spool.as_ref();
        let spool = spool.map(|spool| spool.folder().to_path_buf());
        let left = status.pending + status.failed;
        if left > 0 {
            (self.queue.listener)(&Event::Left {
                count: left,
                spool: spool.clone(),
            });
        }
        if let Some(spool) = spool.filter(|_| status.spooled > 0) {
            (self.queue.listener)(&Event::Spooled {
                count: status.spooled,
                spool,
            });
        }
    }

    /// How many checkpoints stand where.
    #[must_use]
    pub fn status(&self) -> Status {
        self.queue.status()
    }

    /// Queues the spooled checkpoints of processes that are gone, if they are this signer's or nobody's. Returns how
    /// many are left for other signers.
    ///
    /// # Errors
    /// [`Error::Spool`], [`Error::SpoolNotPrivate`].
    pub fn adopt(&self) -> Result<usize, Error> {
        self.queue.adopt(true)
    }

    fn spool(&self, record: &Record) -> Option<std::path::PathBuf> {
        let spool = self.queue.spool.as_ref()?;
        match spool.put(record) {
            Ok(path) => Some(path),
            Err(error) => {
                (self.queue.listener)(&Event::SpoolFailed { error });
                None
            }
        }
    }
}

const SLICE: Duration = Duration::from_millis(100);

/// A saved checkpoint, and whether its save has to wait for the signature, or in mode `offline` for the digest.
#[derive(Debug)]
#[must_use = "a save in mode `inline` has to wait for it"]
pub struct Ticket<'a> {
    queue: &'a Arc<Queue>,
    job: Option<u64>,
}

impl Ticket<'_> {
    /// Waits at most `patience`; nothing where there is no outcome yet. A save that need not wait is done at once.
    pub fn poll(&mut self, patience: Duration) -> Option<Result<(), Error>> {
        let Some(job) = self.job else {
            return Some(Ok(()));
        };
        let outcome = self.queue.outcome_within(job, patience)?;
        self.job = None;
        Some(outcome)
    }

    /// Waits for the outcome.
    ///
    /// # Errors
    /// Why there is no signature, where `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn wait(mut self) -> Result<(), Error> {
        loop {
            if let Some(outcome) = self.poll(SLICE) {
                return outcome;
            }
        }
    }
}

/// Devices, pipes and sockets are written to, but nothing is saved there.
fn is_special(root: &Path) -> bool {
    std::fs::metadata(root).is_ok_and(|found| !found.is_file() && !found.is_dir())
}

/// A name that no other session on any host has: 128 random bits.
fn new_name() -> String {
    let Ok(bytes) = random() else {
        // Without a source of randomness: at least no other session of this host.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let process = rustix::process::getpid().as_raw_nonzero();
        return format!("{process}x{}", since.map_or(0, |since| since.as_nanos()));
    };
    format!("{:032x}", u128::from_ne_bytes(bytes))
}
