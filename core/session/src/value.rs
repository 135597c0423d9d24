//! The value of one setting, and where it came from.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use autosign_signing::{is_secret, without_secrets};

use crate::Environment;
use crate::settings::Setting;

/// In the place of a path that was a secret: there is nothing, and nothing can be made.
const NOWHERE: &str = "/dev/null/[secret]";

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An option of the command.
    Argument,
    /// The process environment.
    Environment,
    /// This configuration file.
    File(PathBuf),
    /// The administrator's file, which lets nobody change it.
    Locked(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument => write!(f, "command line"),
            Self::Environment => write!(f, "environment"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Locked(path) => write!(f, "{}, locked", path.display()),
        }
    }
}

/// What a setting was set to. No `Debug`: it may be a secret.
#[derive(Clone)]
pub struct Value {
    pub(crate) text: OsString,
    pub(crate) origin: Origin,
    /// It was a secret where none belongs; `text` does not have it any more.
    pub(crate) was_secret: bool,
}

impl Value {
    /// What `setting` is set to. A leading `~/` of a path is the home folder, wherever it stands: no shell expands it in a
    /// file, nor behind `=`. A secret in the place of something else ends here, before anything can repeat it.
    pub(crate) fn new(
        setting: &Setting,
        text: OsString,
        origin: Origin,
        environment: &Environment,
    ) -> Self {
        let secret = text.to_str().filter(|text| is_secret(text));
        let secret = secret.filter(|text| !setting.show.may_hold(text));
        let cleaned = secret.map(without_secrets);
        let is_path = setting.show.is_path();
        Self {
            was_secret: cleaned.is_some(),
            text: match cleaned {
                Some(cleaned) => cleaned.into(),
                None if is_path => in_home(text, environment),
                None => text,
            },
            origin,
        }
    }

    /// What an option of the command says.
    pub(crate) fn given(text: &str) -> Self {
        Self {
            text: text.into(),
            origin: Origin::Argument,
            was_secret: false,
        }
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The value as it was written.
    #[must_use]
    pub fn text(&self) -> &OsStr {
        &self.text
    }

    /// The same where it is text.
    pub(crate) fn to_str(&self) -> Option<&str> {
        self.text.to_str()
    }

    /// The same, to be kept.
    pub(crate) fn to_text(&self) -> Option<String> {
        self.to_str().map(str::to_owned)
    }

    /// As an absolute path: training may change its working directory. One in a file starts at that file's folder.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        match &self.origin {
            _ if self.was_secret => Some(NOWHERE.into()),
            Origin::Argument | Origin::Environment => std::path::absolute(&self.text).ok(),
            Origin::File(file) | Origin::Locked(file) => Some(file.parent()?.join(&self.text)),
        }
    }
}

/// `path`, which may begin in the home folder.
pub(crate) fn in_home(path: OsString, environment: &Environment) -> OsString {
    let rest = Path::new(&path).strip_prefix("~").ok();
    let home = environment.get("HOME").filter(|home| !home.is_empty());
    match (rest, home) {
        (Some(rest), Some(home)) => Path::new(home).join(rest).into_os_string(),
        _ => path,
    }
}
