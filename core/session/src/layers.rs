//! The settings in force, each with where it came from: the environment, the configuration files, and what the
//! administrator has locked.
//!
//! From the strongest: `[locked]` of `/etc/model-signing/config.toml`, environment variables, the file of
//! `MODEL_SIGNING_CONFIG`, `$XDG_CONFIG_HOME/model-signing/config.toml`, the rest of the one in `/etc`. Nothing is read
//! from the working directory or from a model's folder: whoever writes a model must not say how it is judged.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use autosign_signing::is_secret;

use crate::config::home;
use crate::config_file::ConfigFile;
use crate::settings::{PREFIX, nearest, setting};
use crate::value::in_home;
use crate::{Environment, Error, Origin, Value};

const ADMINISTRATOR: &str = "etc/model-signing/config.toml";
/// Settings that answer one question: who says one of them overrules what weaker layers say of the others, so that an
/// instance that is locked cannot be left by a trust config.
const RIVALS: &[&[&str]] = &[
    &[
        "MODEL_SIGNING_INSTANCE",
        "MODEL_SIGNING_SIGNING_CONFIG",
        "MODEL_SIGNING_TRUSTED_ROOT",
        "MODEL_SIGNING_TRUST_CONFIG",
    ],
    &[
        "MODEL_SIGNING_IDENTITY_TOKEN",
        "MODEL_SIGNING_IDENTITY_TOKEN_COMMAND",
        "MODEL_SIGNING_IDENTITY_TOKEN_FILE",
        "MODEL_SIGNING_IDENTITY_TOKEN_URL",
    ],
    &[
        "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS",
        "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS_FILE",
    ],
    &["MODEL_SIGNING_PASSWORD", "MODEL_SIGNING_PASSWORD_FILE"],
];

/// Every setting that is set. No `Debug`: secrets are among them.
#[derive(Clone, Default)]
pub struct Settings {
    environment: Environment,
    values: BTreeMap<&'static str, Value>,
    /// What is wrong with files.
    faults: Vec<Fault>,
    /// Names that are no settings, and the file they stand in.
    unknown: Vec<(String, Option<PathBuf>)>,
    /// Set in vain: locked to something else.
    overruled: Vec<&'static str>,
}

/// Part of a file, or all of it, is not in force.
#[derive(Clone)]
pub(crate) struct Fault {
    pub(crate) path: PathBuf,
    pub(crate) reason: String,
    /// It may hide what the administrator demands.
    pub(crate) hides_lock: bool,
}

impl Settings {
    /// Those of this process, and of this machine's files.
    #[must_use]
    pub fn of_process() -> Self {
        Self::read(Environment::of_process(), Path::new("/"))
    }

    /// Those of `environment`, and of the files that it names or that lie where they belong; the administrator's lies
    /// below `root`.
    #[must_use]
    pub fn read(environment: Environment, root: &Path) -> Self {
        let mut settings = Self::default();
        let administrator = ConfigFile::read(&root.join(ADMINISTRATOR), true);
        let own = home(
            &environment,
            "XDG_CONFIG_HOME",
            ".config",
            "model-signing/config.toml",
        );
        let own = own.and_then(|path| ConfigFile::read(&path, false));
        let named = environment.get("MODEL_SIGNING_CONFIG");
        let named = named.filter(|path| !path.to_str().is_some_and(is_secret));
        let named = named.map(|path| {
            let path = in_home(path.to_owned(), &environment);
            let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
            ConfigFile::read(&path, false).unwrap_or_else(|| ConfigFile::missing(&path))
        });
        let mut locked = Vec::new();
        for file in administrator.into_iter().chain(own).chain(named) {
            locked.extend(settings.take_file(file, &environment));
        }
        settings.take_environment(&environment);
        settings.lay(locked);
        let values = settings.values.iter();
        settings.environment =
            environment.with(values.map(|(&variable, value)| (variable, value.text.clone())));
        settings
    }

    /// What was set for `variable`.
    #[must_use]
    pub fn get(&self, variable: &str) -> Option<&Value> {
        let value = self.values.get(variable);
        value.filter(|value| !value.text.is_empty())
    }

    /// The environment with every setting in it, wherever it came from.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What was set in vain: names that are no settings, such as one with a slip in it, and what is locked.
    #[must_use]
    pub fn warnings(&self) -> Vec<Error> {
        let unknown = self
            .unknown
            .iter()
            .map(|(name, file)| Error::UnknownSetting {
                name: name.clone(),
                file: file.clone(),
                nearest: nearest(name),
            });
        let overruled = self.overruled.iter();
        let overruled = overruled.filter_map(|variable| self.unlocked(variable).err());
        unknown.chain(overruled).collect()
    }

    /// Whether somebody may choose otherwise than `variable` is set.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn unlocked(&self, variable: &'static str) -> Result<(), Error> {
        let locked = self.values.iter().find_map(|(&name, value)| {
            let Origin::Locked(path) = &value.origin else {
                return None;
            };
            let bars = name == variable || rivals(name).contains(&variable);
            bars.then(|| (name, path.clone()))
        });
        match locked {
            Some((locked, path)) => Err(Error::Locked {
                variable,
                locked,
                path,
            }),
            None => Ok(()),
        }
    }

    /// With what an option of the command says of `variable`, which goes before all that is not locked.
    ///
    /// # Errors
    /// [`Error::Locked`].
    pub fn with_option(&self, variable: &'static str, text: &str) -> Result<Self, Error> {
        self.unlocked(variable)?;
        let mut settings = self.clone();
        settings.lay(vec![(variable, Value::given(text))]);
        settings.environment = self.environment.clone().with([(variable, text)]);
        Ok(settings)
    }

    /// What an option of the command said, to be handed on to a program.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &OsStr)> {
        let values = self.values.iter();
        values
            .filter(|(_, value)| value.origin == Origin::Argument)
            .map(|(&variable, value)| (variable, value.text()))
    }

    pub(crate) fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// Takes what a file sets, and returns what it locks.
    fn take_file(
        &mut self,
        file: ConfigFile,
        environment: &Environment,
    ) -> Vec<(&'static str, Value)> {
        self.faults.extend(file.faults);
        let path = file.path;
        let unknown = file.unknown.into_iter();
        self.unknown
            .extend(unknown.map(|name| (name, Some(path.clone()))));
        let layer = |entries: Vec<(&'static str, String)>, origin: Origin| {
            // What an administrator has locked to nothing nobody else sets.
            let is_locked = matches!(origin, Origin::Locked(_));
            let entries = entries.into_iter();
            let entries = entries.filter(|(_, text)| is_locked || !text.is_empty());
            let value = |(variable, text): (&'static str, String)| {
                let setting = setting(variable)?;
                let value = Value::new(setting, text.into(), origin.clone(), environment);
                Some((variable, value))
            };
            entries.filter_map(value).collect()
        };
        self.lay(layer(file.values, Origin::File(path.clone())));
        layer(file.locked, Origin::Locked(path))
    }

    fn take_environment(&mut self, environment: &Environment) {
        let mut layer = Vec::new();
        for (name, text) in environment.iter() {
            match setting(name) {
                Some(_) if text.is_empty() => {}
                Some(setting) => {
                    let (text, origin) = (text.to_owned(), Origin::Environment);
                    let value = Value::new(setting, text, origin, environment);
                    layer.push((setting.variable, value));
                }
                None if name.starts_with(PREFIX) => self.unknown.push((name.to_owned(), None)),
                None => {}
            }
        }
        self.lay(layer);
    }

    /// Lays stronger values over what there is.
    fn lay(&mut self, layer: Vec<(&'static str, Value)>) {
        let rivals: Vec<_> = layer.iter().flat_map(|(name, _)| rivals(name)).collect();
        let again: Vec<_> = layer.iter().map(|(name, _)| *name).collect();
        self.values.retain(|name, value| {
            let goes = rivals.contains(&name) && !again.contains(name);
            if goes && value.origin == Origin::Environment {
                self.overruled.push(name);
            }
            !goes
        });
        for (variable, value) in layer {
            let text = value.text.clone();
            let older = self.values.insert(variable, value);
            if older.is_some_and(|old| old.origin == Origin::Environment && old.text != text) {
                self.overruled.push(variable);
            }
        }
    }
}

/// The settings that answer the same question as `variable` does, that one included.
fn rivals(variable: &str) -> &'static [&'static str] {
    let group = RIVALS.iter().find(|group| group.contains(&variable));
    group.copied().unwrap_or_default()
}

impl From<Environment> for Settings {
    /// Those of `environment` alone: no file is read.
    fn from(environment: Environment) -> Self {
        let mut settings = Self::default();
        settings.take_environment(&environment);
        Self {
            environment,
            ..settings
        }
    }
}

impl<K: Into<String>, V: Into<OsString>> FromIterator<(K, V)> for Settings {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Self {
        Environment::from_iter(variables).into()
    }
}
