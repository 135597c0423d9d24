//! The settings of method `sigstore`, and the signer that they describe.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use autosign_signing::{
    AUDIENCE, Connection, Credentials, Environment, Error as SigningError, Guard, KeylessSigner,
    Rate, Sources, SubjectType, Surroundings, SystemClock, TokenCommand, TokenExchange, TokenFile,
    TokenRequest, TokenSource, TokenText, TrustConfig, TufRepository, read_password,
};
use zeroize::Zeroizing;

use crate::Error;
use crate::show::address;

/// Which Sigstore instance signs and is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Instance {
    /// The public-good instance.
    #[default]
    Production,
    /// Its staging instance.
    Staging,
    /// That of these files.
    Files(Box<TrustFiles>),
    /// That of the TUF repository at this URL, which a person trusted.
    Tuf(String),
}

/// The files of an instance: a trust config, or cosign's two. All paths are absolute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustFiles {
    /// `MODEL_SIGNING_TRUST_CONFIG`
    pub trust_config: Option<PathBuf>,
    /// `MODEL_SIGNING_TRUSTED_ROOT`
    pub trusted_root: Option<PathBuf>,
    /// `MODEL_SIGNING_SIGNING_CONFIG`
    pub signing_config: Option<PathBuf>,
}

impl TrustFiles {
    /// Those that are given.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.trust_config, &self.trusted_root, &self.signing_config];
        files.into_iter().flatten().map(PathBuf::as_path)
    }

    fn read(&self) -> Result<TrustConfig, SigningError> {
        let other = match (&self.trusted_root, &self.signing_config) {
            (Some(_), _) => Some("MODEL_SIGNING_TRUSTED_ROOT"),
            (None, Some(_)) => Some("MODEL_SIGNING_SIGNING_CONFIG"),
            (None, None) => None,
        };
        match (&self.trust_config, &self.trusted_root, other) {
            (Some(_), _, Some(other)) => Err(SigningError::TrustGivenTwice { other }),
            (Some(path), _, None) => TrustConfig::read(path),
            (None, Some(root), _) => TrustConfig::read_parts(root, self.signing_config.as_deref()),
            (None, None, _) => Err(SigningError::TrustRootMissing),
        }
    }
}

/// How many signatures one signer makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimit {
    /// So many with any instance.
    Any(Rate),
    /// As many as are wanted.
    Off,
    /// 30 a minute with a public instance, which many share, and as many as are wanted with another one.
    #[default]
    Public,
}

impl RateLimit {
    fn with(self, public: bool) -> Option<Rate> {
        match self {
            Self::Any(rate) => Some(rate),
            Self::Public if public => Rate::new(30, Duration::from_secs(60)),
            Self::Off | Self::Public => None,
        }
    }
}

impl Instance {
    /// That of the trust config at `path`.
    #[must_use]
    pub fn trust_config(path: PathBuf) -> Self {
        Self::Files(Box::new(TrustFiles {
            trust_config: Some(path),
            ..TrustFiles::default()
        }))
    }

    /// Names one more file: files go before what was named otherwise.
    pub(crate) fn set_file(&mut self, set: impl FnOnce(&mut TrustFiles)) {
        let mut files = match std::mem::take(self) {
            Self::Files(files) => files,
            _ => Box::default(),
        };
        set(&mut files);
        *self = Self::Files(files);
    }

    /// The environment variable that names it.
    #[must_use]
    pub fn variable(&self) -> &'static str {
        match self {
            Self::Production | Self::Staging | Self::Tuf(_) => "MODEL_SIGNING_INSTANCE",
            Self::Files(files) if files.trust_config.is_none() => "MODEL_SIGNING_TRUSTED_ROOT",
            Self::Files(_) => "MODEL_SIGNING_TRUST_CONFIG",
        }
    }

    /// `production`, `staging`, or a URL, of which the address counts.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "production" => Self::Production,
            "staging" => Self::Staging,
            url if url.starts_with("https://") || url.starts_with("http://") => {
                Self::Tuf(address(url).trim_end_matches('/').to_owned())
            }
            _ => return None,
        })
    }
}

/// Settings of method `sigstore`. No `Debug`: it may hold a token.
#[derive(Clone, Default)]
pub struct Keyless {
    /// A token given as text.
    pub token: Option<Zeroizing<String>>,
    /// `MODEL_SIGNING_IDENTITY_TOKEN_FILE`, absolute. Goes before `token`.
    pub token_file: Option<PathBuf>,
    /// `MODEL_SIGNING_IDENTITY_TOKEN_COMMAND`
    pub command: Option<String>,
    /// `MODEL_SIGNING_IDENTITY_TOKEN_URL`
    pub url: Option<String>,
    /// `MODEL_SIGNING_IDENTITY_TOKEN_HEADERS`
    pub headers: Option<Zeroizing<String>>,
    /// `MODEL_SIGNING_IDENTITY_TOKEN_HEADERS_FILE`, absolute. Goes before `headers`.
    pub headers_file: Option<PathBuf>,
    /// `MODEL_SIGNING_IDENTITY_TOKEN_FIELD`
    pub field: Option<String>,
    /// `MODEL_SIGNING_TOKEN_EXCHANGE_URL`
    pub exchange_url: Option<String>,
    /// `MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_ID`
    pub exchange_client: Option<String>,
    /// `MODEL_SIGNING_TOKEN_EXCHANGE_CLIENT_SECRET_FILE`, absolute.
    pub exchange_secret_file: Option<PathBuf>,
    /// `MODEL_SIGNING_TOKEN_EXCHANGE_CONNECTOR`
    pub exchange_connector: Option<String>,
    /// `MODEL_SIGNING_TOKEN_EXCHANGE_SUBJECT_TYPE`
    pub exchange_subject_type: SubjectType,
    /// `MODEL_SIGNING_AUDIENCE`; nothing for the public instance's.
    pub audience: Option<String>,
    /// `MODEL_SIGNING_INSTANCE`, or the files that go before it.
    pub instance: Instance,
    /// `MODEL_SIGNING_REKOR_VERSION`; nothing for the highest.
    pub rekor_version: Option<u32>,
    /// `MODEL_SIGNING_TIMESTAMP_URL`
    pub timestamp_url: Option<String>,
    /// `MODEL_SIGNING_RATE`
    pub rate: RateLimit,
    /// `MODEL_SIGNING_TIMEOUT`; nothing for the signer's own.
    pub timeout: Option<Duration>,
    /// `MODEL_SIGNING_RETRIES`; nothing for the connection's own.
    pub retries: Option<u32>,
    /// `MODEL_SIGNING_PUBLIC_LOG` is `deny`.
    pub deny_public_log: bool,
    /// `MODEL_SIGNING_CA_BUNDLE`, absolute.
    pub ca_bundle: Option<PathBuf>,
    /// `MODEL_SIGNING_CREDENTIALS`
    pub credentials: Credentials,
    /// `MODEL_SIGNING_EXPECT_IDENTITY` and `MODEL_SIGNING_EXPECT_ISSUER`
    pub expected: (Option<String>, Option<String>),
    /// What sources of tokens look at.
    pub environment: Environment,
    /// Where trust that was fetched is kept, absolute; nothing where there is no home folder.
    pub trust_folder: Option<PathBuf>,
}

impl Keyless {
    /// Whether there is a token, or a place where one may be. Asks nobody.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        // Why there can be no connection is told when one is made.
        self.sources().map_or(true, |sources| sources.any_is_here())
    }

    /// Whether the settings themselves say where a token is.
    pub(crate) fn is_given(&self) -> bool {
        let text = [&self.command, &self.url, &self.exchange_url];
        self.token.is_some() || self.token_file.is_some() || text.iter().any(|one| one.is_some())
    }

    /// Forgets where tokens come from, for a caller who brings one.
    pub fn forget_sources(&mut self) {
        (self.token, self.token_file) = (None, None);
        (self.command, self.url, self.exchange_url) = (None, None, None);
        self.credentials = Credentials::default();
    }

    /// Where tokens may come from.
    ///
    /// # Errors
    /// Those of [`Connection::new`], [`TokenCommand::parse`], [`TokenRequest::new`] and [`read_password`].
    pub fn sources(&self) -> Result<Sources, SigningError> {
        let mut given: Vec<Box<dyn TokenSource>> = Vec::new();
        if let Some(path) = &self.token_file {
            given.push(Box::new(TokenFile::new(path.clone())));
        }
        if let Some(token) = &self.token {
            given.push(Box::new(TokenText::new(token.as_str().to_owned())));
        }
        if let Some(text) = &self.command {
            given.push(Box::new(TokenCommand::parse(text)?));
        }
        if let Some(url) = &self.url {
            let headers = self.headers.as_deref().map(String::as_str);
            let request = TokenRequest::new(url.clone(), headers, self.field.as_deref())?;
            given.push(Box::new(match &self.headers_file {
                Some(path) => request.with_headers_file(path.clone()),
                None => request,
            }));
        }
        let connection = self.connection()?;
        let here = Surroundings::new(self.environment.clone(), connection.clone());
        let sources = Sources::new(here, given, &self.credentials);
        let Some(url) = &self.exchange_url else {
            return Ok(sources);
        };
        let secret = self.exchange_secret_file.as_deref().map(read_password);
        let audience = self.exchange_client.as_deref().unwrap_or(self.audience());
        let exchange = TokenExchange {
            url: url.clone(),
            client_id: self.exchange_client.clone(),
            client_secret: secret.transpose()?,
            connector: self.exchange_connector.clone(),
            subject_type: self.exchange_subject_type,
            subject_audience: audience.to_owned(),
            subject: sources,
        };
        Ok(Sources::only(Box::new(exchange), connection))
    }

    /// The audience that tokens are for.
    #[must_use]
    pub fn audience(&self) -> &str {
        self.audience.as_deref().unwrap_or(AUDIENCE)
    }

    /// In whose name this job may sign.
    ///
    /// # Errors
    /// Those of [`Guard::new`].
    pub fn guard(&self) -> Result<Guard, SigningError> {
        let (identity, issuer) = &self.expected;
        Guard::new(identity.as_deref(), issuer.as_deref())
    }

    /// The trusted root and the addresses of the instance: those of its files, else those last fetched, else those
    /// that came with the program. Asks nobody.
    ///
    /// # Errors
    /// [`TrustGivenTwice`](SigningError::TrustGivenTwice), [`TrustRootMissing`](SigningError::TrustRootMissing), and
    /// those of [`TrustConfig::read`] and of [`TufRepository::known`].
    pub fn trust(&self) -> Result<TrustConfig, SigningError> {
        match (&self.instance, self.repository()) {
            (Instance::Files(files), _) => files.read(),
            (_, Some(repository)) => Ok(repository.known()?.trust),
            (Instance::Production, None) => TrustConfig::production(),
            (Instance::Staging, None) => TrustConfig::staging(),
            (Instance::Tuf(url), None) => Err(SigningError::InstanceUnknown { url: url.clone() }),
        }
    }

    /// The same for signing, with the services that the settings choose.
    ///
    /// # Errors
    /// Those of [`Keyless::trust`], of [`TrustConfig::with_rekor_version`] and of
    /// [`TrustConfig::with_timestamp_authority`].
    pub fn signing_trust(&self) -> Result<TrustConfig, SigningError> {
        let mut trust = self.trust()?;
        if let Some(version) = self.rekor_version {
            trust = trust.with_rekor_version(version)?;
        }
        if let Some(url) = &self.timestamp_url {
            trust = trust.with_timestamp_authority(url)?;
        }
        Ok(trust)
    }

    /// Where trust is fetched; nothing where it is in a file, or cannot be kept.
    #[must_use]
    pub fn repository(&self) -> Option<TufRepository> {
        let folder = self.trust_folder.as_deref()?;
        match &self.instance {
            Instance::Production => Some(TufRepository::production(folder)),
            Instance::Staging => Some(TufRepository::staging(folder)),
            Instance::Files(_) => None,
            Instance::Tuf(url) => Some(TufRepository::at(url, folder)),
        }
    }

    /// Fetches trust that is older than a day. Returns whether it did.
    ///
    /// # Errors
    /// Those of [`TufRepository::refresh`] and of [`Connection::new`]; what is known stays as it is.
    pub fn refresh(&self) -> Result<bool, SigningError> {
        let connection = self.connection()?;
        match self.repository() {
            Some(repository) if repository.known()?.is_stale(connection.now()) => {
                repository.refresh(&connection)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// How services are reached.
    ///
    /// # Errors
    /// Those of [`Connection::new`].
    pub fn connection(&self) -> Result<Connection, SigningError> {
        let connection = Connection::new(self.ca_bundle.as_deref(), Arc::new(SystemClock))?;
        Ok(match self.retries {
            Some(retries) => connection.with_retries(retries),
            None => connection,
        })
    }

    /// Whoever can write to `model` must not say who is to be believed.
    ///
    /// # Errors
    /// [`TrustInModel`](autosign_signing::Error::TrustInModel) where a file of the instance, or the folder of fetched trust, lies in the model.
    pub fn refuse_trust_in(&self, model: &Path) -> Result<(), SigningError> {
        let paths: Vec<_> = match &self.instance {
            Instance::Files(files) => files.paths().collect(),
            Instance::Tuf(_) => self.trust_folder.as_deref().into_iter().collect(),
            // What is kept of these is proven from a root that came with the program.
            Instance::Production | Instance::Staging => Vec::new(),
        };
        refuse_trust_in(model, paths)
    }

    /// The signer, and whether what it signs goes on public record.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], and those of [`Keyless::signer_with`].
    pub fn signer(&self) -> Result<(KeylessSigner, bool), Error> {
        let sources = self.sources()?;
        if !sources.any_is_here() {
            return Err(Error::NoIdentity);
        }
        self.signer_with(sources)
    }

    /// The same, with tokens from elsewhere.
    ///
    /// # Errors
    /// [`Error::PublicLog`], and those of [`Keyless::signing_trust`] and of [`KeylessSigner::new`].
    pub fn signer_with(&self, sources: Sources) -> Result<(KeylessSigner, bool), Error> {
        let trust = self.signing_trust()?;
        let public = trust.is_public();
        if public && self.deny_public_log {
            return Err(Error::PublicLog);
        }
        let mut signer = KeylessSigner::new(trust, sources)?
            .with_guard(self.guard()?)
            .with_audience(self.audience().to_owned());
        if let Some(limit) = self.timeout {
            signer = signer.with_timeout(limit);
        }
        if let Some(rate) = self.rate.with(public) {
            signer = signer.with_rate(rate);
        }
        Ok((signer, public))
    }

    /// The instance as one text, for the spool.
    pub(crate) fn name(&self) -> String {
        match &self.instance {
            Instance::Production => "sigstore:production".to_owned(),
            Instance::Staging => "sigstore:staging".to_owned(),
            Instance::Files(files) => {
                let paths: Vec<_> = files
                    .paths()
                    .map(|path| path.display().to_string())
                    .collect();
                format!("sigstore:{}", paths.join(" "))
            }
            Instance::Tuf(url) => format!("sigstore:{url}"),
        }
    }
}

/// Whoever can write to `model` must not say who is to be believed.
///
/// # Errors
/// [`TrustInModel`](autosign_signing::Error::TrustInModel) where one of `paths` lies in the model.
pub fn refuse_trust_in<'a>(
    model: &Path,
    paths: impl IntoIterator<Item = &'a Path>,
) -> Result<(), SigningError> {
    for path in paths {
        if let (Ok(model), Ok(real)) = (model.canonicalize(), path.canonicalize())
            && real.starts_with(&model)
        {
            return Err(SigningError::TrustInModel { path: path.into() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_many_share_is_spared_unless_a_rate_is_given() {
        let one = Rate::new(1, Duration::from_secs(1));
        let thirty = Rate::new(30, Duration::from_secs(60));
        for (limit, public, private) in [
            (RateLimit::default(), thirty, None),
            (RateLimit::Off, None, None),
            (one.map(RateLimit::Any).unwrap(), one, one),
        ] {
            assert_eq!((limit.with(true), limit.with(false)), (public, private));
        }
    }
}
