//! The files of a model and their digests, without the model.

use sha2::{Digest as _, Sha256};

use crate::serialization::{SerializationFault, begins, ends, follows};
use crate::{
    Digest, Error, HashAlgorithm, RelPath, ResourceDigest, Serialization, SerializationMethod,
    Shard,
};

/// One signed file, or one part of it. `Display` writes its name in the statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name below the model's root; of a model that is one file, the file's own name.
    pub name: RelPath,
    /// Which part of the file, where shards have been signed.
    pub shard: Option<Shard>,
    /// Its digest.
    pub digest: ResourceDigest,
}

/// A model's name and its resources: at least one, none named twice, none a folder of another; of a file in shards, all
/// of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    model_name: String,
    serialization: Serialization,
    resources: Vec<Resource>,
}

impl Manifest {
    /// Checks the resources and keeps their order.
    ///
    /// # Errors
    /// [`Error::EmptyManifest`], [`Error::DuplicateName`], [`Error::NameConflict`]; [`Error::Serialization`] where a
    /// resource is no shard and should be, or the reverse, or where shards are not all of their file.
    ///
    /// ```
    /// use autosign_signing::{Digest, Manifest, RelPath, Resource, Serialization};
    /// let weights = Resource {
    ///     name: RelPath::parse("weights.bin")?,
    ///     shard: None,
    ///     digest: Digest::of(b"abc").into(),
    /// };
    /// let manifest = Manifest::new("model".into(), Serialization::default(), vec![weights])?;
    /// assert_eq!(manifest.files().count(), 1);
    /// # Ok::<(), autosign_signing::Error>(())
    /// ```
    pub fn new(
        model_name: String,
        serialization: Serialization,
        resources: Vec<Resource>,
    ) -> Result<Self, Error> {
        // With `/` as the least byte, a folder's files follow directly on the folder's own name.
        let mut sorted: Vec<&Resource> = resources.iter().collect();
        sorted.sort_unstable_by(|a, b| {
            let names = a.name.components().cmp(b.name.components());
            names.then_with(|| a.shard.cmp(&b.shard))
        });
        let (Some(&first), Some(&last)) = (sorted.first(), sorted.last()) else {
            return Err(Error::EmptyManifest);
        };
        let method = serialization.method;
        begin(first, method)?;
        for pair in sorted.windows(2) {
            let &[first, second] = pair else { continue };
            if first.name == second.name {
                continues(first, second, method)?;
                continue;
            }
            if second.name.is_within(&first.name) {
                return Err(Error::NameConflict {
                    name: first.name.to_string(),
                    inside: second.name.to_string(),
                });
            }
            end(first, method)?;
            begin(second, method)?;
        }
        end(last, method)?;
        Ok(Self {
            model_name,
            serialization,
            resources,
        })
    }

    /// The same without the name of its one file.
    pub(crate) fn unnamed(mut self) -> Self {
        for resource in &mut self.resources {
            resource.name = RelPath::single();
        }
        self
    }

    /// The last component of the model's path when it was signed; says nothing about the content.
    #[must_use]
    pub fn model_name(&self) -> &str {
        &self.model_name
    }

    /// The resources in the order they were signed in.
    #[must_use]
    pub fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// The signed files, each once.
    pub fn files(&self) -> impl Iterator<Item = &RelPath> {
        let first = |resource: &&Resource| resource.shard.is_none_or(|shard| shard.start() == 0);
        let resources = self.resources.iter().filter(first);
        resources.map(|resource| &resource.name)
    }

    /// How the resources came to be.
    #[must_use]
    pub fn serialization(&self) -> Serialization {
        self.serialization
    }

    /// The hash of every resource.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        self.serialization.algorithm
    }

    /// A digest that is this manifest's alone: of names and contents, whatever their order in the statement, its dialect, or
    /// what it says besides. It is SHA-256 over `DIGEST  NAME` and a NUL for each resource, sorted by name, which for files
    /// with SHA-256 is
    /// `find . -type f -printf '%P\0' | LC_ALL=C sort -z | xargs -0 sha256sum -z | sha256sum`; else over
    /// `METHOD ALGORITHM SHARD-SIZE` and a NUL before (without a size for files).
    ///
    /// ```
    /// use autosign_signing::{Hashing, Ignore, hash};
    /// let folder = tempfile::tempdir()?;
    /// std::fs::write(folder.path().join("weights.bin"), b"abc")?;
    /// let one = hash(folder.path(), &Ignore::git(), Hashing::default())?;
    /// std::fs::rename(folder.path().join("weights.bin"), folder.path().join("other.bin"))?;
    /// let other = hash(folder.path(), &Ignore::git(), Hashing::default())?;
    /// assert_eq!(one.root_digest(), other.root_digest());
    /// assert_ne!(one.id(), other.id());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn id(&self) -> Digest {
        let mut hasher = Sha256::new();
        if self.serialization.method != SerializationMethod::Files
            || self.algorithm() != HashAlgorithm::Sha256
        {
            let method = self.serialization.method;
            let head = match method {
                SerializationMethod::Files => format!("files {}", self.algorithm().name()),
                SerializationMethod::Shards { size } => {
                    format!("shards {} {size}", self.algorithm().name())
                }
            };
            hasher.update(head);
            hasher.update([0]);
        }
        let mut sorted: Vec<_> = self.resources.iter().collect();
        sorted.sort_unstable_by(|a, b| (&a.name, a.shard).cmp(&(&b.name, b.shard)));
        for resource in sorted {
            hasher.update(resource.digest.to_string());
            hasher.update("  ");
            hasher.update(resource.to_string());
            hasher.update([0]);
        }
        Digest::from(<[u8; 32]>::from(hasher.finalize()))
    }

    /// SHA-256 over the raw digests in their order (OMS v1.0). Names are not part of it.
    #[must_use]
    pub fn root_digest(&self) -> Digest {
        let mut hasher = Sha256::new();
        for resource in &self.resources {
            hasher.update(resource.digest.as_bytes());
        }
        Digest::from(<[u8; 32]>::from(hasher.finalize()))
    }
}

/// The first resource of a file.
fn begin(resource: &Resource, method: SerializationMethod) -> Result<(), Error> {
    match (method, resource.shard) {
        (SerializationMethod::Files, None) => Ok(()),
        (SerializationMethod::Shards { .. }, Some(shard)) => Ok(begins(&resource.name, shard)?),
        _ => Err(mixed(resource, method)),
    }
}

/// Two resources of one file.
fn continues(
    first: &Resource,
    second: &Resource,
    method: SerializationMethod,
) -> Result<(), Error> {
    match (method, first.shard, second.shard) {
        _ if first.shard == second.shard => Err(Error::DuplicateName {
            name: first.to_string(),
        }),
        (SerializationMethod::Shards { size }, Some(last), Some(next)) => {
            Ok(follows(&first.name, last, next, size)?)
        }
        _ => Err(mixed(second, method)),
    }
}

/// The last resource of a file.
fn end(resource: &Resource, method: SerializationMethod) -> Result<(), Error> {
    match (method, resource.shard) {
        (SerializationMethod::Shards { size }, Some(shard)) => {
            Ok(ends(&resource.name, shard, size)?)
        }
        _ => Ok(()),
    }
}

fn mixed(resource: &Resource, method: SerializationMethod) -> Error {
    SerializationFault::Mixed {
        name: resource.to_string(),
        method: method.name(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(names: &[&str]) -> Result<Manifest, Error> {
        let resources = names
            .iter()
            .map(|name| Resource {
                name: RelPath::parse(name).unwrap(),
                shard: None,
                digest: Digest::of(name.as_bytes()).into(),
            })
            .collect();
        Manifest::new("m".into(), Serialization::default(), resources)
    }

    #[test]
    fn refuses_duplicates_and_conflicts_wherever_they_stand() {
        assert!(matches!(manifest(&[]), Err(Error::EmptyManifest)));
        assert!(matches!(
            manifest(&["a", "b", "a"]),
            Err(Error::DuplicateName { .. })
        ));
        // `a-b` sorts between `a` and `a/b` by byte
        assert!(matches!(
            manifest(&["a/b", "a-b", "a"]),
            Err(Error::NameConflict { .. })
        ));
        assert!(matches!(
            manifest(&["a", "a!", "a/x/y"]),
            Err(Error::NameConflict { .. })
        ));
        assert!(manifest(&["a/b", "a-b", "ab"]).is_ok());
    }

    #[test]
    fn root_digest_is_over_digests_in_order() {
        let both = manifest(&["x", "y"]).unwrap();
        let raw = [*Digest::of(b"x").as_bytes(), *Digest::of(b"y").as_bytes()].concat();
        assert_eq!(both.root_digest(), Digest::of(&raw));
        assert_ne!(
            both.root_digest(),
            manifest(&["y", "x"]).unwrap().root_digest()
        );
    }

    /// Of one file, in shards of 10 bytes.
    fn shards(ranges: &[(u64, u64)]) -> Result<Manifest, Error> {
        let resource = |&(start, end)| Resource {
            name: RelPath::parse("a").unwrap(),
            shard: Shard::new(start, end),
            digest: Digest::of(b"").into(),
        };
        let serialization = Serialization {
            method: SerializationMethod::Shards {
                size: 10.try_into().unwrap(),
            },
            ..Serialization::default()
        };
        let resources = ranges.iter().map(resource).collect();
        Manifest::new("m".into(), serialization, resources)
    }

    #[test]
    fn shards_are_all_there_and_as_long_as_said() {
        for good in [&[(0, 10)][..], &[(0, 3)], &[(0, 10), (10, 20), (20, 21)]] {
            let manifest = shards(good).unwrap();
            assert_eq!(manifest.files().count(), 1, "{good:?}");
        }
        // In whatever order: upstream sorts them by number, OMS by name.
        assert!(shards(&[(0, 10), (100, 101), (20, 30)]).is_err());
        assert!(shards(&[(10, 20), (20, 30), (0, 10)]).is_ok());
        for missing in [&[(10, 20)][..], &[(0, 10), (20, 30)]] {
            let refused = shards(missing);
            assert!(matches!(
                refused,
                Err(Error::Serialization(SerializationFault::Missing { .. }))
            ));
        }
        for overlapping in [&[(0, 10), (5, 15)][..], &[(0, 10), (0, 5)]] {
            let refused = shards(overlapping);
            assert!(matches!(
                refused,
                Err(Error::Serialization(SerializationFault::Overlap { .. }))
            ));
        }
        for size in [&[(0, 11)][..], &[(0, 5), (5, 15)], &[(0, 10), (10, 21)]] {
            let refused = shards(size);
            assert!(
                matches!(
                    refused,
                    Err(Error::Serialization(SerializationFault::Length { .. }))
                ),
                "{size:?}"
            );
        }
        let twice = shards(&[(0, 10), (0, 10)]);
        assert!(matches!(twice, Err(Error::DuplicateName { .. })));
        let none = shards(&[(0, 0)]);
        assert!(matches!(
            none,
            Err(Error::Serialization(SerializationFault::Mixed { .. }))
        ));
    }
}
