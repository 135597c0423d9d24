//! The words of a statement where OMS v1.0 and upstream's releases differ.

use crate::{Serialization, SerializationMethod};

/// For whom a statement is written. Both are read by every [`Verifier`](crate::Verifier) of this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// OMS v1.0, which every tool of it reads.
    #[default]
    Oms,
    /// Upstream's `model-signing` 1.x: the one file of a model that is one file is named `.`, which does not bind its name,
    /// and the hash of a shard is named after the shard's size, too.
    ModelSigning1,
}

impl Dialect {
    /// The dialect that `--compat` and `set_compat` call so: `model-signing-1`.
    ///
    /// ```
    /// use autosign_signing::Dialect;
    /// assert_eq!(Dialect::named("model-signing-1"), Some(Dialect::ModelSigning1));
    /// assert_eq!(Dialect::named("model-signing-2"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        (name == "model-signing-1").then_some(Self::ModelSigning1)
    }

    /// What the statement calls the hash of each resource.
    pub(crate) fn label(self, serialization: Serialization) -> String {
        let name = serialization.algorithm.name();
        match (self, serialization.method) {
            (Self::ModelSigning1, SerializationMethod::Shards { size }) => {
                format!("{name}-sharded-{size}")
            }
            _ => name.to_owned(),
        }
    }

    /// Whether `label` names the hash of `serialization` in any dialect.
    pub(crate) fn any_has(label: &str, serialization: Serialization) -> bool {
        [Self::Oms, Self::ModelSigning1]
            .map(|dialect| dialect.label(serialization))
            .iter()
            .any(|known| known == label)
    }
}
