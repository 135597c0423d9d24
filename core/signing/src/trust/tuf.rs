//! Trust that follows its instance: trusted root and signing config out of a repository of The Update Framework (TUF
//! 1.0), kept in a file and proven anew, from a root that was trusted once, whenever they are used.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sigstore_tuf::transport::FetchFuture;
use sigstore_tuf::{FileStore, MetadataStore, Repository, StoreRepository, Updater};

use super::{CONFIG, TrustConfig, read_private};
use crate::services::{Connection, Deadline};
use crate::{Error, json};

/// What came with the program of a public instance.
#[derive(Debug)]
struct Embedded {
    url: &'static str,
    /// Its root.json, which is signed by the holders of the keys of the one before.
    root: &'static [u8],
    /// Both files as of [`EMBEDDED`].
    trust: fn() -> Result<TrustConfig, Error>,
}

static PRODUCTION: Embedded = Embedded {
    url: "https://tuf-repo-cdn.sigstore.dev",
    root: include_bytes!("production.root.json"),
    trust: TrustConfig::production,
};
static STAGING: Embedded = Embedded {
    url: "https://tuf-repo-cdn.sigstage.dev",
    root: include_bytes!("staging.root.json"),
    trust: TrustConfig::staging,
};
/// 2026-10-23, when `sigstore-trust-root` 0.15.1 was made of what the repositories had; in seconds.
const EMBEDDED: Duration = Duration::from_secs(1_792_713_600);
/// The two files that are wanted. An instance without the second can only verify.
const TRUSTED_ROOT: &str = "trusted_root.json";
const SIGNING_CONFIG: &str = "signing_config.v0.2.json";
/// For so long nothing is asked again.
const FRESH: Duration = Duration::from_secs(24 * 3600);
/// For all requests of a refresh.
const LIMIT: Duration = Duration::from_secs(20);

/// The repository of one instance, and what is known of it on this machine.
#[derive(Clone, Debug)]
pub struct TufRepository {
    url: String,
    cache: PathBuf,
    /// Where there is none, a person has to trust a root first.
    embedded: Option<&'static Embedded>,
}

/// What is known: one file, which is replaced as a whole, so that a refresh that fails half-way changes nothing.
#[derive(Default, Deserialize, Serialize)]
struct Kept {
    /// When the repository was last asked with success.
    as_of: Timestamp,
    /// The root.json that a person trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    /// Metadata and targets as the TUF client names them.
    files: BTreeMap<String, String>,
}

/// Trust as a repository vouched for it.
pub struct Known {
    /// What is to be believed.
    pub trust: TrustConfig,
    /// When the repository said so.
    pub as_of: SystemTime,
}

impl Known {
    /// That time for people (RFC 3339).
    #[must_use]
    pub fn as_of_text(&self) -> String {
        let seconds = Timestamp::try_from(self.as_of).map(Timestamp::as_second);
        let text = seconds.and_then(Timestamp::from_second);
        text.map(|time| time.to_string()).unwrap_or_default()
    }

    /// Whether the repository should be asked again at `now`: its operator replaces keys and addresses, seldom, and
    /// withdraws them, one hopes never. A time to come is that of a wrong clock.
    #[must_use]
    pub fn is_stale(&self, now: SystemTime) -> bool {
        now.duration_since(self.as_of)
            .map_or(true, |age| age > FRESH)
    }
}

impl TufRepository {
    /// The repository of the public-good instance; what is known of it lies in a file of the folder `cache`.
    #[must_use]
    pub fn production(cache: &Path) -> Self {
        Self::embedded(&PRODUCTION, cache)
    }

    /// That of its staging instance.
    #[must_use]
    pub fn staging(cache: &Path) -> Self {
        Self::embedded(&STAGING, cache)
    }

    fn embedded(embedded: &'static Embedded, cache: &Path) -> Self {
        Self {
            embedded: Some(embedded),
            ..Self::at(embedded.url, cache)
        }
    }

    /// The repository at `url`. It has to be trusted once ([`TufRepository::trust`]) before it is of use.
    #[must_use]
    pub fn at(url: &str, cache: &Path) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            cache: cache.to_owned(),
            embedded: None,
        }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Trusts the root.json at `path` from now on, if all that the repository has follows from it.
    ///
    /// # Errors
    /// [`Error::Io`], and those of [`TufRepository::refresh`]; nothing more is trusted then.
    pub fn trust(&self, path: &Path, connection: &Connection) -> Result<TrustConfig, Error> {
        let root = read_private(path, CONFIG)?;
        let root = String::from_utf8(root).map_err(|error| self.wrong(error))?;
        let kept = Kept {
            root: Some(root),
            ..Kept::default()
        };
        self.refresh_from(kept, connection)
    }

    /// What is known without asking anybody: what the repository last said or, where that is older or damaged, what came
    /// with the program. All signatures are checked, but not whether they are out of date, because a machine without
    /// network would lose its trust within a week.
    ///
    /// # Errors
    /// [`Error::InstanceUnknown`], [`Error::TrustWritable`], [`Error::TrustRefresh`] where the file was altered.
    pub fn known(&self) -> Result<Known, Error> {
        let kept = self.kept().and_then(|kept| self.proven(kept));
        let Some(embedded) = self.embedded else {
            return kept;
        };
        let as_of = SystemTime::UNIX_EPOCH + EMBEDDED;
        match kept {
            Ok(kept) if kept.as_of > as_of => Ok(kept),
            _ => Ok(Known {
                trust: (embedded.trust)()?,
                as_of,
            }),
        }
    }

    /// Asks the repository, and remembers what it says.
    ///
    /// # Errors
    /// [`Error::InstanceUnknown`], [`Error::TrustWritable`], and [`Error::TrustRefresh`] where it cannot be reached, is
    /// out of date, goes back to an older version, or is not signed as it should be. What is known stays as it is.
    pub fn refresh(&self, connection: &Connection) -> Result<TrustConfig, Error> {
        let kept = self.kept().or_else(|error| {
            // A public instance is known by its root, whatever became of the file.
            self.embedded.map(|_| Kept::default()).ok_or(error)
        })?;
        self.refresh_from(kept, connection)
    }

    fn refresh_from(&self, kept: Kept, connection: &Connection) -> Result<TrustConfig, Error> {
        let remote = Remote {
            url: self.url.clone(),
            connection: connection.clone(),
            deadline: Deadline::within(LIMIT),
        };
        let now = Timestamp::try_from(connection.now()).map_err(|error| self.wrong(error))?;
        let store = Arc::new(Store(Mutex::new(kept.files)));
        let updater = Updater::new(remote, self.beginning(kept.root.as_deref())?);
        let updater = updater.map_err(self.failed())?;
        let trust = self.take(updater.with_store(Arc::clone(&store)), now)?;
        let kept = Kept {
            as_of: now,
            files: store.files().clone(),
            ..kept
        };
        let text = serde_json::to_vec(&kept).map_err(|error| self.wrong(error))?;
        let folder = FileStore::new(&self.cache);
        folder
            .store(&self.file_name(), &text)
            .map_err(self.failed())?;
        Ok(trust)
    }

    fn proven(&self, kept: Kept) -> Result<Known, Error> {
        let store = Arc::new(Store(Mutex::new(kept.files)));
        let repository = StoreRepository::new(Arc::clone(&store));
        let updater = Updater::new(repository, self.beginning(kept.root.as_deref())?);
        let updater = updater.map_err(self.failed())?.with_store(store);
        Ok(Known {
            trust: self.take(updater, Timestamp::UNIX_EPOCH)?,
            as_of: kept.as_of.into(),
        })
    }

    /// The two files, as `updater` proves them at `now`.
    fn take(&self, mut updater: Updater, now: Timestamp) -> Result<TrustConfig, Error> {
        // No future of ours ever waits: they are done when they are made.
        pollster::block_on(async {
            updater.refresh(now).await?;
            let root = updater.get_target(TRUSTED_ROOT, now).await?;
            let config = match updater.get_target(SIGNING_CONFIG, now).await {
                Err(sigstore_tuf::Error::TargetNotFound(_)) => None,
                other => Some(other?),
            };
            Ok((root, config))
        })
        .map_err(self.failed())
        .and_then(|(root, config)| TrustConfig::from_parts(&root, config.as_deref()))
    }

    /// Where all trust in the instance begins.
    fn beginning<'a>(&self, trusted: Option<&'a str>) -> Result<&'a [u8], Error> {
        match self.embedded {
            Some(embedded) => Ok(embedded.root),
            None => trusted.map(str::as_bytes).ok_or_else(|| self.unknown()),
        }
    }

    fn kept(&self) -> Result<Kept, Error> {
        let path = self.cache.join(self.file_name());
        if !path.exists() {
            return Err(self.unknown());
        }
        json::parse(&read_private(&path, CONFIG)?).map_err(|error| self.wrong(error))
    }

    fn file_name(&self) -> String {
        let name: String = form_urlencoded::byte_serialize(self.url.as_bytes()).collect();
        format!("{name}.json")
    }

    fn unknown(&self) -> Error {
        Error::InstanceUnknown {
            url: self.url.clone(),
        }
    }

    fn failed(&self) -> impl Fn(sigstore_tuf::Error) -> Error {
        |error| {
            let mut reason = error.to_string();
            let mut cause = error.source();
            while let Some(error) = cause {
                reason = format!("{reason}: {error}");
                cause = error.source();
            }
            self.wrong(reason)
        }
    }

    fn wrong(&self, reason: impl Display) -> Error {
        Error::TrustRefresh {
            url: self.url.clone(),
            reason: reason.to_string(),
        }
    }
}

/// The files of a [`Kept`], at work.
struct Store(Mutex<BTreeMap<String, String>>);

impl Store {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MetadataStore for Store {
    fn load(&self, name: &str) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        Ok(self.files().get(name).map(|text| text.clone().into_bytes()))
    }

    fn store(&self, name: &str, bytes: &[u8]) -> sigstore_tuf::Result<()> {
        // `7.snapshot.json` is kept as `snapshot.json`, too, and only that is asked for again.
        let is_version = name.starts_with(|c: char| c.is_ascii_digit());
        // All of it is JSON; what is not is not kept, and fetched again.
        if let (Ok(text), false) = (str::from_utf8(bytes), is_version) {
            self.files().insert(name.to_owned(), text.to_owned());
        }
        Ok(())
    }
}

/// The repository over HTTP.
struct Remote {
    url: String,
    connection: Connection,
    deadline: Deadline,
}

impl Remote {
    fn fetch(&self, path: &str, max_length: u64) -> sigstore_tuf::Result<Option<Vec<u8>>> {
        let http = self.connection.to("the TUF repository", self.deadline);
        let found = http.find(&format!("{}/{path}", self.url), max_length);
        found.map_err(|error| sigstore_tuf::Error::transport(error.to_string()))
    }
}

impl Repository for Remote {
    fn fetch_metadata<'a>(&'a self, name: &'a str, max_length: u64) -> FetchFuture<'a> {
        Box::pin(std::future::ready(self.fetch(name, max_length)))
    }

    fn fetch_target<'a>(&'a self, path: &'a str, max_length: u64) -> FetchFuture<'a> {
        let path = format!("targets/{path}");
        Box::pin(std::future::ready(self.fetch(&path, max_length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_roots_are_roots() {
        for embedded in [&PRODUCTION, &STAGING] {
            let set = sigstore_tuf::TrustedMetadataSet::from_root(embedded.root).unwrap();
            let day = Timestamp::from_second(EMBEDDED.as_secs().try_into().unwrap()).unwrap();
            assert_eq!(day.to_string(), "2026-10-23T00:00:00Z");
            set.check_root_expired(day).unwrap();
        }
    }

    #[test]
    fn of_an_instance_that_was_never_asked_only_what_is_embedded_is_known() {
        let cache = tempfile::tempdir().unwrap();
        let production = TufRepository::production(cache.path()).known().unwrap();
        assert!(production.trust.is_public());
        let day = |days: u64| production.as_of + Duration::from_secs(days * 24 * 3600 + 1);
        assert!(production.is_stale(day(1)) && !production.is_stale(day(0)));
        let yesterday = production.as_of - Duration::from_secs(24 * 3600);
        assert!(production.is_stale(yesterday), "as of a day to come");
        let other = TufRepository::at("https://tuf.example/", cache.path());
        assert!(matches!(
            other.known(),
            Err(Error::InstanceUnknown { url }) if url == "https://tuf.example"
        ));
    }
}
