//! Index files: what says which files of a model hold its weights. A loader opens what they name, so that must be signed.
//!
//! Known are those of Hugging Face's and Keras' shards, JSON whose `weight_map` gives a file for each tensor, and those of
//! torch.distributed.checkpoint. What cannot be read as such, or is beyond any that was ever written, names nothing.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::{Error, Manifest, Model, RelPath, pickle, python};

/// More than any index in JSON has; the largest of today have some 20 MB.
const MAX_JSON_BYTES: u64 = 64 << 20;
/// Each part of a tensor takes some 200 bytes, which thousands of processes write thousands of.
const MAX_PICKLE_BYTES: u64 = 1 << 30;
/// Room for all names of one index.
const MAX_NAMES_BYTES: usize = 64 << 20;
/// Four files for each of 65,536 processes, which is more than any training has.
const MAX_NAMES: usize = 1 << 18;
const BUFFER_BYTES: usize = 1 << 16;

/// What an index names and must not.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexFault {
    /// An absolute path, or one with `..`.
    #[error("the index {index:?} names {name:?}, which leads out of the model")]
    Outside {
        /// The index.
        index: String,
        /// What it names.
        name: String,
    },
    /// A file that is there, and that the signature does not cover.
    #[error("the index {index:?} names {name:?}, which is not signed")]
    Unsigned {
        /// The index.
        index: String,
        /// The file.
        name: String,
    },
}

impl IndexFault {
    /// What to do next, in one sentence.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Outside { .. } => {
                "do not load this model as it is: its producer should save all of its files below the index"
            }
            Self::Unsigned { .. } => {
                "do not load this model as it is: its producer should sign the index with all that it names, or leave both out"
            }
        }
    }
}

/// Files that an index names and that are not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingShards {
    /// The index.
    pub index: RelPath,
    /// At least one, sorted.
    pub names: Vec<RelPath>,
}

/// What the indexes in `manifest` name and is not there, where the model that `list` lists is more than one file. Without
/// an index there, nothing is listed or read.
///
/// # Errors
/// [`Error::Index`] where one names a file that is there and not in `manifest`, or that would be out of the model;
/// [`Error::Io`]; those of `list`.
///
/// ```
/// use autosign_signing::{Hashing, Ignore, Model, hash, missing_shards};
/// let folder = tempfile::tempdir()?;
/// let index = br#"{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}"#;
/// std::fs::write(folder.path().join("model.safetensors.index.json"), index)?;
/// std::fs::write(folder.path().join("model-1.safetensors"), b"weights")?;
/// let ignore = Ignore::git();
/// let manifest = hash(folder.path(), &ignore, Hashing::default())?;
/// let missing = missing_shards(&manifest, || Model::open(folder.path(), &ignore))?;
/// assert_eq!(missing[0].names[0].as_str(), "model-2.safetensors");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn missing_shards(
    manifest: &Manifest,
    list: impl FnOnce() -> Result<Model, Error>,
) -> Result<Vec<MissingShards>, Error> {
    if indexes(manifest).next().is_none() {
        return Ok(Vec::new());
    }
    follow(manifest, &list()?)
}

/// The files that the indexes in `model` name, be they there or not; of one that cannot be read none.
#[must_use]
pub fn indexed(model: &Model) -> BTreeSet<RelPath> {
    let mut shards = BTreeSet::new();
    for index in model.files().iter().map(|file| &file.name) {
        let names = Form::of(index).and_then(|form| form.read(model, index).ok());
        for name in names.into_iter().flatten() {
            if let Place::File(file) = below(index, &name) {
                shards.insert(file);
            }
        }
    }
    shards
}

/// [`missing_shards`] of a model that is listed already.
pub(crate) fn follow(manifest: &Manifest, model: &Model) -> Result<Vec<MissingShards>, Error> {
    let mut missing = Vec::new();
    if model.is_single() {
        return Ok(missing); // what else is beside it is no part of the model
    }
    let mut signed = None;
    for (index, form) in indexes(manifest) {
        let signed = signed.get_or_insert_with(|| manifest.files().collect::<BTreeSet<_>>());
        let mut absent = BTreeSet::new();
        for name in form.read(model, index)? {
            match below(index, &name) {
                Place::Outside => {
                    let index = index.to_string();
                    return Err(IndexFault::Outside { index, name }.into());
                }
                Place::File(file) if signed.contains(&file) => {}
                Place::File(file) if model.holds(&file) => {
                    let (index, name) = (index.to_string(), file.to_string());
                    return Err(IndexFault::Unsigned { index, name }.into());
                }
                Place::File(file) => {
                    absent.insert(file);
                }
                Place::None => {}
            }
        }
        if !absent.is_empty() {
            missing.push(MissingShards {
                index: index.clone(),
                names: absent.into_iter().collect(),
            });
        }
    }
    Ok(missing)
}

fn indexes(manifest: &Manifest) -> impl Iterator<Item = (&RelPath, Form)> {
    let files = manifest.files();
    files.filter_map(|name| Some((name, Form::of(name)?)))
}

/// What a name in an index says.
enum Place {
    File(RelPath),
    Outside,
    /// Nothing that a file could have as its name.
    None,
}

/// Names are relative to the folder of their index.
fn below(index: &RelPath, name: &str) -> Place {
    let components = name.split('/').filter(|part| !matches!(*part, "" | "."));
    if name.starts_with('/') || components.clone().any(|part| part == "..") {
        return Place::Outside;
    }
    let folder = index.as_str().rsplit_once('/').map(|(folder, _)| folder);
    let all: Vec<_> = folder.into_iter().chain(components).collect();
    if all.len() == usize::from(folder.is_some()) {
        return Place::None;
    }
    RelPath::parse(&all.join("/")).map_or(Place::None, Place::File)
}

/// The form of an index.
#[derive(Clone, Copy)]
enum Form {
    WeightMap,
    DistributedCheckpoint,
}

impl Form {
    /// That which a file of this name has.
    fn of(name: &RelPath) -> Option<Self> {
        let name = name.components().next_back()?;
        // `model.safetensors.index.json`, and of the variant `non.ema` `model.safetensors.index.non.ema.json`; Keras'
        // `model.weights.json`.
        let is_json = name.strip_suffix(".json").is_some();
        if is_json && name.contains(".index.") {
            return Some(Self::WeightMap);
        }
        if name.ends_with("weights.json") {
            return Some(Self::WeightMap);
        }
        // Ranks that do not wait for each other write `__0.metadata`.
        let rank = name.strip_suffix(".metadata")?;
        (rank.is_empty() || rank.starts_with("__")).then_some(Self::DistributedCheckpoint)
    }

    /// What the index of this name names, as it stands there.
    fn read(self, model: &Model, index: &RelPath) -> Result<Names, Error> {
        let fail = |error| Error::io("read", model.path_of(index))(error);
        let file = File::from(model.open_file(index)?);
        let limit = match self {
            Self::WeightMap => MAX_JSON_BYTES,
            Self::DistributedCheckpoint => MAX_PICKLE_BYTES,
        };
        if file.metadata().map_err(fail)?.len() > limit {
            return Ok(Names::default());
        }
        let mut bytes = BufReader::with_capacity(BUFFER_BYTES, file.take(limit));
        let mut names = Names::default();
        let read = match self {
            Self::WeightMap => {
                let mut text = Vec::new();
                bytes.read_to_end(&mut text).map_err(fail)?;
                read_json(&mut text, &mut names)
            }
            Self::DistributedCheckpoint => pickle::read(bytes, &mut names),
        };
        match read {
            Ok(()) => Ok(names),
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Ok(Names::default()),
                _ => Err(fail(error)),
            },
        }
    }
}

/// The names in one index, each once.
#[derive(Default)]
pub(crate) struct Names {
    all: BTreeSet<String>,
    bytes: usize,
}

impl Names {
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] where there are more than any model has files.
    pub(crate) fn add(&mut self, name: &str) -> io::Result<()> {
        if !self.all.contains(name) {
            self.bytes += name.len() + size_of::<String>();
            if self.bytes > MAX_NAMES_BYTES || self.all.len() == MAX_NAMES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            self.all.insert(name.to_owned());
        }
        Ok(())
    }
}

impl IntoIterator for Names {
    type Item = String;
    type IntoIter = std::collections::btree_set::IntoIter<String>;

    /// Sorted.
    fn into_iter(self) -> Self::IntoIter {
        self.all.into_iter()
    }
}

/// Reads JSON as Python does, which all loaders of these do.
fn read_json(text: &mut [u8], names: &mut Names) -> io::Result<()> {
    python::tame(text);
    let mut reader = serde_json::Deserializer::from_slice(text);
    reader.deserialize_map(Index(names))?;
    Ok(reader.end()?)
}

/// The object in which `weight_map` is.
struct Index<'n>(&'n mut Names);

impl<'de> Visitor<'de> for Index<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key == "weight_map" {
                map.next_value_seed(WeightMap(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Tensors and their files.
struct WeightMap<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for WeightMap<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMap<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(Files(self.0))?;
        }
        Ok(())
    }
}

/// Where a tensor is. Keras has a list for a layer whose variables went to several files. What is no text is passed over, and
/// nothing but the names is kept.
struct Files<'n>(&'n mut Names);

impl<'de> DeserializeSeed<'de> for Files<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Files<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a file or several")
    }

    fn visit_str<E: de::Error>(self, file: &str) -> Result<(), E> {
        self.0.add(file).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut files: A) -> Result<(), A::Error> {
        while files.next_element_seed(Files(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_json(text: &str) -> Option<Vec<String>> {
        let mut names = Names::default();
        let read = read_json(&mut text.as_bytes().to_vec(), &mut names);
        read.ok().map(|()| names.into_iter().collect())
    }

    #[test]
    fn json_names_what_its_weight_map_has() {
        let index = r#"{"metadata": {"total_size": 1}, "weight_map": {"x": "b", "y": "a", "z": "b",
            "/layers/dense/vars": ["a", "c"], "odd": [1, "d", null, {"e": "e"}], "odder": [null, 1, -1, 0.5, true]},
            "more": [[{}]]}"#;
        assert_eq!(in_json(index).unwrap(), ["a", "b", "c", "d"]);
        assert_eq!(
            in_json(r#"{"weight_map": {"x": "\u0061\/b"}}"#).unwrap(),
            ["a/b"]
        );
        assert!(
            in_json(r#"{"metadata": {"weight_map": {"x": "a"}}}"#)
                .unwrap()
                .is_empty()
        );
        // What Python writes and reads.
        let odd = r#"{"metadata": {"loss": NaN, "best": [-Infinity], "\ud800": "\ud800"}, "\ud800": 1,
            "weight_map": {"\udfff": "a", "x": NaN, "y": "\ud83d\ude00", "z": ["b", Infinity, "NaN"]}}"#;
        assert_eq!(in_json(odd).unwrap(), ["NaN", "a", "b", "\u{1f600}"]);
        for other in [
            "",
            "[]",
            "{",
            r#"{"weight_map": []}"#,
            r#"{"weight_map": {"x": "a"}} {}"#,
            "\u{0}",
        ] {
            assert_eq!(in_json(other), None, "{other}");
        }
        let deep = format!(
            r#"{{"weight_map": {{"x": "a"}}, "y": {}"#,
            "[".repeat(100_000)
        );
        assert_eq!(in_json(&deep), None);
    }

    #[test]
    fn names_beyond_any_are_none() {
        let mut names = Names::default();
        let name = "x".repeat(MAX_NAMES_BYTES / 2);
        assert!(names.add(&name).is_ok() && names.add(&name).is_ok());
        assert!(names.add(&format!("{name}x")).is_err());

        let mut names = Names::default();
        let mut numbers = (0..).map(|number: usize| number.to_string());
        for name in numbers.by_ref().take(MAX_NAMES) {
            names.add(&name).unwrap();
        }
        assert!(names.add("0").is_ok() && names.add(&numbers.next().unwrap()).is_err());
    }

    #[test]
    fn names_are_below_their_index() {
        let below = |index: &str, name: &str| match below(&RelPath::parse(index).unwrap(), name) {
            Place::File(file) => file.to_string(),
            Place::Outside => "outside".to_owned(),
            Place::None => "none".to_owned(),
        };
        for (index, name, expected) in [
            ("x.index.json", "a", "a"),
            ("x.index.json", "./a//b/", "a/b"),
            ("u/v/x.index.json", "a", "u/v/a"),
            ("u/x.index.json", "a/../b", "outside"),
            ("u/x.index.json", "..", "outside"),
            ("x.index.json", "/a", "outside"),
            ("x.index.json", "", "none"),
            ("u/x.index.json", "./", "none"),
            ("x.index.json", "a\0", "none"),
            ("x.index.json", "..a", "..a"),
        ] {
            assert_eq!(below(index, name), expected, "{index} {name}");
        }
    }

    #[test]
    fn an_index_is_known_by_its_name() {
        let known = |name: &str| Form::of(&RelPath::parse(name).unwrap()).is_some();
        for index in [
            "model.safetensors.index.json",
            "unet/x.index.json",
            "model.safetensors.index.fp16.json",
            "model.safetensors.index.non.ema.json",
            "m.weights.json",
            ".metadata",
            "a/__12.metadata",
        ] {
            assert!(known(index), "{index}");
        }
        for other in [
            "index.json",
            "index.fp16.json",
            "x.index.json.bak",
            "x.reindex.json",
            "x.indexes.json",
            "config.json",
            "x.index.json/a",
            "ckpt-3.index",
            "config.json.metadata",
            "metadata",
        ] {
            assert!(!known(other), "{other}");
        }
    }
}
