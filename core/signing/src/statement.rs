//! The in-toto Statement v1 with the OMS v1.0 predicate: a manifest as it is signed.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};
use serde_json::Number;

use crate::annotations::WireAnnotations;
use crate::json::{self, Object};
use crate::{
    Annotations, Dialect, Error, HashAlgorithm, Ignore, Manifest, RelPath, Resource,
    ResourceDigest, Serialization, SerializationFault, SerializationMethod, Shard,
};

pub(crate) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
pub(crate) const PREDICATE_TYPE: &str = "https://model_signing/signature/v1.0";
/// Upstream 1.1.1 names the one file of a model that is one file so; OMS uses the file's name.
const UPSTREAM_SINGLE: &str = ".";

/// What is signed: the manifest, which paths its signer left out, and what the signer says besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    manifest: Manifest,
    ignored: Ignore,
    annotations: Annotations,
    dialect: Dialect,
}

impl Statement {
    /// The statement that `manifest` is the model, but for the paths of `ignored`.
    #[must_use]
    pub fn new(manifest: Manifest, ignored: Ignore) -> Self {
        Self {
            manifest,
            ignored,
            annotations: Annotations::default(),
            dialect: Dialect::Oms,
        }
    }

    /// Says besides what `annotations` say, and no more what was said before.
    pub fn annotate(&mut self, annotations: Annotations) {
        self.annotations = annotations;
    }

    /// The same in the words of `dialect`; `single` is whether the model is one file.
    #[must_use]
    pub fn in_dialect(mut self, dialect: Dialect, single: bool) -> Self {
        if dialect == Dialect::ModelSigning1 && single {
            self.manifest = self.manifest.unnamed();
        }
        Self { dialect, ..self }
    }

    /// Reads the payload of an envelope.
    ///
    /// # Errors
    /// [`Error::Json`] (also for fields that OMS does not know), [`Error::DuplicateKey`], [`Error::TooDeep`], and a variant of its own
    /// for each rule of OMS v1.0 that the payload breaks.
    pub fn parse(payload: &[u8]) -> Result<Self, Error> {
        let Object(wire): Object<Wire<'_>> = json::read("statement", payload)?;
        if wire.kind != STATEMENT_TYPE {
            return Err(Error::StatementType { found: wire.kind });
        }
        if wire.predicate_type != PREDICATE_TYPE {
            return Err(Error::PredicateType {
                found: wire.predicate_type,
            });
        }
        let serialization = wire.predicate.serialization.parse()?;
        let mut left_out = Vec::new();
        for entry in wire.predicate.serialization.ignore_paths.iter().flatten() {
            match RelPath::parse(entry) {
                Ok(path) => left_out.push(path),
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
        let resources = wire.predicate.resources.iter();
        let resources = resources.map(|resource| resource.parse(serialization));
        let resources: Vec<Resource> = resources.collect::<Result<_, _>>()?;
        let manifest = named(subject.name.clone(), serialization, resources)?;
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
        let mut ignored = Ignore::default();
        ignored.extend(left_out);
        let annotations = subject.annotations.as_ref();
        let annotations = annotations.map(|found| found.parse()).transpose()?;
        let mut statement = Self::new(manifest, ignored);
        statement.annotate(annotations.unwrap_or_default());
        Ok(statement)
    }

    /// The payload: compact JSON, resources sorted by name (code points, OMS v1.0).
    ///
    /// # Errors
    /// [`Error::Annotation`] for the name of a run that is too long; [`Error::Json`], which only a broken serializer could
    /// give.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        let label = self.dialect.label(self.manifest.serialization());
        let resources = self.manifest.resources().iter();
        let resources = resources.map(|resource| Object(WireResource::new(resource, &label)));
        let wire = Wire {
            kind: STATEMENT_TYPE.to_owned(),
            subject: vec![Object(WireSubject {
                name: self.manifest.model_name().to_owned(),
                digest: BTreeMap::from([(
                    "sha256".to_owned(),
                    self.manifest.root_digest().to_string(),
                )]),
                annotations: WireAnnotations::new(&self.annotations)?,
            })],
            predicate_type: PREDICATE_TYPE.to_owned(),
            predicate: Object(WirePredicate {
                serialization: Object(WireSerialization::new(
                    self.manifest.serialization(),
                    &self.ignored,
                )),
                resources: resources.collect(),
            }),
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

    /// What the signer says besides.
    #[must_use]
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// Whether this is upstream's form for a model that is one file, which does not bind the file's name.
    pub(crate) fn is_unnamed(&self) -> bool {
        let first = self.manifest.resources().first();
        first.is_some_and(|first| first.name == RelPath::single())
    }
}

/// A manifest in which one file has no name only where it is the one file.
pub(crate) fn named(
    model_name: String,
    serialization: Serialization,
    resources: Vec<Resource>,
) -> Result<Manifest, Error> {
    let single = RelPath::single();
    let unnamed = resources.iter().any(|resource| resource.name == single);
    if unnamed && resources.iter().any(|resource| resource.name != single) {
        RelPath::parse(UPSTREAM_SINGLE)?;
    }
    Manifest::new(model_name, serialization, resources)
}

/// The name of a file in a statement of any dialect.
pub(crate) fn resource_name(name: &str) -> Result<RelPath, Error> {
    match name {
        UPSTREAM_SINGLE => Ok(RelPath::single()),
        name => RelPath::parse(name),
    }
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Object<WireSubject>>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    #[serde(borrow)]
    predicate: Object<WirePredicate<'a>>,
}

#[derive(Serialize, Deserialize)]
struct WireSubject {
    name: String,
    digest: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Object<WireAnnotations>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WirePredicate<'a> {
    serialization: Object<WireSerialization>,
    #[serde(borrow)]
    resources: Vec<Object<WireResource<'a>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WireSerialization {
    method: String,
    hash_type: String,
    /// Bytes. Upstream's may be written as a float.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard_size: Option<Number>,
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ignore_paths: Option<Vec<String>>,
}

// Unknown fields of a resource are allowed: OMS v1.0 says that verifiers skip them here, and only here.
#[derive(Serialize, Deserialize)]
struct WireResource<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    digest: Cow<'a, str>,
    #[serde(borrow)]
    algorithm: Cow<'a, str>,
}

impl WireSerialization {
    fn new(serialization: Serialization, ignored: &Ignore) -> Self {
        let paths = ignored.paths().iter();
        Self {
            method: serialization.method.name().to_owned(),
            hash_type: serialization.algorithm.name().to_owned(),
            shard_size: match serialization.method {
                SerializationMethod::Files => None,
                SerializationMethod::Shards { size } => Some(size.get().into()),
            },
            allow_symlinks: serialization.allow_symlinks,
            ignore_paths: Some(paths.map(ToString::to_string).collect()),
        }
    }

    fn parse(&self) -> Result<Serialization, Error> {
        let form = |method| SerializationFault::ShardSize {
            found: self
                .shard_size
                .as_ref()
                .map_or_else(|| "none".to_owned(), ToString::to_string),
            method,
        };
        let method = match (self.method.as_str(), &self.shard_size) {
            ("files", None) => SerializationMethod::Files,
            ("files", Some(_)) => return Err(form("files").into()),
            ("shards", size) => SerializationMethod::Shards {
                size: size
                    .as_ref()
                    .and_then(whole)
                    .ok_or_else(|| form("shards"))?,
            },
            (found, _) => {
                return Err(Error::SerializationMethod {
                    found: found.to_owned(),
                });
            }
        };
        Ok(Serialization {
            method,
            algorithm: HashAlgorithm::parse(&self.hash_type)?,
            allow_symlinks: self.allow_symlinks,
        })
    }
}

/// The number, where it is a whole one and more than 0, in whichever form of JSON.
fn whole(number: &Number) -> Option<NonZeroU64> {
    let text = number.to_string();
    let digits = text.strip_suffix(".0").unwrap_or(&text);
    NonZeroU64::new(number.as_u64().or_else(|| digits.parse().ok())?)
}

impl<'a> WireResource<'a> {
    fn new(resource: &Resource, label: &'a str) -> Self {
        Self {
            name: resource.to_string().into(),
            digest: resource.digest.to_string().into(),
            algorithm: label.into(),
        }
    }

    fn parse(&self, serialization: Serialization) -> Result<Resource, Error> {
        let (name, shard) = match serialization.method {
            SerializationMethod::Files => (self.name.as_ref(), None),
            SerializationMethod::Shards { .. } => {
                Shard::split(&self.name).map(|(name, shard)| (name, Some(shard)))?
            }
        };
        let algorithm = serialization.algorithm;
        if self.algorithm != algorithm.name() && !Dialect::any_has(&self.algorithm, serialization) {
            return Err(self.hashed_otherwise(serialization));
        }
        let digest = ResourceDigest::from_hex(algorithm, &self.digest);
        Ok(Resource {
            name: resource_name(name)?,
            shard,
            digest: digest.ok_or_else(|| Error::DigestForm {
                name: self.name.clone().into_owned(),
                digits: 2 * algorithm.bytes(),
            })?,
        })
    }

    fn hashed_otherwise(&self, serialization: Serialization) -> Error {
        let name = serialization.algorithm.name();
        SerializationFault::Algorithm {
            name: self.name.clone().into_owned(),
            expected: match serialization.method {
                SerializationMethod::Files => name.to_owned(),
                SerializationMethod::Shards { size } => format!("{name} in shards of {size} bytes"),
            },
            found: self.algorithm.clone().into_owned(),
        }
        .into()
    }
}
