//! The settings of method `sigstore`, and the signer that they describe.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use autosign_signing::{
    Connection, KeylessSigner, Sources, SystemClock, TokenFile, TokenSource, TokenText, TrustConfig,
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
}

impl Keyless {
    /// Whether there is a token, or a place where one will be.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.token.is_some() || self.token_file.is_some()
    }

    /// The trusted root and the addresses of the instance.
    ///
    /// # Errors
    /// Those of [`TrustConfig::read`].
    pub fn trust(&self) -> Result<TrustConfig, autosign_signing::Error> {
        match &self.instance {
            Instance::Production => TrustConfig::production(),
            Instance::Staging => TrustConfig::staging(),
            Instance::TrustConfig(path) => TrustConfig::read(path),
        }
    }

    /// Whoever can write to `model` must not say who is to be believed.
    ///
    /// # Errors
    /// [`TrustInModel`](autosign_signing::Error::TrustInModel) where the trust config lies in the model.
    pub fn refuse_trust_in(&self, model: &Path) -> Result<(), autosign_signing::Error> {
        if let Instance::TrustConfig(path) = &self.instance
            && let (Ok(model), Ok(real)) = (model.canonicalize(), path.canonicalize())
            && real.starts_with(&model)
        {
            return Err(autosign_signing::Error::TrustInModel { path: path.clone() });
        }
        Ok(())
    }

    /// The signer, and whether what it signs goes on public record.
    ///
    /// # Errors
    /// [`Error::NoIdentity`], [`Error::PublicLog`], and those of [`KeylessSigner::new`].
    pub fn signer(&self) -> Result<(KeylessSigner, bool), Error> {
        let tokens: Box<dyn TokenSource> = match (&self.token_file, &self.token) {
            (Some(path), _) => Box::new(TokenFile::new(path.clone())),
            (None, Some(token)) => Box::new(TokenText::new(token.as_str().to_owned())),
            (None, None) => return Err(Error::NoIdentity),
        };
        self.signer_with(tokens)
    }

    /// The same, with tokens from elsewhere.
    ///
    /// # Errors
    /// [`Error::PublicLog`], and those of [`KeylessSigner::new`].
    pub fn signer_with(
        &self,
        tokens: Box<dyn TokenSource>,
    ) -> Result<(KeylessSigner, bool), Error> {
        let trust = self.trust()?;
        let public = trust.is_public();
        if public && self.deny_public_log {
            return Err(Error::PublicLog);
        }
        let connection = Connection::new(self.ca_bundle.as_deref(), Arc::new(SystemClock))?;
        let mut signer = KeylessSigner::new(trust, Sources::only(tokens, connection))?;
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
        }
    }
}
