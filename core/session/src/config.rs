//! What a session does: the values that the settings give.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use autosign_signing::{Placement, is_secret};
use zeroize::Zeroizing;

use crate::{
    Environment, Error, Keyless, Origin, PrivateKey, Selection, Settings, Sink, every_setting,
};

/// When a checkpoint is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// After the save has returned, on a thread of low priority.
    Background,
    /// Never: importing the package does nothing.
    Disabled,
    /// Before the save returns.
    Inline,
    /// By a flush, of another process: this one hashes after the save has returned, and asks for no key and no network.
    Offline,
}

/// Who signs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// The certificate or the key, where there is one; else Sigstore.
    #[default]
    Auto,
    /// Whom `MODEL_SIGNING_CERTIFICATE` names, the holder of `MODEL_SIGNING_PRIVATE_KEY`.
    Certificate,
    /// The holder of `MODEL_SIGNING_PRIVATE_KEY`.
    Key,
    /// The same, and it must be on a PKCS#11 token; with the certificate, where there is one.
    Pkcs11,
    /// Whom the identity token names.
    Sigstore,
}

/// What a failed signature does to training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Nothing, not even a line; the checkpoint stays in the spool.
    Ignore,
    /// The save raises. It therefore waits for its signature, in every mode; in mode `offline` for its digest.
    Raise,
    /// One line on stderr.
    Warn,
}

/// Which lines are written to stderr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// None.
    Off,
    /// What went wrong.
    Warning,
    /// One line for each signed checkpoint, too.
    Info,
    /// And one for each that was passed over, or replaced or removed before it was signed.
    Debug,
}

impl LogLevel {
    /// The one that users write so, in any case: `error` is as `warning`, `critical` as `off`, since other tools have them.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warning" | "error" => Some(Self::Warning),
            "critical" | "off" => Some(Self::Off),
            _ => None,
        }
    }

    /// As the setting has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// What a line on stderr looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// The JSON form of an event, see [`Event::json`](crate::Event::json).
    Json,
    /// For people.
    Text,
}

/// The settings of one session. No `Debug`: it may hold a password or a PIN.
#[derive(Clone)]
pub struct Config {
    /// `MODEL_SIGNING_MODE`
    pub mode: Mode,
    /// `MODEL_SIGNING_ON_ERROR`
    pub on_error: OnError,
    /// `MODEL_SIGNING_HOOKS`: names of hooks, or `auto`, or `none`.
    pub hooks: Vec<String>,
    /// `MODEL_SIGNING_PLUGINS`
    pub plugins: Vec<String>,
    /// `MODEL_SIGNING_RUN`
    pub run: Option<String>,
    /// Which saves are signed.
    pub selection: Selection,
    /// `MODEL_SIGNING_IGNORE_GIT_PATHS`
    pub ignore_git_paths: bool,
    /// `MODEL_SIGNING_METHOD`
    pub method: Method,
    /// What method `sigstore` needs.
    pub keyless: Keyless,
    /// `MODEL_SIGNING_PRIVATE_KEY`
    pub private_key: Option<PrivateKey>,
    /// `MODEL_SIGNING_CERTIFICATE`, absolute.
    pub certificate: Option<PathBuf>,
    /// `MODEL_SIGNING_CERTIFICATE_CHAIN`, absolute.
    pub certificate_chain: Vec<PathBuf>,
    /// Where a PKCS#11 module is that has no path; none for the usual places.
    pub module_folders: Vec<PathBuf>,
    /// `MODEL_SIGNING_PASSWORD`
    pub password: Option<Zeroizing<Vec<u8>>>,
    /// `MODEL_SIGNING_PASSWORD_FILE`, absolute.
    pub password_file: Option<PathBuf>,
    /// `MODEL_SIGNING_THREADS`
    pub threads: Option<NonZeroUsize>,
    /// `MODEL_SIGNING_SPOOL`, absolute; nothing where there is to be none.
    pub spool: Option<PathBuf>,
    /// `MODEL_SIGNING_DRAIN_TIMEOUT`
    pub drain_timeout: Duration,
    /// `MODEL_SIGNING_SETTLE`
    pub settle: Duration,
    /// Where the signatures of files go; nothing where that depends on who saves them.
    pub placement: Option<Placement>,
    /// `MODEL_SIGNING_LOG_LEVEL`
    pub log_level: LogLevel,
    /// `MODEL_SIGNING_LOG_FORMAT`
    pub log_format: LogFormat,
    /// `MODEL_SIGNING_EVENTS`
    pub events: Option<Sink>,
}

impl Config {
    /// Reads every setting. A value that cannot be used leaves the default in force and is returned as an error:
    /// signing with a default beats a run of unsigned checkpoints. Only where the administrator's demands cannot be
    /// known, nothing is signed: checkpoints wait in the spool.
    #[must_use]
    pub fn read(settings: &Settings) -> (Self, Vec<Error>) {
        let environment = settings.environment();
        let mut config = Self {
            mode: Mode::Background,
            on_error: OnError::Warn,
            hooks: vec!["auto".to_owned()],
            plugins: Vec::new(),
            run: None,
            selection: Selection::default(),
            ignore_git_paths: true,
            method: Method::Auto,
            keyless: Keyless {
                token: foreign_token(environment),
                environment: environment.clone(),
                ca_bundle: foreign_bundle(environment),
                trust_folder: home(
                    environment,
                    "XDG_DATA_HOME",
                    ".local/share",
                    "model-signing/trust",
                ),
                ..Keyless::default()
            },
            private_key: None,
            certificate: None,
            certificate_chain: Vec::new(),
            module_folders: Vec::new(),
            password: None,
            password_file: None,
            threads: None,
            spool: home(
                environment,
                "XDG_STATE_HOME",
                ".local/state",
                "model-signing/spool",
            ),
            drain_timeout: Duration::from_secs(120),
            settle: Duration::from_secs(2),
            placement: None,
            log_level: LogLevel::Info,
            log_format: LogFormat::Text,
            events: None,
        };
        let faults = settings.faults().iter();
        let mut errors: Vec<_> = faults
            .map(|fault| Error::ConfigFile {
                path: fault.path.clone(),
                reason: fault.reason.clone(),
                bars: fault.hides_lock,
            })
            .collect();
        let mut barred = settings.faults().iter().any(|fault| fault.hides_lock);
        for setting in every_setting() {
            let Some(value) = settings.get(setting.variable) else {
                continue;
            };
            let read = (setting.read)(&mut config, value);
            let (variable, values) = (setting.variable, setting.values);
            let secret = read.is_none() && value.to_str().is_some_and(is_secret);
            let error = if value.was_secret || secret {
                Error::SecretSetting { variable, values }
            } else if read.is_none() {
                Error::Setting {
                    variable,
                    value: setting.shown(value),
                    values,
                    origin: value.origin().clone(),
                }
            } else {
                continue;
            };
            barred |= matches!(value.origin(), Origin::Locked(_));
            errors.push(error);
        }
        if barred && config.mode != Mode::Disabled {
            config.mode = Mode::Offline;
        }
        if config.mode == Mode::Offline && config.spool.is_none() {
            errors.push(Error::NoSpool);
        }
        (config, errors)
    }

    /// Reads every setting for a person, who is there to correct one.
    ///
    /// # Errors
    /// [`Error::Setting`], [`Error::ConfigFile`].
    pub fn read_strictly(settings: &Settings) -> Result<Self, Error> {
        let (config, errors) = Self::read(settings);
        errors.into_iter().next().map_or(Ok(config), Err)
    }

    /// Why there is no spool, if there is none.
    #[must_use]
    pub fn without_spool(&self, settings: &Settings) -> Option<Error> {
        let off = settings.get("MODEL_SIGNING_SPOOL");
        let off = off.is_some_and(|value| value.text() == "off");
        let why = if off { Error::SpoolOff } else { Error::NoHome };
        self.spool.is_none().then_some(why)
    }

    /// Whether a save returns only when its signature is there, or has failed.
    #[must_use]
    pub fn saves_wait(&self) -> bool {
        self.mode == Mode::Inline || self.on_error == OnError::Raise
    }

    /// Where the signature of a file goes whose framework would have it `by_default` there.
    #[must_use]
    pub fn placement(&self, by_default: Placement) -> Placement {
        self.placement.unwrap_or(by_default)
    }

    /// Who is to sign, as one text: a spooled checkpoint is signed by nobody else. Nothing where nobody is named.
    #[must_use]
    pub fn signer(&self) -> Option<String> {
        if self.signs_with_key() {
            let key = self.private_key.as_ref()?;
            return Some(if self.signs_with_certificate() {
                format!("certificate:{}", self.certificate.as_deref()?.display())
            } else {
                format!("key:{}", self.key_name(key))
            });
        }
        // Offline, who signs is not who happens to be known where the job runs.
        let known = match self.mode {
            Mode::Offline => self.keyless.is_given(),
            _ => self.keyless.has_identity(),
        };
        let named = self.method == Method::Sigstore || known;
        named.then(|| self.keyless.name())
    }

    /// Until when this job can sign, where its only token cannot be renewed.
    pub(crate) fn token_ends(&self) -> Option<String> {
        if self.signs_with_key() || self.mode == Mode::Offline {
            return None;
        }
        let sources = self.keyless.sources().ok()?;
        sources.covers_until(self.keyless.audience())
    }

    /// Whether a private key signs, with or without a certificate, not an identity token.
    #[must_use]
    pub fn signs_with_key(&self) -> bool {
        match self.method {
            Method::Auto => self.private_key.is_some() || self.certificate.is_some(),
            Method::Certificate | Method::Key | Method::Pkcs11 => true,
            Method::Sigstore => false,
        }
    }

    /// Whether the private key's certificate goes with its signatures.
    #[must_use]
    pub fn signs_with_certificate(&self) -> bool {
        match self.method {
            Method::Auto | Method::Pkcs11 => self.certificate.is_some(),
            Method::Certificate => true,
            Method::Key | Method::Sigstore => false,
        }
    }
}

/// The token in the variable that GitLab's and other tools' documentation names.
fn foreign_token(environment: &Environment) -> Option<Zeroizing<String>> {
    let token = environment.first(&["SIGSTORE_ID_TOKEN", "SIGSTORE_IDENTITY_TOKEN"])?;
    Some(Zeroizing::new(token.to_owned()))
}

/// The CA certificates that other programs here are told to trust, such as those of a proxy that looks into TLS. What is
/// not there is no reason not to sign.
fn foreign_bundle(environment: &Environment) -> Option<PathBuf> {
    let path = environment.first(&["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])?;
    let path = std::path::absolute(path).ok()?;
    path.is_file().then_some(path)
}

/// A path of this user: `inside` the folder of the XDG variable `name`, which is `default` in the home folder where that
/// is not set, or not absolute (XDG base directory specification).
pub(crate) fn home(
    environment: &Environment,
    name: &str,
    default: &str,
    inside: &str,
) -> Option<PathBuf> {
    let folder = environment.get(name).map(PathBuf::from);
    let folder = folder.filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| Some(Path::new(environment.get("HOME")?).join(default)))?;
    Some(folder.join(inside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instance;

    fn read(variables: &[(&str, &str)]) -> (Config, Vec<Error>) {
        let environment: Environment = variables.iter().copied().collect();
        Config::read(&environment.into())
    }

    #[test]
    fn a_run_has_a_name_that_fits_on_a_line() {
        let run = |name: &str| read(&[("MODEL_SIGNING_RUN", name)]);
        let (config, _) = run("tune 7/a");
        assert_eq!(config.run.as_deref(), Some("tune 7/a"));
        for name in ["a\nb", &"x".repeat(257)] {
            let (config, errors) = run(name);
            assert_eq!((config.run, errors.len()), (None, 1));
        }
    }

    #[test]
    fn a_wrong_value_is_named_and_the_default_stays() {
        for (variable, value) in [
            ("MODEL_SIGNING_MODE", "Background"),
            ("MODEL_SIGNING_ON_ERROR", "yes"),
            ("MODEL_SIGNING_THREADS", "0"),
            ("MODEL_SIGNING_DRAIN_TIMEOUT", "1w"),
            ("MODEL_SIGNING_LOG_LEVEL", "verbose"),
            ("MODEL_SIGNING_LOG_FORMAT", "JSON"),
            ("MODEL_SIGNING_MIN_SIZE", "-1"),
            ("MODEL_SIGNING_INCLUDE", "*.pt,["),
            ("MODEL_SIGNING_EXCLUDE", " , "),
            ("MODEL_SIGNING_EVERY", "0"),
            ("MODEL_SIGNING_IGNORE_GIT_PATHS", "maybe"),
        ] {
            let (config, errors) = read(&[(variable, value)]);
            let [error] = errors.as_slice() else {
                panic!("{variable}")
            };
            assert!(
                error.to_string().contains(variable) && error.to_string().contains(value),
                "{error}"
            );
            assert_eq!(
                (config.mode, config.on_error),
                (Mode::Background, OnError::Warn)
            );
        }
    }

    #[test]
    fn a_trust_config_goes_before_a_public_instance() {
        let instance = |variables: &[(&str, &str)]| read(variables).0.keyless.instance;
        let staging = ("MODEL_SIGNING_INSTANCE", "staging");
        assert_eq!(instance(&[]), Instance::Production);
        assert_eq!(instance(&[staging]), Instance::Staging);
        let trust = ("MODEL_SIGNING_TRUST_CONFIG", "/trust.json");
        assert_eq!(
            instance(&[trust, staging]),
            Instance::trust_config("/trust.json".into())
        );
    }

    #[test]
    fn a_wrong_value_is_told_without_what_may_be_secret() {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt;
        for (variable, value, shown) in [
            (
                "MODEL_SIGNING_IDENTITY_TOKEN_URL",
                &b"https://a.example/b?key=sesame\xff"[..],
                "https://a.example/b?…",
            ),
            (
                "MODEL_SIGNING_IDENTITY_TOKEN_COMMAND",
                b"token --password sesame\xff",
                "token (2 arguments)",
            ),
            ("MODEL_SIGNING_IDENTITY_TOKEN_HEADERS", b"sesame\xff", "***"),
        ] {
            let value = OsString::from_vec(value.to_vec());
            let (_, errors) = Config::read(&Environment::from_iter([(variable, value)]).into());
            let [error] = errors.as_slice() else {
                panic!("{variable}")
            };
            let error = error.to_string();
            assert!(
                error.contains(shown) && !error.contains("sesame"),
                "{error}"
            );
        }
    }

    #[test]
    fn offline_needs_a_spool() {
        let offline = ("MODEL_SIGNING_MODE", "offline");
        let (config, errors) = read(&[offline]);
        assert!(matches!(errors.as_slice(), [Error::NoSpool]));
        assert_eq!(config.mode, Mode::Offline, "no network is not asked for it");
        assert!(read(&[offline, ("HOME", "/h")]).1.is_empty());
    }

    #[test]
    fn offline_names_nobody_who_was_not_set() {
        let offline = ("MODEL_SIGNING_MODE", "offline");
        let job = [
            ("GITHUB_ACTIONS", "true"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://example.com"),
        ];
        let signer = |variables: &[(&str, &str)]| read(variables).0.signer();
        assert!(signer(&job).is_some());
        assert_eq!(signer(&[offline, job[0], job[1]]), None);
        for set in [
            ("MODEL_SIGNING_METHOD", "sigstore"),
            ("MODEL_SIGNING_IDENTITY_TOKEN_FILE", "/token"),
            ("MODEL_SIGNING_PRIVATE_KEY", "/key.pem"),
        ] {
            assert!(signer(&[offline, set]).is_some(), "{}", set.0);
        }
    }

    #[test]
    fn an_empty_value_is_not_set() {
        let (config, errors) = read(&[
            ("MODEL_SIGNING_MODE", ""),
            ("MODEL_SIGNING_PRIVATE_KEY", ""),
        ]);
        assert!(errors.is_empty() && config.private_key.is_none());
    }

    #[test]
    fn the_ca_bundle_of_other_programs_is_used_where_it_is_there() {
        let bundle = |variables: &[(&str, &str)]| read(variables).0.keyless.ca_bundle;
        let there = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        assert_eq!(bundle(&[("SSL_CERT_FILE", there)]), Some(there.into()));
        assert_eq!(bundle(&[("REQUESTS_CA_BUNDLE", there)]), Some(there.into()));
        assert_eq!(bundle(&[("SSL_CERT_FILE", "/no/such.pem")]), None);
        let own = ("MODEL_SIGNING_CA_BUNDLE", "/own.pem");
        assert_eq!(
            bundle(&[("SSL_CERT_FILE", there), own]),
            Some("/own.pem".into())
        );
    }

    #[test]
    fn spool_follows_the_environment() {
        let spool = |variables: &[(&str, &str)]| read(variables).0.spool;
        assert_eq!(spool(&[]), None);
        assert_eq!(
            spool(&[("HOME", "/h")]),
            Some("/h/.local/state/model-signing/spool".into())
        );
        assert_eq!(
            spool(&[("HOME", "/h"), ("XDG_STATE_HOME", "/s")]),
            Some("/s/model-signing/spool".into())
        );
        assert_eq!(
            spool(&[("HOME", "/h"), ("MODEL_SIGNING_SPOOL", "off")]),
            None
        );
    }
}
