//! A verified manifest against the files on disk.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::VerifiedManifest;
use crate::hashing::hash_files;
use crate::model::{Model, ModelFile};
use crate::{Digest, Error, Hashing, Ignore, RelPath, Resource};

/// Names listed in full in a message; more are counted.
const NAMES_SHOWN: usize = 10;

/// Which unsigned files a verifier tolerates.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The verifier's own paths to leave out. Empty: the signer's list counts (OMS v1.0), and what lies under it is
    /// reported in [`VerifiedModel::unsigned`].
    pub ignore: Vec<PathBuf>,
    /// Leave out git's own files.
    pub ignore_git: bool,
    /// Accept files that were not signed.
    pub ignore_unsigned: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ignore: Vec::new(),
            ignore_git: true,
            ignore_unsigned: false,
        }
    }
}

/// How the files on disk differ from those signed, each list sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Signed, but not there.
    pub missing: Vec<RelPath>,
    /// There, with other content.
    pub changed: Vec<RelPath>,
    /// There, but not signed.
    pub added: Vec<RelPath>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the model is not the one that was signed")?;
        for (what, names) in [
            ("changed", &self.changed),
            ("missing", &self.missing),
            ("added", &self.added),
        ] {
            let Some((first, rest)) = names.split_first() else {
                continue;
            };
            write!(f, "; {what}: {:?}", first.as_str())?;
            for name in rest.iter().take(NAMES_SHOWN - 1) {
                write!(f, ", {:?}", name.as_str())?;
            }
            if names.len() > NAMES_SHOWN {
                write!(f, " and {} more", names.len() - NAMES_SHOWN)?;
            }
        }
        Ok(())
    }
}

/// A model whose every signed file was found with the signed content. Only [`VerifiedManifest::compare`] makes one.
#[derive(Debug)]
pub struct VerifiedModel {
    manifest: VerifiedManifest,
    files: Vec<RelPath>,
    unsigned: Vec<RelPath>,
}

impl VerifiedModel {
    /// The manifest and its signer.
    #[must_use]
    pub fn manifest(&self) -> &VerifiedManifest {
        &self.manifest
    }

    /// The verified files, in the manifest's order: the only ones to load.
    #[must_use]
    pub fn files(&self) -> &[RelPath] {
        &self.files
    }

    /// Files that are there and not signed, tolerated because they are git's own, or by the signer's list, or by the
    /// verifier's policy. The signature itself is not counted.
    #[must_use]
    pub fn unsigned(&self) -> &[RelPath] {
        &self.unsigned
    }
}

impl VerifiedManifest {
    /// Hashes the model at `path` and compares it with what was signed.
    ///
    /// # Errors
    /// [`Error::Differs`] with every missing, changed and added file; those of [`Model::open`].
    pub fn compare(
        self,
        path: &Path,
        signature: &Path,
        policy: &Policy,
        hashing: Hashing<'_>,
    ) -> Result<VerifiedModel, Error> {
        let itself = Ignore::new(path, Some(signature), &[], false)?;
        let mut ignore = Ignore::new(path, Some(signature), &policy.ignore, policy.ignore_git)?;
        if policy.ignore.is_empty() {
            for signed in self.statement().ignored().paths() {
                ignore.add(signed.clone());
            }
        }
        let model = self.model(path, &ignore)?;
        let mut signed = self.expected(&model)?;
        let (mut present, mut unsigned) = (Vec::new(), Vec::new());
        let mut difference = Difference::default();
        // What was signed is checked even where a rule leaves it out.
        for (file, ignored) in model
            .files()
            .iter()
            .map(|file| (file, false))
            .chain(model.ignored().iter().map(|file| (file, true)))
        {
            match signed.remove_entry(&file.name) {
                Some((_, digest)) => present.push((file.clone(), digest)),
                None if itself.covers(&file.name) => {}
                None if ignored || policy.ignore_unsigned => unsigned.push(file.name.clone()),
                None => difference.added.push(file.name.clone()),
            }
        }
        difference.missing = signed.into_keys().collect();
        let (files, digests): (Vec<ModelFile>, Vec<Digest>) = present.into_iter().unzip();
        for (Resource { name, digest }, expected) in hash_files(&model, &files, hashing)?
            .into_iter()
            .zip(digests)
        {
            if digest != expected {
                difference.changed.push(name);
            }
        }
        if difference != Difference::default() {
            difference.changed.sort_unstable();
            return Err(Error::Differs(difference));
        }
        unsigned.sort_unstable();
        let files = self.names().cloned().collect();
        Ok(VerifiedModel {
            manifest: self,
            files,
            unsigned,
        })
    }

    /// The model at `path`; where that is a file which was signed together with others, those of them that are there.
    fn model(&self, path: &Path, ignore: &Ignore) -> Result<Model, Error> {
        let model = Model::list(path, ignore)?;
        let names: Vec<RelPath> = self.names().cloned().collect();
        match (model.is_single(), model.files()) {
            (true, [file]) if names.len() > 1 && names.contains(&file.name) => {
                Model::find(path, &names)
            }
            _ => Ok(model),
        }
    }

    fn names(&self) -> impl Iterator<Item = &RelPath> {
        let resources = self.manifest().resources();
        resources.iter().map(|resource| &resource.name)
    }

    /// Name to digest. Upstream's unnamed single file gets the name of the file at hand.
    fn expected(&self, model: &Model) -> Result<BTreeMap<RelPath, Digest>, Error> {
        let resources = self.manifest().resources();
        if self.statement().is_unnamed() {
            return match (model.is_single(), model.files(), resources) {
                (true, [file], [resource]) => {
                    Ok(BTreeMap::from([(file.name.clone(), resource.digest)]))
                }
                _ => Err(Error::SingleFileExpected {
                    path: model.root().into(),
                }),
            };
        }
        Ok(resources
            .iter()
            .map(|resource| (resource.name.clone(), resource.digest))
            .collect())
    }
}
