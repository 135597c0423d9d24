//! The settings of method `sigstore`, and the signer that they describe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use autosign_signing::{
    Connection, Credentials, Environment, Error as SigningError, Guard, KeylessSigner, Sources,
    Surroundings, SystemClock, TokenFile, TokenSource, TokenText, TrustConfig, TufRepository,
};
use zeroize::Zeroizing;

use crate::Error;

/// Which Sigstore instance signs and is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Instance {
    /// The public-good instance.
    #[default]
    Production,
    /// Its staging instance.
    Staging,
    /// That of this trust config, an absolute path.
    TrustConfig(PathBuf),
    /// That of the TUF repository at this URL, which a person trusted.
    Tuf(String),
}

impl Instance {
    /// `production`, `staging`, or a URL.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "production" => Self::Production,
            "staging" => Self::Staging,
            url if url.starts_with("https://") || url.starts_with("http://") => {
                Self::Tuf(url.trim_end_matches('/').to_owned())
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
    /// `MODEL_SIGNING_AUDIENCE`; nothing for the public instance's.
    pub audience: Option<String>,
    /// `MODEL_SIGNING_INSTANCE` and `MODEL_SIGNING_TRUST_CONFIG`
    pub instance: Instance,
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

    /// Where tokens may come from.
    ///
    /// # Errors
    /// Those of [`Connection::new`].
    pub fn sources(&self) -> Result<Sources, SigningError> {
        let mut given: Vec<Box<dyn TokenSource>> = Vec::new();
        if let Some(path) = &self.token_file {
            given.push(Box::new(TokenFile::new(path.clone())));
        } else if let Some(token) = &self.token {
            given.push(Box::new(TokenText::new(token.as_str().to_owned())));
        }
        let here = Surroundings::new(self.environment.clone(), self.connection()?);
        Ok(Sources::new(here, given, &self.credentials))
    }

    /// In whose name this job may sign.
    ///
    /// # Errors
    /// Those of [`Guard::new`].
    pub fn guard(&self) -> Result<Guard, SigningError> {
        let (identity, issuer) = &self.expected;
        Guard::new(identity.as_deref(), issuer.as_deref())
    }

    /// The trusted root and the addresses of the instance: those of the trust config, else those last fetched, else those
    /// that came with the program. Asks nobody.
    ///
    /// # Errors
    /// Those of [`TrustConfig::read`] and of [`TufRepository::known`].
    pub fn trust(&self) -> Result<TrustConfig, SigningError> {
        match (&self.instance, self.repository()) {
            (Instance::TrustConfig(path), _) => TrustConfig::read(path),
            (_, Some(repository)) => Ok(repository.known()?.trust),
            (Instance::Production, None) => TrustConfig::production(),
            (Instance::Staging, None) => TrustConfig::staging(),
            (Instance::Tuf(url), None) => Err(SigningError::InstanceUnknown { url: url.clone() }),
        }
    }

    /// Where trust is fetched; nothing where it is in a file, or cannot be kept.
    #[must_use]
    pub fn repository(&self) -> Option<TufRepository> {
        let folder = self.trust_folder.as_deref()?;
        match &self.instance {
            Instance::Production => Some(TufRepository::production(folder)),
            Instance::Staging => Some(TufRepository::staging(folder)),
            Instance::TrustConfig(_) => None,
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
        Connection::new(self.ca_bundle.as_deref(), Arc::new(SystemClock))
    }

    /// Whoever can write to `model` must not say who is to be believed.
    ///
    /// # Errors
    /// [`TrustInModel`](autosign_signing::Error::TrustInModel) where the trust config, or the folder of fetched trust, lies in the model.
    pub fn refuse_trust_in(&self, model: &Path) -> Result<(), SigningError> {
        let path = match &self.instance {
            Instance::TrustConfig(path) => Some(path),
            Instance::Tuf(_) => self.trust_folder.as_ref(),
            // What is kept of these is proven from a root that came with the program.
            Instance::Production | Instance::Staging => None,
        };
        if let Some(path) = path
            && let (Ok(model), Ok(real)) = (model.canonicalize(), path.canonicalize())
            && real.starts_with(&model)
        {
            return Err(SigningError::TrustInModel { path: path.clone() });
        }
        Ok(())
    }

    /// The signer, and whether what it signs goes on public record.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], [`Error::PublicLog`], and those of [`KeylessSigner::new`].
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
    /// [`Error::PublicLog`], and those of [`KeylessSigner::new`].
    pub fn signer_with(&self, sources: Sources) -> Result<(KeylessSigner, bool), Error> {
        let trust = self.trust()?;
        let public = trust.is_public();
        if public && self.deny_public_log {
            return Err(Error::PublicLog);
        }
        let mut signer = KeylessSigner::new(trust, sources)?.with_guard(self.guard()?);
        if let Some(audience) = &self.audience {
            signer = signer.with_audience(audience.clone());
        }
        Ok((signer, public))
    }

    /// The instance as one text, for the spool.
    pub(crate) fn name(&self) -> String {
        match &self.instance {
            Instance::Production => "sigstore:production".to_owned(),
            Instance::Staging => "sigstore:staging".to_owned(),
            Instance::TrustConfig(path) => format!("sigstore:{}", path.display()),
            Instance::Tuf(url) => format!("sigstore:{url}"),
        }
    }
}
