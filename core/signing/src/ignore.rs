//! What of a model is left out.

use std::path::{Path, PathBuf};

use crate::model::{resolve, resolve_parent};
use crate::{Error, RelPath};

/// Left out by default, at the top level only, each with all below it (OMS v1.0, file selection).
pub const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

/// Paths to leave out, relative to the model's root, each with all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore(Vec<RelPath>);

impl Ignore {
    /// The rules of one operation: git's own files if `git`, the signature where it lies inside the model, and the
    /// caller's `paths` (relative ones are taken from the working directory, those outside the model match nothing).
    ///
    /// # Errors
    /// [`Error::IgnoresEverything`] where a path is the model itself; [`Error::WouldOverwrite`] where the signature is; [`Error::NameNotUtf8`].
    pub fn new(
        model: &Path,
        signature: Option<&Path>,
        paths: &[PathBuf],
        git: bool,
    ) -> Result<Self, Error> {
        let mut all = if git { Self::git() } else { Self::default() };
        let root = resolve(model)?;
        for path in signature
            .into_iter()
            .chain(paths.iter().map(PathBuf::as_path))
        {
            let Ok(inside) =
                resolve_parent(path).map(|path| path.strip_prefix(&root).map(Path::to_path_buf))
            else {
                continue; // its folder does not exist, so nothing in the model lies there
            };
            match inside {
                Ok(inside) if inside.as_os_str().is_empty() && signature == Some(path) => {
                    return Err(Error::WouldOverwrite { path: path.into() });
                }
                Ok(inside) if inside.as_os_str().is_empty() && root.is_dir() => {
                    return Err(Error::IgnoresEverything {
                        entry: path.display().to_string(),
                    });
                }
                Ok(inside) if !inside.as_os_str().is_empty() => {
                    let name = inside
                        .to_str()
                        .ok_or_else(|| Error::NameNotUtf8 { path: path.into() })?;
                    all.add(RelPath::parse(name)?);
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// Git's own files and nothing else.
    #[must_use]
    pub fn git() -> Self {
        Self(
            GIT_PATHS
                .iter()
                .filter_map(|path| RelPath::parse(path).ok())
                .collect(),
        )
    }

    /// Adds one path.
    pub fn add(&mut self, path: RelPath) {
        if let Err(place) = self.0.binary_search(&path) {
            self.0.insert(place, path);
        }
    }

    /// Adds many: a signature may hold a list as long as itself.
    pub(crate) fn extend(&mut self, paths: impl IntoIterator<Item = RelPath>) {
        self.0.extend(paths);
        self.0.sort_unstable();
        self.0.dedup();
    }

    /// The paths, sorted.
    #[must_use]
    pub fn paths(&self) -> &[RelPath] {
        &self.0
    }

    /// Whether `name` or a folder above it is one of the paths; takes a look for each component, however many paths there are.
    pub(crate) fn covers(&self, name: &RelPath) -> bool {
        let text = name.as_str();
        let above = text.match_indices('/').map(|(end, _)| text.get(..end));
        above.chain([Some(text)]).flatten().any(|folder| {
            let found = self.0.binary_search_by(|path| path.as_str().cmp(folder));
            found.is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_itself_and_what_lies_below() {
        let name = |text| RelPath::parse(text).unwrap();
        let mut ignore = Ignore::git();
        ignore.extend(["z/y", "a", "z/y", "m"].map(name));
        assert_eq!(ignore.paths().len(), GIT_PATHS.len() + 3);
        for covered in ["a", "a/b/c", "z/y", "z/y/x", ".git/config", "m"] {
            assert!(ignore.covers(&name(covered)), "{covered}");
        }
        for not in ["ab", "b/a", "z", "z/yy", "z/x", ".gitx", "y"] {
            assert!(!ignore.covers(&name(not)), "{not}");
        }
    }
}
