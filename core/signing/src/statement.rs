//! The in-toto Statement v1 with the OMS v1.0 predicate: a manifest as it is signed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, HashAlgorithm, Ignore, Manifest, RelPath, Resource, json};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
const FILES: &str = "files";
/// Upstream 1.1.1 names the one resource of a model that is one file so; OMS uses the file's name.
const UPSTREAM_SINGLE: &str = ".";

/// What is signed: the manifest, and which paths its signer left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    manifest: Manifest,
    ignored: Ignore,
    unnamed: bool,
}

impl Statement {
    /// The statement that `manifest` is the model, but for the paths of `ignored`.
    #[must_use]
    pub fn new(manifest: Manifest, ignored: Ignore) -> Self {
        Self {
            manifest,
            ignored,
            unnamed: false,
        }
    }

    /// Reads the payload of an envelope.
    ///
    /// # Errors
    /// [`Error::Json`] (also for a key given twice and for fields that OMS does not know), and a variant of its own
    /// for each rule of OMS v1.0 that the payload breaks.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let wire: Wire = json::parse(payload).map_err(|source| Error::Json {
            what: "statement",
            source,
        })?;
        if wire.kind != STATEMENT_TYPE {
            return Err(Error::StatementType { found: wire.kind });
        }
        if wire.predicate_type != PREDICATE_TYPE {
            return Err(Error::PredicateType {
                found: wire.predicate_type,
            });
        }
        let serialization = &wire.predicate.serialization;
        if serialization.method != FILES {
            return Err(Error::SerializationMethod {
                found: serialization.method.clone(),
            });
        }
        HashAlgorithm::parse(&serialization.hash_type)?;
        let mut ignored = Ignore::default();
        for entry in serialization.ignore_paths.iter().flatten() {
            match RelPath::parse(entry) {
                Ok(path) => ignored.add(path),
                Err(_) if entry.split('/').all(|part| matches!(part, "" | ".")) => {
                    return Err(Error::IgnoresEverything {
                        entry: entry.clone(),
                    });
                }
                Err(error) => return Err(error),
            }
        }
        let [subject] = wire.subject.as_slice() else {
            return Err(Error::SubjectCount {
                found: wire.subject.len(),
            });
        };
        let unnamed =
            matches!(wire.predicate.resources.as_slice(), [one] if one.name == UPSTREAM_SINGLE);
        let resources = wire
            .predicate
            .resources
            .iter()
            .map(|resource| resource.parse(unnamed));
        let manifest = Manifest::new(subject.name.clone(), resources.collect::<Result<_, _>>()?)?;
        let found = subject
            .digest
            .get("sha256")
            .ok_or(Error::SubjectCount { found: 0 })?;
        let expected = manifest.root_digest().to_string();
        if *found != expected {
            return Err(Error::RootDigest {
                expected,
                found: found.clone(),
            });
        }
        Ok(Self {
            manifest,
            ignored,
            unnamed,
        })
    }

    /// The payload: compact JSON, resources sorted by name (code points, OMS v1.0).
    ///
    /// # Errors
    /// [`Error::Json`], which only a broken serializer could give.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let wire = Wire {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![WireSubject {
                name: self.manifest.model_name().to_owned(),
                digest: BTreeMap::from([(
                    "sha256".to_owned(),
                    self.manifest.root_digest().to_string(),
                )]),
            }],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: WirePredicate {
                serialization: WireSerialization {
                    method: FILES.to_owned(),
                    hash_type: self.manifest.algorithm().name().to_owned(),
                    allow_symlinks: false,
                    ignore_paths: Some(
                        self.ignored
                            .paths()
                            .iter()
                            .map(ToString::to_string)
                            .collect(),
                    ),
                },
                resources: self
                    .manifest
                    .resources()
                    .iter()
                    .map(WireResource::from)
                    .collect(),
            },
        };
        serde_json::to_vec(&wire).map_err(|source| Error::Json {
            what: "statement",
            source,
        })
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The paths that the signer left out.
    #[must_use]
    pub fn ignored(&self) -> &Ignore {
        &self.ignored
    }

    /// Whether this is upstream's form for a model that is one file, which does not bind the file's name.
    pub(crate) fn is_unnamed(&self) -> bool {
        self.unnamed
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<WireSubject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: WirePredicate,
}

#[derive(Serialize, Deserialize)]
struct WireSubject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePredicate {
    serialization: WireSerialization,
    resources: Vec<WireResource>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSerialization {
    method: String,
    hash_type: String,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignore_paths: Option<Vec<String>>,
}

// Unknown fields of a resource are allowed: OMS v1.0 says that verifiers skip them here, and only here.
#[derive(Serialize, Deserialize)]
struct WireResource {
    name: String,
    digest: String,
    algorithm: String,
}

impl WireResource {
    fn parse(&self, unnamed: bool) -> Result<Resource, Error> {
        HashAlgorithm::parse(&self.algorithm)?;
        Ok(Resource {
            name: if unnamed {
                RelPath::single()
            } else {
                RelPath::parse(&self.name)?
            },
            digest: Digest::from_hex(&self.digest).ok_or_else(|| Error::DigestForm {
                name: self.name.clone(),
            })?,
        })
    }
}

impl From<&Resource> for WireResource {
    fn from(resource: &Resource) -> Self {
        Self {
            name: resource.name.to_string(),
            digest: resource.digest.to_string(),
            algorithm: HashAlgorithm::Sha256.name().to_owned(),
        }
    }
}
