//! The files of a model and their digests, without the model.

use sha2::{Digest as _, Sha256};

use crate::{Digest, Error, HashAlgorithm, RelPath};

/// One signed file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// Its name below the model's root; of a model that is one file, the file's own name.
    pub name: RelPath,
    /// Its digest.
    pub digest: Digest,
}

/// A model's name and its resources: at least one, none named twice, none a folder of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    model_name: String,
    resources: Vec<Resource>,
}

impl Manifest {
    /// Checks the resources and keeps their order.
    ///
    /// # Errors
    /// [`Error::EmptyManifest`], [`Error::DuplicateName`], [`Error::NameConflict`].
    pub fn new(model_name: String, resources: Vec<Resource>) -> Result<Self, Error> {
        if resources.is_empty() {
            return Err(Error::EmptyManifest);
        }
        // With `/` as the least byte, a folder's files follow directly on the folder's own name.
        let mut names: Vec<&RelPath> = resources.iter().map(|resource| &resource.name).collect();
        names.sort_unstable_by(|a, b| a.components().cmp(b.components()));
        for pair in names.windows(2) {
            let &[first, second] = pair else { continue };
            if first == second {
                return Err(Error::DuplicateName {
                    name: first.to_string(),
                });
            }
            if second.is_within(first) {
                return Err(Error::NameConflict {
                    name: first.to_string(),
                    inside: second.to_string(),
                });
            }
        }
        Ok(Self {
            model_name,
            resources,
        })
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

    /// The hash of every resource.
    #[must_use]
    pub fn algorithm(&self) -> HashAlgorithm {
        HashAlgorithm::Sha256
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

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(names: &[&str]) -> Result<Manifest, Error> {
        let resources = names
            .iter()
            .map(|name| Resource {
                name: RelPath::parse(name).unwrap(),
                digest: Digest::of(name.as_bytes()),
            })
            .collect();
        Manifest::new("m".into(), resources)
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
}
