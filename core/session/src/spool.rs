//! Unsigned checkpoints on disk, one record each, so that a killed process loses none.
//!
//! A session holds a lock file as long as its process lives; the records of a session whose lock can be had are free
//! to take. Records are written by rename but not synced: they outlive the process, and a power cut takes an unsynced
//! checkpoint with it anyway, while a sync after a large save would make training wait for the disk.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use autosign_signing::{Digest, read_found, without_secrets};
use once_cell::sync::OnceCell;
use rustix::fs::{FlockOperation, Mode, OFlags, fcntl_lock};
use rustix::io::Errno;
use rustix::process::Pid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::kept;
use crate::lock::touches_disk;
use crate::run::Run;
use crate::strays::Stray;
use crate::{Checkpoint, Error};

/// More than a checkpoint of 100,000 files needs.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// An unsigned checkpoint as the spool remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is to be signed.
    pub checkpoint: Checkpoint,
    /// Who is to sign, see [`Config::signer`](crate::Config::signer); anybody where that was not set.
    pub signer: Option<String>,
    /// When it was saved, in seconds since 1970.
    pub saved: u64,
    /// Which training saved it; nothing in records of versions that did not say.
    #[serde(default)]
    pub run: Option<String>,
    /// Its root digest, hex, once it has been hashed, be it while it was written: other content is never signed in its name.
    pub digest: Option<String>,
    /// Why it could not be signed so far.
    pub error: Option<String>,
}

impl Record {
    /// A checkpoint that `run` has saved, for `signer`: just `now`, if it is not known when.
    pub(crate) fn new(
        mut checkpoint: Checkpoint,
        signer: Option<String>,
        run: &Run,
        now: SystemTime,
    ) -> Self {
        let moment = *checkpoint.moment.get_or_insert_with(|| run.moment(now));
        Self {
            digest: checkpoint.root_digest().map(|digest| digest.to_string()),
            checkpoint,
            signer,
            saved: moment.saved,
            run: Some(run.name().to_owned()),
            error: None,
        }
    }

    /// Versions that took a key for its path have written it down.
    fn without_secrets(self) -> Self {
        Self {
            signer: self.signer.as_deref().map(without_secrets),
            error: self.error.as_deref().map(without_secrets),
            ..self
        }
    }

    pub(crate) fn is_of(&self, digest: &Digest) -> bool {
        self.digest
            .as_ref()
            .is_none_or(|known| *known == digest.to_string())
    }
}

/// A record in the spool.
#[derive(Clone, Debug)]
pub struct Spooled {
    pub(crate) path: PathBuf,
    /// The record.
    pub record: Record,
    /// Whether the process that saved it still runs.
    pub owned: bool,
}

impl Spooled {
    /// Removes the record: nobody is going to sign its checkpoint.
    pub fn forget(&self) {
        Spool::remove(&self.path);
    }
}

/// One session's place in the spool folder.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    session: String,
    records: AtomicU64,
    /// The lock, and the process that took it: locks and threads do not cross a fork.
    lock: OnceCell<(OwnedFd, Pid)>,
}

impl Spool {
    /// A place for session `session` in `folder`, which need not exist. Touches nothing yet.
    #[must_use]
    pub fn new(folder: PathBuf, session: String) -> Self {
        Self {
            folder,
            session,
            records: AtomicU64::new(0),
            lock: OnceCell::new(),
        }
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether anything is in it, or could be put there.
    pub(crate) fn remembers(&self) -> bool {
        self.lock.get().is_some() || self.list().is_ok_and(|all| !all.is_empty())
    }

    /// Writes a new record and returns its path.
    pub(crate) fn put(&self, record: &Record) -> Result<PathBuf, Error> {
        self.write("json", record)
    }

    /// Remembers a signature that is to be removed, and returns the path of its record.
    pub(crate) fn put_stray(&self, stray: &Stray) -> Result<PathBuf, Error> {
        self.write("stray", stray)
    }

    fn write(&self, kind: &str, record: &impl Serialize) -> Result<PathBuf, Error> {
        let number = self.records.fetch_add(1, Ordering::Relaxed);
        self.lock.get_or_try_init(|| self.enter())?;
        let name = format!("{}-{number}.{kind}", self.session);
        let path = self.folder.join(name);
        replace(&path, record)?;
        Ok(path)
    }

    /// Writes a record again, with what is now known.
    pub(crate) fn update(path: &Path, record: &Record) -> Result<(), Error> {
        replace(path, record)
    }

    /// Forgets a record; one that is gone already is no error.
    pub(crate) fn remove(path: &Path) {
        touches_disk();
        let _ = fs::remove_file(path);
    }

    /// Every record of every session; damaged ones are left alone.
    ///
    /// # Errors
    /// [`Error::Spool`] where the folder cannot be read, [`Error::SpoolNotPrivate`].
    pub fn list(&self) -> Result<Vec<Spooled>, Error> {
        let all = self.read_all("json")?;
        let spooled = all.into_iter().map(|(path, record, owned)| Spooled {
            path,
            record: Record::without_secrets(record),
            owned,
        });
        Ok(spooled.collect())
    }

    /// The signatures that sessions which are gone have left to be removed, and where each record is.
    pub(crate) fn strays(&self) -> Vec<(PathBuf, Stray)> {
        let all = self.read_all("stray").unwrap_or_default();
        let left = all.into_iter().filter(|(_, _, owned)| !owned);
        left.map(|(path, stray, _)| (path, stray)).collect()
    }

    /// The records of one `kind`: path, content, and whether the process that wrote it still runs.
    fn read_all<R: DeserializeOwned>(&self, kind: &str) -> Result<Vec<(PathBuf, R, bool)>, Error> {
        let folder = self.folder.as_path();
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(fail("read", folder))?,
        };
        check_private(folder)?;
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        let mut alive = BTreeMap::from([(self.session.as_str(), true)]);
        let mut all = Vec::new();
        // Lock files are looked at, too: those of dead sessions go.
        for name in &names {
            let Some((stem, found)) = name.rsplit_once('.') else {
                continue;
            };
            let session = stem.split_once('-').map_or(stem, |(session, _)| session);
            let owned = *alive
                .entry(session)
                .or_insert_with(|| is_alive(folder, session));
            let path = folder.join(name);
            if found == kind
                && let Some(record) = read(&path)
            {
                all.push((path, record, owned));
            }
        }
        Ok(all)
    }

    /// Makes the folder and takes this session's lock.
    fn enter(&self) -> Result<(OwnedFd, Pid), Error> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(fail("create", &self.folder))?;
        check_private(&self.folder)?;
        let lock =
            open_lock(&self.folder, &self.session).map_err(fail("write to", &self.folder))?;
        // Where the file system knows no locks, every session looks dead, and a record may be signed twice: no harm.
        let _ = fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive);
        Ok((lock, rustix::process::getpid()))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self
            .lock
            .get()
            .is_some_and(|(_, owner)| *owner == rustix::process::getpid())
        {
            let _ = fs::remove_file(lock_path(&self.folder, &self.session));
        }
    }
}

fn is_alive(folder: &Path, session: &str) -> bool {
    let path = lock_path(folder, session);
    if !path.exists() {
        return false;
    }
    let Ok(lock) = open_lock(folder, session) else {
        return true;
    };
    match fcntl_lock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {
            // Nobody holds it and nobody ever will again: session names are not reused.
            let _ = fs::remove_file(path);
            false
        }
        Err(error) => matches!(error, Errno::AGAIN | Errno::ACCESS),
    }
}

fn lock_path(folder: &Path, session: &str) -> PathBuf {
    folder.join(format!("{session}.lock"))
}

fn open_lock(folder: &Path, session: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(
        lock_path(folder, session),
        flags,
        Mode::RUSR | Mode::WUSR,
    )?)
}

/// Whoever can write a record can have a file signed: only the user itself may.
pub(crate) fn check_private(folder: &Path) -> Result<(), Error> {
    let found = fs::metadata(folder).map_err(fail("look at", folder))?;
    let user = rustix::process::geteuid().as_raw();
    if found.mode() & 0o022 != 0 || (found.uid() != user && found.uid() != 0) {
        return Err(Error::SpoolNotPrivate {
            path: folder.into(),
        });
    }
    Ok(())
}

fn read<R: DeserializeOwned>(path: &Path) -> Option<R> {
    serde_json::from_slice(&read_found(path, "record", MAX_RECORD_BYTES).ok()?).ok()
}

fn replace(path: &Path, record: &impl Serialize) -> Result<(), Error> {
    touches_disk();
    let wrong = |e: serde_json::Error| fail("write to", path)(e.into());
    let bytes = serde_json::to_vec(record).map_err(wrong)?;
    kept::replace(path, &bytes).map_err(fail("write to", path))
}

fn fail(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Spool {
        action,
        path,
        source,
    }
}
