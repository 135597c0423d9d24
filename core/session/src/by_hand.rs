//! One model by hand: what the options of a command, or the arguments of a function, say in the place of settings.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::{Config, Error, Instance, Method, PrivateKey, Settings};

/// What somebody says who signs by hand. What they leave out is as the settings have it. No `Debug`: it may hold secrets.
///
/// Every way to sign by hand goes through [`ByHand::config`], which alone asks whether it is locked.
#[derive(Default)]
pub struct ByHand {
    /// Who signs; `Auto` for whom the settings name.
    pub method: Method,
    /// A path, PEM text, or a PKCS#11 URI.
    pub private_key: Option<OsString>,
    /// Opens an encrypted key.
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// A file whose first line does.
    pub password_file: Option<PathBuf>,
    /// The certificate for the key. Without one, method `pkcs11` has none.
    pub certificate: Option<PathBuf>,
    /// Files with certificates of its issuers.
    pub certificate_chain: Option<Vec<PathBuf>>,
    /// Folders with PKCS#11 modules.
    pub module_folders: Vec<PathBuf>,
    /// A timestamp authority.
    pub timestamp_url: Option<String>,
    /// An identity token.
    pub identity_token: Option<Zeroizing<String>>,
    /// A file with one.
    pub identity_token_file: Option<PathBuf>,
    /// The Sigstore instance.
    pub instance: Option<Instance>,
    /// Which training saved the model.
    pub run: Option<String>,
    /// How many threads hash.
    pub threads: Option<NonZeroUsize>,
    /// Whether git's own files are left out.
    pub ignore_git_paths: Option<bool>,
}

impl ByHand {
    /// The settings with all of it.
    ///
    /// # Errors
    /// [`Error::Locked`] where something else is locked, and those of [`Config::read_strictly`].
    pub fn config(self, settings: &Settings) -> Result<Config, Error> {
        let mut config = Config::read_strictly(settings)?;
        let choice = |variable, other: bool| {
            if other {
                settings.unlocked(variable)
            } else {
                Ok(())
            }
        };
        if self.method != Method::Auto {
            choice("MODEL_SIGNING_METHOD", !self.is_by(config.method))?;
            config.method = self.method;
            let none = self.method == Method::Pkcs11 && self.certificate.is_none();
            choice(
                "MODEL_SIGNING_CERTIFICATE",
                none && config.certificate.is_some(),
            )?;
            config.certificate = config.certificate.filter(|_| !none);
        }
        if let Some(key) = &self.private_key {
            let key = PrivateKey::given(key);
            let other = config.private_key.as_ref() != Some(&key.absolute());
            choice("MODEL_SIGNING_PRIVATE_KEY", other)?;
            config.private_key = Some(key);
        }
        if self.password.is_some() || self.password_file.is_some() {
            choice("MODEL_SIGNING_PASSWORD", true)?;
            (config.password, config.password_file) = (self.password, self.password_file);
        }
        if let Some(path) = self.certificate {
            let other = config.certificate != Some(absolute(&path));
            choice("MODEL_SIGNING_CERTIFICATE", other)?;
            config.certificate = Some(path);
        }
        if let Some(paths) = self.certificate_chain {
            let other = !paths
                .iter()
                .map(|path| absolute(path))
                .eq(config.certificate_chain);
            choice("MODEL_SIGNING_CERTIFICATE_CHAIN", other)?;
            config.certificate_chain = paths;
        }
        config.module_folders = self.module_folders;
        if self.timestamp_url.is_some() {
            let other = config.keyless.timestamp_url != self.timestamp_url;
            choice("MODEL_SIGNING_TIMESTAMP_URL", other)?;
            config.keyless.timestamp_url = self.timestamp_url;
        }
        if self.identity_token.is_some() || self.identity_token_file.is_some() {
            Self::bring_token(settings)?;
            config.keyless.forget_sources();
            config.keyless.token = self.identity_token;
            config.keyless.token_file = self.identity_token_file;
        }
        if let Some(instance) = self.instance {
            choice(instance.variable(), config.keyless.instance != instance)?;
            config.keyless.instance = instance;
        }
        if self.run.is_some() {
            choice("MODEL_SIGNING_RUN", config.run != self.run)?;
            config.run = self.run;
        }
        if self.threads.is_some() {
            choice("MODEL_SIGNING_THREADS", config.threads != self.threads)?;
            config.threads = self.threads;
        }
        if let Some(ignore) = self.ignore_git_paths {
            choice(
                "MODEL_SIGNING_IGNORE_GIT_PATHS",
                config.ignore_git_paths != ignore,
            )?;
            config.ignore_git_paths = ignore;
        }
        Ok(config)
    }

    /// Whether a token may come from elsewhere than the settings say, such as a person who logs in.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn bring_token(settings: &Settings) -> Result<(), Error> {
        settings.unlocked("MODEL_SIGNING_IDENTITY_TOKEN")?;
        settings.unlocked("MODEL_SIGNING_CREDENTIALS")?;
        settings.unlocked("MODEL_SIGNING_TOKEN_EXCHANGE_URL")
    }

    /// Whether this is what `method` means.
    fn is_by(&self, method: Method) -> bool {
        let on_token = match self.certificate {
            Some(_) => Method::Certificate,
            None => Method::Key,
        };
        method == Method::Auto
            || method == self.method
            || (self.method == Method::Pkcs11 && method == on_token)
    }
}

pub(crate) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
