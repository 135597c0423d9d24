//! The name of a signed file: a relative path that cannot leave the model.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Error;

/// As long as a path may be on Linux (`PATH_MAX`). No loader opens a longer one, and what looks at each folder on the way to a
/// file costs as much as the square of that.
const MAX_BYTES: usize = 4096;
/// So many characters of one that is too long are told.
const SHOWN: usize = 60;

/// A relative path with `/` between its components, none of them empty, `.` or `..` (OMS v1.0).
///
/// Sorts and compares byte by byte, which for UTF-8 is the order of code points that OMS asks for.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String")]
pub struct RelPath(String);

impl TryFrom<String> for RelPath {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::parse(&name)
    }
}

impl RelPath {
    /// Parses a name.
    ///
    /// # Errors
    /// [`Error::Name`] where `name` is empty, absolute, longer than 4096 bytes, holds NUL, or has a component that is empty,
    /// `.` or `..`.
    ///
    /// ```
    /// use autosign_signing::RelPath;
    /// assert!(RelPath::parse("unet/model.safetensors").is_ok());
    /// assert!(RelPath::parse("../secret").is_err());
    /// ```
    pub fn parse(name: &str) -> Result<Self, Error> {
        if name.len() > MAX_BYTES {
            let shown: String = name.chars().take(SHOWN).collect();
            return Err(Error::Name {
                name: format!("{shown}..."),
                reason: "it is longer than 4096 bytes, which no system opens",
            });
        }
        let reason = if name.is_empty() {
            "it is empty"
        } else if name.contains('\0') {
            "it holds a NUL character"
        } else if name.starts_with('/') {
            "it is absolute"
        } else if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "a component is empty, `.` or `..`"
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Error::Name {
            name: name.to_owned(),
            reason,
        })
    }

    /// Stands for the one file of a model whose statement does not name it; matches no real name.
    pub(crate) fn single() -> Self {
        Self(".".to_owned())
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path of the file under `root`.
    #[must_use]
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }

    /// Whether this is `folder` itself or lies below it.
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        self.0
            .strip_prefix(folder.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Its components.
    #[must_use]
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    pub(crate) fn child(parent: Option<&Self>, component: &str) -> Result<Self, Error> {
        match parent {
            Some(parent) => Self::parse(&format!("{parent}/{component}")),
            None => Self::parse(component),
        }
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_escape() {
        for bad in [
            "", "/", "/etc", "..", "a/..", "../a", "a/../b", ".", "./a", "a/.", "a//b", "a/",
            "a\0b",
        ] {
            assert!(RelPath::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_is_no_longer_than_a_path() {
        let mut name = "a/".repeat(MAX_BYTES / 2 - 1) + "ab";
        assert!(RelPath::parse(&name).is_ok());
        name.push('c');
        let error = RelPath::parse(&name).unwrap_err().to_string();
        assert!(error.contains("4096") && error.len() < 200, "{error}");
    }

    #[test]
    fn keeps_odd_but_lawful_names() {
        for good in [
            "...", ".hidden", "a b", "ü/ñ", "a:0:10", "a\\b", "-x", "a\nb",
        ] {
            assert_eq!(RelPath::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn within_is_by_component() {
        let name = |text| RelPath::parse(text).unwrap();
        assert!(name(".git/config").is_within(&name(".git")));
        assert!(name(".git").is_within(&name(".git")));
        assert!(!name(".gitignore").is_within(&name(".git")));
    }
}
