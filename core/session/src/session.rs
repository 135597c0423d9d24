//! The one public face: a program tells its session what it saved.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use autosign_signing::{Placement, WrittenFile, prepare_hidden, random, unprepare_hidden};

use crate::jobs::Push;
use crate::spool::Spool;
use crate::worker::Queue;
use crate::{
    Checkpoint, Config, Error, Event, Listener, Mode, OnError, Origin, PrivateKey, Settings,
    listener,
};

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
    /// Where the training is, if it has said so.
    step: Mutex<Option<u64>>,
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
        // In mode `offline` that is an error, and told above.
        if let Some(error @ Error::NoHome) = config.without_spool(&settings)
            && matches!(config.mode, Mode::Background | Mode::Inline)
        {
            listener(&Event::WrongSetting { error });
        }
        let key = settings.get("MODEL_SIGNING_PRIVATE_KEY");
        let inherited = key.is_some_and(|value| *value.origin() == Origin::Environment);
        if inherited && matches!(config.private_key, Some(PrivateKey::Text(_))) {
            listener(&Event::KeyInEnvironment);
        }
        Ok(Self::start(config, listener))
    }

    /// A session with these settings. Starts no thread until something is saved, and looks at files
    /// only to see where a token may come from, and which checkpoint of `MODEL_SIGNING_RUN` was the last.
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
        Self {
            config,
            queue,
            step: Mutex::new(None),
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Notes that the training is at `step`, which is signed with what is saved from now on; or that it is not known.
    pub fn set_step(&self, step: Option<u64>) {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
    }

    fn step(&self) -> Option<u64> {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner)
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
        self.take_in(root, framework, Extent::All, self.step(), false)
    }

    /// The same for a file that was hashed while it was written: it is not read, unless it is not as it was when it was
    /// complete. Then it is hashed, and refused where it does not hold what was written.
    ///
    /// # Errors
    /// Those of [`Session::saved`].
    ///
    /// ```
    /// use std::io::Write;
    /// use autosign_session::{Config, Environment, HashedFile, Session};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let checkpoint = folder.path().join("last.pt");
    /// let key = "../signing/tests/keys/p256.pem";
    /// let environment = Environment::from_iter([("MODEL_SIGNING_PRIVATE_KEY", key), ("MODEL_SIGNING_SPOOL", "off")]);
    /// let session = Session::start(Config::read(&environment.into()).0, Box::new(|_| ()));
    ///
    /// session.begins(&checkpoint);
    /// let mut file = HashedFile::create(&checkpoint)?;
    /// file.write_all(b"weights")?;
    /// session.saved_written(&checkpoint, "plain", file.finish()?)?.wait()?;
    /// assert_eq!(session.flush(None).signed, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn saved_written(
        &self,
        root: &Path,
        framework: &str,
        written: WrittenFile,
    ) -> Result<Ticket<'_>, Error> {
        self.take_in(
            root,
            framework,
            Extent::Written(written),
            self.step(),
            false,
        )
    }

    /// The same for a checkpoint that is not a folder and more than one file: `files`, in the folder of `root`, which is one
    /// of them and beside which the signature goes. With `step` it was saved at that step of the training.
    ///
    /// # Errors
    /// Those of [`Session::saved`].
    pub fn saved_group(
        &self,
        root: &Path,
        framework: &str,
        files: &[PathBuf],
        step: Option<u64>,
    ) -> Result<Ticket<'_>, Error> {
        let saved = Saved {
            files,
            step,
            ..Saved::default()
        };
        self.saved_as(root, framework, saved)
    }

    /// The same for a checkpoint of which more is known: see [`Saved`].
    ///
    /// # Errors
    /// Those of [`Session::saved`].
    pub fn saved_as(
        &self,
        root: &Path,
        framework: &str,
        saved: Saved<'_>,
    ) -> Result<Ticket<'_>, Error> {
        let step = saved.step.or_else(|| self.step());
        self.take_in(root, framework, Extent::As(saved), step, false)
    }

    /// Signs what is at `root` now, whatever the settings leave out, and says whether that went well by the ticket.
    ///
    /// # Errors
    /// [`Error::Disabled`]; why it cannot be signed.
    pub fn sign(&self, root: &Path) -> Result<Ticket<'_>, Error> {
        if self.config.mode == Mode::Disabled {
            return Err(Error::Disabled);
        }
        let ticket = self.take_in(root, "autosign", Extent::All, self.step(), true)?;
        self.queue.hurry();
        Ok(ticket)
    }

    fn take_in(
        &self,
        root: &Path,
        framework: &str,
        extent: Extent<'_>,
        step: Option<u64>,
        by_hand: bool,
    ) -> Result<Ticket<'_>, Error> {
        let nothing = Ticket {
            queue: &self.queue,
            job: None,
        };
        if self.config.mode == Mode::Disabled || (is_special(root) && !by_hand) {
            return Ok(nothing);
        }
        self.queue.complete(root);
        let passed_over = |setting| {
            self.queue.overwritten(root);
            self.unprepare(root);
            (self.queue.listener)(&Event::PassedOver {
                root: root.into(),
                framework: framework.to_owned(),
                setting,
            });
        };
        let whole = if by_hand {
            None
        } else {
            root.canonicalize().ok()
        };
        if let Some((folder, framework)) = whole.and_then(|root| self.queue.part_of(&root)) {
            self.queue.overwritten(root);
            return self.take_in(&folder, &framework, Extent::All, step, false);
        }
        let selection = Some(&self.config.selection).filter(|_| !by_hand);
        if let Some(setting) = selection.and_then(|selection| selection.by_path(root)) {
            passed_over(setting);
            return Ok(nothing);
        }
        let observed = match &extent {
            Extent::As(saved) if !saved.files.is_empty() => {
                Checkpoint::observe_group(root, framework, saved.files)
            }
            other => {
                let known = root.canonicalize().map(|root| self.queue.apart(&root));
                let mut apart = known.unwrap_or_default();
                if let Extent::As(saved) = other {
                    let resolved = saved.apart.iter().map(|path| path.canonicalize());
                    apart.extend(resolved.flatten());
                }
                let git = self.config.ignore_git_paths;
                Checkpoint::observe(root, framework, git, &apart)
            }
        };
        let placement = match &extent {
            Extent::As(saved) => saved.placement,
            Extent::All | Extent::Written(_) => Placement::default(),
        };
        let observed = match extent {
            Extent::Written(written) => observed.map(|seen| seen.with_digest(written)),
            Extent::All | Extent::As(_) => observed,
        };
        let checkpoint = match observed {
            Ok(checkpoint) => checkpoint
                .at_step(step)
                .placed(self.config.placement(placement)),
            Err(error) if by_hand || (self.config.on_error == OnError::Raise && root.exists()) => {
                return Err(error);
            }
            Err(error) => {
                self.queue.overwritten(root);
                (self.queue.listener)(&Event::Failed {
                    root: root.into(),
                    framework: framework.to_owned(),
                    error,
                    spooled: false,
                });
                return Ok(nothing);
            }
        };
        if checkpoint.is_folder() {
            self.unprepare(root);
        }
        let bytes = checkpoint.bytes();
        if let Some(setting) = selection.and_then(|selection| selection.by_size(bytes)) {
            passed_over(setting);
            return Ok(nothing);
        }
        if !by_hand && self.queue.has(&checkpoint) {
            return Ok(nothing); // a plugin and a hook may tell of the same save
        }
        let record = self.queue.record(checkpoint);
        let spooled = self.queue.spool_record(&record);
        let push = Push {
            awaited: by_hand || self.config.saves_wait(),
            by_hand,
            counts: true,
        };
        Ok(Ticket {
            queue: &self.queue,
            job: self.queue.push(record, spooled, push),
        })
    }

    /// Notes that a checkpoint is about to be written to `root`: what was signed there is signed no more, and its signature
    /// is taken away. [`Session::saved`] or [`Session::broken_off`] ends that.
    pub fn begins(&self, root: &Path) {
        self.begins_as(root, Placement::default());
    }

    /// Notes what [`Session::begins`] does, for a checkpoint that is going to be saved with this [`Saved::placement`].
    pub fn begins_as(&self, root: &Path, placement: Placement) {
        if self.config.mode != Mode::Disabled {
            self.queue.begins(root);
            if self.config.placement(placement) == Placement::Hidden && !root.is_dir() {
                // Where it cannot be made now, it is tried again for the signature.
                let _ = prepare_hidden(root);
            }
        }
    }

    /// What was about to be saved at `root` gets no signature of a file.
    fn unprepare(&self, root: &Path) {
        if self.config.placement != Some(Placement::Beside) {
            unprepare_hidden(root);
        }
    }

    /// Notes that the save that began at `root` has failed. The signature comes back if nothing there has changed.
    pub fn broken_off(&self, root: &Path) {
        self.queue.broken_off(root);
        self.unprepare(root);
    }

    /// Notes that this process is about to write to the file at `path`, which may be in a folder that was signed.
    pub fn touched(&self, path: &Path) {
        self.queue.touched(path);
    }

    /// Notes that `from` is about to be renamed to `to`, or that it is `linked` there: the checkpoint then has that name.
    pub fn moving(&self, from: &Path, to: &Path, linked: bool) {
        self.queue.moving(from, to, linked);
    }

    /// Notes that the file `from` is about to be copied to `to`: the copy of what was saved is signed, too, when it is complete.
    pub fn copying(&self, from: &Path, to: &Path) {
        if self.config.mode != Mode::Disabled && self.config.selection.by_path(to).is_none() {
            self.queue.copying(from, to);
        }
    }

    /// Notes that `path` is about to be removed, with all that is below it. Nothing is published there any more when this
    /// returns; that takes as long as a signature that is being written at this moment. What has not been signed and is still
    /// there ten seconds later is signed after all.
    pub fn removing(&self, path: &Path) {
        self.queue.removing(path);
    }

    /// Notes that the folder `path` is about to be removed, which works only if it is empty. What this session has put there, it
    /// takes away where nothing else is left.
    pub fn removing_folder(&self, path: &Path) {
        self.queue.removing_folder(path);
    }

    /// Notes that a child, forked from this session's process and without a session of its own, is about to remove the folder `path`.
    /// Starts no thread.
    pub fn removing_folder_in_child(&self, path: &Path) {
        self.queue.removing_folder_in_child(path);
    }

    /// Waits at most `patience` for what was saved at `root`: the path of its signature, or why there is none; nothing where
    /// the time ran out. Call [`Session::hurry`] before.
    #[must_use]
    pub fn signature_within(
        &self,
        root: &Path,
        patience: Duration,
    ) -> Option<Result<PathBuf, Error>> {
        self.queue.signature_within(root, patience)
    }

    /// Tries failed checkpoints again and waits until every one is signed or has failed, at most `patience`; in mode
    /// `offline` until every one is hashed.
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
        let not_removed = self.queue.spool_not_removed();
        let spool = self.queue.spool.as_ref().filter(|spool| spool.remembers());
        let spool = spool.map(|spool| spool.folder().to_path_buf());
        let left = status.pending + status.failed + not_removed;
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

    /// Queues the spooled checkpoints of processes that are gone, if they are this signer's or nobody's, or with `any_signer`
    /// whoever was to sign them. Returns how many are left for each other signer, see [`Config::signer`].
    ///
    /// # Errors
    /// [`Error::Spool`], [`Error::SpoolNotPrivate`].
    pub fn adopt(&self, any_signer: bool) -> Result<BTreeMap<String, usize>, Error> {
        let own = |signer: Option<&str>| signer.is_none_or(|name| self.config.is_signer(name));
        self.queue.lock().strays.await_all();
        self.queue.adopt(|signer| any_signer || own(signer))
    }
}

/// What was saved.
enum Extent<'a> {
    /// What is there.
    All,
    /// What is there, but for what is said of it.
    As(Saved<'a>),
    /// One file, whose digest is known.
    Written(WrittenFile),
}

/// What is known of a checkpoint that was saved, besides where it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Saved<'a> {
    /// Its files, where it is neither a folder nor one file.
    pub files: &'a [PathBuf],
    /// Folders in it that are checkpoints of their own, whoever saved them: an earlier process of the same training, say.
    pub apart: &'a [PathBuf],
    /// At which step of the training it was saved; [`Session::set_step`] where that is nothing.
    pub step: Option<u64>,
    /// Where the signature of a file goes if no setting says so: hidden, where readers of its folder take every file for one of
    /// theirs.
    pub placement: Placement,
}

/// Whoever waits looks so often whether there is something else to do.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

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
pub(crate) fn new_name() -> String {
    let Ok(bytes) = random() else {
        // Without a source of randomness: at least no other session of this host.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let process = rustix::process::getpid().as_raw_nonzero();
        return format!("{process}x{}", since.map_or(0, |since| since.as_nanos()));
    };
    format!("{:032x}", u128::from_ne_bytes(bytes))
}
