//! A verified manifest against the files on disk.

use std::path::{Path, PathBuf};

use super::{Difference, Renamed, VerifiedManifest};
use crate::hashing::{Part, hash_parts, parts};
use crate::model::{Model, ModelFile, Side};
use crate::{
    Error, Freshness, Hashing, Ignore, RelPath, Resource, ResourceDigest, SerializationMethod,
    Symlinks, index, portable,
};

/// So many of the added files are looked at to see whether one was renamed.
const RENAMED_SOUGHT: usize = 100;

/// Which unsigned files a verifier tolerates.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "one a rule")]
pub struct Policy {
    /// The verifier's own paths to leave out. Empty: the signer's list counts (OMS v1.0), and what lies under it is
    /// reported in [`VerifiedModel::unsigned`].
    pub ignore: Vec<PathBuf>,
    /// Leave out git's own files.
    pub ignore_git: bool,
    /// Accept files that were not signed.
    pub ignore_unsigned: bool,
    /// Never take the signer's list: what lies under it counts as added. Signed files that have another name, too, through
    /// which they can be changed, are reported in [`VerifiedModel::hard_linked`].
    pub strict: bool,
    /// The name that the signer must have given the model: a good signature of another model's is no good one of this.
    pub expect_name: Option<String>,
    /// Which of the signer's checkpoints are wanted. Where a signature does not say when it was made, the time that is proven
    /// of it counts.
    pub freshness: Freshness,
    /// Refuse signed names that are not good on every system, as [`Hashing::portable`] says.
    pub portable: bool,
    /// What becomes of links. Nothing: where the statement says that its signer followed them, they are followed
    /// [within](Symlinks::Within) the model, else refused.
    pub symlinks: Option<Symlinks>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            ignore: Vec::new(),
            ignore_git: true,
            ignore_unsigned: false,
            strict: false,
            expect_name: None,
            freshness: Freshness::default(),
            portable: false,
            symlinks: None,
        }
    }
}

/// A model whose every signed file was found with the signed content. Only [`VerifiedManifest::compare`] makes one.
#[derive(Debug)]
pub struct VerifiedModel {
    manifest: VerifiedManifest,
    files: Vec<RelPath>,
    unsigned: Vec<RelPath>,
    hard_linked: Vec<RelPath>,
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
    /// verifier's policy, or because shards were signed and they have no byte. The signature itself is not counted.
    #[must_use]
    pub fn unsigned(&self) -> &[RelPath] {
        &self.unsigned
    }

    /// Signed files that are hard links: whoever may write to another name of one can change it after this. Sorted, and
    /// looked for only by a [strict](Policy::strict) policy.
    #[must_use]
    pub fn hard_linked(&self) -> &[RelPath] {
        &self.hard_linked
    }
}

impl VerifiedManifest {
    /// Hashes the model at `path` and compares it with what was signed.
    ///
    /// # Errors
    /// [`Error::Differs`] with every missing, changed and added file; [`Error::Index`] where a signed index names a file
    /// that is there and not signed; [`Error::ModelName`], [`Error::Annotation`], [`Error::NotPortable`]; those of
    /// [`Model::open_with`].
    pub fn compare(
        self,
        path: &Path,
        signature: &Path,
        policy: &Policy,
        hashing: Hashing<'_>,
    ) -> Result<VerifiedModel, Error> {
        let found = self.manifest().model_name();
        let expected = policy.expect_name.as_ref();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(Error::ModelName {
                expected: expected.clone(),
                found: found.to_owned(),
            });
        }
        let mut said = self.annotations().clone();
        let proven = self.proven_time();
        said.created = said.created.or(proven);
        policy.freshness.clone().signed_at(proven).check(&said)?;
        if policy.portable {
            portable::check(self.manifest().files())?;
        }
        let itself = Ignore::new(path, Some(signature), &[], false)?;
        let mut ignore = Ignore::new(path, Some(signature), &policy.ignore, policy.ignore_git)?;
        if policy.ignore.is_empty() && !policy.strict {
            ignore.extend(self.statement().ignored().paths().iter().cloned());
        }
        let model = self.model(path, &ignore, policy)?;
        let resources = self.sorted();
        let mut signed = self.expected(&model, &resources)?;
        let mut parts: Vec<(Part<'_>, &Resource)> = Vec::new();
        let mut unsigned = Vec::new();
        let mut difference = Difference::default();
        // What was signed is checked even where a rule leaves it out.
        for (files, ignored) in [(model.files(), false), (model.ignored(), true)] {
            // Both lists are sorted by name, and as long as a signature may be.
            let mut at = 0;
            for file in files {
                while signed.get(at).is_some_and(|one| *one.name < file.name) {
                    at += 1;
                }
                match signed.get_mut(at).filter(|one| *one.name == file.name) {
                    Some(one) => {
                        one.found = true;
                        if has_size(file, one.resources) {
                            parts.extend(one.resources.iter().map(|&resource| {
                                let shard = resource.shard;
                                (Part { file, shard }, resource)
                            }));
                        } else {
                            difference.changed.push(file.name.clone());
                        }
                    }
                    None if itself.covers(&file.name) => {}
                    None if ignored || policy.ignore_unsigned || self.cannot_cover(file) => {
                        unsigned.push(file.name.clone());
                    }
                    None => difference.added.push(file.name.clone()),
                }
            }
        }
        let missing = signed.iter().filter(|one| !one.found);
        difference.missing = missing.map(|one| one.name.clone()).collect();
        let (parts, expected): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let algorithm = self.manifest().algorithm();
        for ((part, digest), expected) in parts
            .iter()
            .zip(hash_parts(&model, &parts, algorithm, hashing)?)
            .zip(expected)
        {
            if digest != expected.digest {
                difference.changed.push(part.file.name.clone());
            }
        }
        if difference != Difference::default() {
            difference.changed.sort_unstable();
            difference.changed.dedup(); // a file whose shards differ is one
            difference.renamed = self.renamed(&model, &signed, &difference.added, hashing);
            return Err(Error::Differs(difference));
        }
        index::follow(self.manifest(), &model)?;
        unsigned.sort_unstable();
        let mut hard_linked = Vec::new();
        if policy.strict {
            let signed = parts.iter().map(|part| part.file);
            let linked = signed.filter(|file| file.state.links > 1);
            hard_linked.extend(linked.map(|file| file.name.clone()));
            hard_linked.sort_unstable();
            hard_linked.dedup();
        }
        let files = self.manifest().files().cloned().collect();
        Ok(VerifiedModel {
            manifest: self,
            files,
            unsigned,
            hard_linked,
        })
    }

    /// The model at `path`; where that is a file which was signed together with others, those of them that are there.
    fn model(&self, path: &Path, ignore: &Ignore, policy: &Policy) -> Result<Model, Error> {
        let said = if self.manifest().serialization().allow_symlinks {
            Symlinks::Within
        } else {
            Symlinks::Refused
        };
        let model = Model::list(
            path,
            ignore,
            policy.symlinks.unwrap_or(said),
            Side::Verifying,
        )?;
        if let (true, [file]) = (model.is_single(), model.files()) {
            let names: Vec<RelPath> = self.manifest().files().cloned().collect();
            if names.len() > 1 && names.contains(&file.name) {
                return Model::find(path, &names);
            }
        }
        Ok(model)
    }

    /// The `missing` files whose content is there in one that was `added`.
    fn renamed(
        &self,
        model: &Model,
        missing: &[Signed<'_>],
        added: &[RelPath],
        hashing: Hashing<'_>,
    ) -> Vec<Renamed> {
        let missing: Vec<_> = missing.iter().filter(|one| !one.found).collect();
        let added = added.iter().take(RENAMED_SOUGHT);
        let added = added.filter_map(|name| model.files().iter().find(|file| file.name == *name));
        let added: Vec<_> = added.cloned().collect();
        if missing.is_empty() || added.is_empty() {
            return Vec::new();
        }
        let serialization = self.manifest().serialization();
        // What cannot be read explains nothing.
        let Ok(parts) = parts(&added, serialization.method) else {
            return Vec::new();
        };
        let Ok(digests) = hash_parts(model, &parts, serialization.algorithm, hashing) else {
            return Vec::new();
        };
        let found: Vec<_> = parts.iter().zip(digests).collect();
        let mut found: Vec<_> = found
            .chunk_by(|a, b| a.0.file.name == b.0.file.name)
            .collect();
        let mut renamed = Vec::new();
        for one in missing {
            let is_it = |file: &&[(&Part<'_>, ResourceDigest)]| {
                let digests = file.iter().map(|(part, digest)| (part.shard, digest));
                let signed = one.resources.iter();
                digests.eq(signed.map(|resource| (resource.shard, &resource.digest)))
            };
            let Some(at) = found.iter().position(is_it) else {
                continue;
            };
            if let Some((part, _)) = found.swap_remove(at).first() {
                renamed.push(Renamed {
                    signed_as: one.name.clone(),
                    name: part.file.name.clone(),
                });
            }
        }
        renamed
    }

    /// The resources by name, those of one file together and in the order of the file.
    fn sorted(&self) -> Vec<&Resource> {
        let mut sorted: Vec<_> = self.manifest().resources().iter().collect();
        sorted.sort_unstable_by(|a, b| (&a.name, a.shard).cmp(&(&b.name, b.shard)));
        sorted
    }

    /// Whether `file` has nothing that the method of the statement could have signed.
    fn cannot_cover(&self, file: &ModelFile) -> bool {
        let method = self.manifest().serialization().method;
        method != SerializationMethod::Files && file.state.size == 0
    }

    /// The signed files, sorted. Upstream's unnamed single file gets the name of the file at hand.
    fn expected<'a>(
        &self,
        model: &'a Model,
        resources: &'a [&'a Resource],
    ) -> Result<Vec<Signed<'a>>, Error> {
        let signed = |name, resources| Signed {
            name,
            resources,
            found: false,
        };
        if self.statement().is_unnamed() {
            return match (model.is_single(), model.files()) {
                (true, [file]) => Ok(vec![signed(&file.name, resources)]),
                _ => Err(Error::SingleFileExpected {
                    path: model.root().into(),
                }),
            };
        }
        let files = resources.chunk_by(|a, b| a.name == b.name);
        Ok(files
            .filter_map(|file| file.first().map(|first| signed(&first.name, file)))
            .collect())
    }
}

/// A file of the manifest.
struct Signed<'a> {
    name: &'a RelPath,
    /// Itself, or its shards in their order.
    resources: &'a [&'a Resource],
    /// Whether it is there.
    found: bool,
}

/// Whether `file` ends where its last shard does.
fn has_size(file: &ModelFile, resources: &[&Resource]) -> bool {
    let last = resources.last().and_then(|resource| resource.shard);
    last.is_none_or(|shard| shard.end() == file.state.size)
}
