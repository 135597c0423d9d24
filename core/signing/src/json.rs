//! JSON in which no object has a key twice: two readers of one file must see one content.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::Serialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use crate::Error;

/// Nothing that is read here nests deeper.
const MAX_DEPTH: usize = 64;

/// Nothing that is read here has an object of more keys; they are all kept until its end.
const MAX_KEYS: usize = 1 << 16;

/// Parses `bytes`, which should be a `what`.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<T, Error> {
    let fault = Cell::new(None);
    check(bytes, &fault)
        .and_then(|()| serde_json::from_slice(bytes))
        .map_err(|source| match fault.take() {
            Some(Fault::Twice(key)) => Error::DuplicateKey { what, key },
            Some(Fault::Deep) => Error::TooDeep {
                what,
                limit: MAX_DEPTH,
            },
            Some(Fault::Many) => Error::TooMany {
                what: "keys of one object",
                found: MAX_KEYS + 1,
                limit: MAX_KEYS,
            },
            None => Error::Json { what, source },
        })
}

/// The same for what has errors of its own.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, serde_json::Error> {
    check(bytes, &Cell::new(None))?;
    serde_json::from_slice(bytes)
}

/// What is written as an object and in no other way: of itself a derived reader takes an array of the values, too, which no
/// other reader of these formats does.
#[derive(Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Object<T>(pub(crate) T);

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// A list of at most `LIMIT`. What is more is counted while it is read, and not kept.
#[derive(Serialize)]
#[serde(transparent)]
pub(crate) struct Few<T, const LIMIT: usize> {
    first: Vec<T>,
    #[serde(skip)]
    found: usize,
}

impl<T, const LIMIT: usize> Few<T, LIMIT> {
    /// # Errors
    /// How many there are, where they are more than `LIMIT`.
    pub(crate) fn all(&self) -> Result<&[T], usize> {
        if self.found > LIMIT {
            return Err(self.found);
        }
        Ok(&self.first)
    }

    /// The same, taken out.
    pub(crate) fn into_all(self) -> Result<Vec<T>, usize> {
        self.all().map(drop)?;
        Ok(self.first)
    }

    /// How many there are.
    pub(crate) fn found(&self) -> usize {
        self.found
    }
}

impl<T, const LIMIT: usize> Default for Few<T, LIMIT> {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl<T, const LIMIT: usize> FromIterator<T> for Few<T, LIMIT> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let first: Vec<_> = all.into_iter().collect();
        let found = first.len();
        Self { first, found }
    }
}

impl<'de, T: Deserialize<'de>, const LIMIT: usize> Deserialize<'de> for Few<T, LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewVisitor(PhantomData))
    }
}

struct FewVisitor<T, const LIMIT: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const LIMIT: usize> Visitor<'de> for FewVisitor<T, LIMIT> {
    type Value = Few<T, LIMIT>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut few = Few::default();
        while few.found < LIMIT {
            let Some(one) = seq.next_element()? else {
                return Ok(few);
            };
            few.first.push(one);
            few.found += 1;
        }
        while let Some(IgnoredAny) = seq.next_element()? {
            few.found += 1;
        }
        Ok(few)
    }
}

fn check(bytes: &[u8], fault: &Cell<Option<Fault>>) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let depth = 0;
    Sound { depth, fault }.deserialize(&mut reader)?;
    reader.end()
}

enum Fault {
    Twice(String),
    Deep,
    Many,
}

/// Any value, looked through for keys given twice and for depth.
#[derive(Clone, Copy)]
struct Sound<'f> {
    depth: usize,
    fault: &'f Cell<Option<Fault>>,
}

impl Sound<'_> {
    fn inside<E: de::Error>(self) -> Result<Self, E> {
        let depth = self.depth + 1;
        if depth > MAX_DEPTH {
            self.fault.set(Some(Fault::Deep));
            return Err(E::custom(format_args!("deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Sound<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sound<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        let mut keys = Keys::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            if let Some(key) = keys.twice(key) {
                self.fault.set(Some(Fault::Twice(key.0.to_string())));
                let key = key.0;
                return Err(de::Error::custom(format_args!(
                    "key {key:?} is given twice"
                )));
            }
            if keys.more.len() + FEW > MAX_KEYS {
                self.fault.set(Some(Fault::Many));
                return Err(de::Error::custom(format_args!("more than {MAX_KEYS} keys")));
            }
            map.next_value_seed(inside)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = self.inside()?;
        while seq.next_element_seed(inside)?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

/// Those of one object. A manifest has a million objects of a few keys each, and a hostile one an object of a million.
#[derive(Default)]
struct Keys<'de> {
    few: Vec<Key<'de>>,
    more: HashSet<Key<'de>>,
}

impl<'de> Keys<'de> {
    /// Takes `key`, and gives it back where it is there already.
    fn twice(&mut self, key: Key<'de>) -> Option<Key<'de>> {
        if self.few.contains(&key) {
            return Some(key);
        }
        if self.few.len() < FEW {
            self.few.push(key);
            return None;
        }
        self.more.replace(key)
    }
}

const FEW: usize = 8;

/// Borrowed where it is written without escapes.
#[derive(PartialEq, Eq, Hash)]
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Key(key.into()))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Key(key.to_owned().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Bundle, Statement};
    use serde_json::{Value, json};

    #[test]
    fn a_key_twice_is_refused_at_any_depth() {
        assert!(parse::<Value>(br#"{"a":1,"b":[{"c":null,"d":"c"}]}"#).is_ok());
        for twice in [
            r#"{"a":1,"a":1}"#,
            r#"[{"b":{"a":1,"c":0,"a":2}}]"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"8":0}"#,
            r#"{"1":0,"2":0,"3":0,"4":0,"5":0,"6":0,"7":0,"8":0,"9":0,"9":0}"#,
        ] {
            let error = parse::<Value>(twice.as_bytes()).unwrap_err();
            assert!(error.to_string().contains("twice"), "{error}");
        }
    }

    #[test]
    fn keys_of_one_object_are_limited() {
        let of = |keys: usize| {
            let keys: Vec<_> = (0..keys).map(|key| format!(r#""{key}":0"#)).collect();
            read::<serde::de::IgnoredAny>("bundle", format!("{{{}}}", keys.join(",")).as_bytes())
        };
        assert!(of(MAX_KEYS).is_ok());
        assert!(matches!(of(MAX_KEYS + 1), Err(Error::TooMany { .. })));
    }

    #[test]
    fn depth_is_limited() {
        let deep = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let read = |levels| read::<Value>("bundle", deep(levels).as_bytes());
        assert!(read(MAX_DEPTH).is_ok());
        for levels in [MAX_DEPTH + 1, 200_000] {
            assert!(matches!(read(levels), Err(Error::TooDeep { .. })));
        }
    }

    const MATERIAL: [&str; 5] = [
        "publicKey",
        "x509CertificateChain",
        "certificate",
        "tlogEntries",
        "timestampVerificationData",
    ];
    const SERIALIZATION: [&str; 5] = [
        "method",
        "hash_type",
        "shard_size",
        "allow_symlinks",
        "ignore_paths",
    ];
    /// Every object and its fields in the order of their declaration.
    const IN_BUNDLES: [(&str, &[&str]); 10] = [
        ("", &["mediaType", "verificationMaterial", "dsseEnvelope"]),
        ("/verificationMaterial", &MATERIAL),
        ("/verificationMaterial/publicKey", &["hint"]),
        ("/verificationMaterial/certificate", &["rawBytes"]),
        (
            "/verificationMaterial/x509CertificateChain",
            &["certificates"],
        ),
        (
            "/verificationMaterial/x509CertificateChain/certificates/0",
            &["rawBytes"],
        ),
        (
            "/verificationMaterial/timestampVerificationData",
            &["rfc3161Timestamps"],
        ),
        (
            "/verificationMaterial/timestampVerificationData/rfc3161Timestamps/0",
            &["signedTimestamp"],
        ),
        ("/dsseEnvelope", &["payload", "payloadType", "signatures"]),
        ("/dsseEnvelope/signatures/0", &["sig", "keyid"]),
    ];
    const IN_STATEMENTS: [(&str, &[&str]); 5] = [
        ("", &["_type", "subject", "predicateType", "predicate"]),
        ("/subject/0", &["name", "digest"]),
        ("/predicate", &["serialization", "resources"]),
        ("/predicate/serialization", &SERIALIZATION),
        ("/predicate/resources/0", &["name", "digest", "algorithm"]),
    ];

    /// How many of `objects` there are in `whole`; with any of them as the array of its values, `parse` refuses it.
    fn refused<T>(
        whole: &Value,
        objects: &[(&str, &[&str])],
        parse: impl Fn(&[u8]) -> Result<T, Error>,
    ) -> usize {
        assert!(parse(whole.to_string().as_bytes()).is_ok(), "{whole}");
        let mut count = 0;
        for (pointer, fields) in objects {
            let mut whole = whole.clone();
            if let Some(place) = whole.pointer_mut(pointer) {
                *place = fields.iter().map(|field| place[field].clone()).collect();
                let parsed = parse(whole.to_string().as_bytes());
                assert!(matches!(parsed, Err(Error::Json { .. })), "{whole}");
                count += 1;
            }
        }
        count
    }

    #[test]
    fn an_array_of_values_is_no_object() {
        let keyed = include_bytes!("../tests/bundles/1.1.0-key-p256.sig");
        let certified = include_bytes!("../tests/bundles/1.1.0-certificate-p256.sig");
        let stamps = json!({"rfc3161Timestamps": [{"signedTimestamp": ""}]});
        let mut bundle: Value = serde_json::from_slice(keyed).unwrap();
        bundle["verificationMaterial"]["timestampVerificationData"] = stamps;
        assert_eq!(refused(&bundle, &IN_BUNDLES, Bundle::parse), 7);
        bundle["verificationMaterial"] = json!({"certificate": {"rawBytes": ""}});
        assert_eq!(refused(&bundle, &IN_BUNDLES, Bundle::parse), 5);
        let bundle: Value = serde_json::from_slice(certified).unwrap();
        assert_eq!(refused(&bundle, &IN_BUNDLES, Bundle::parse), 6);

        let bundle = Bundle::parse(certified).unwrap();
        let mut statement: Value = serde_json::from_slice(bundle.envelope().payload()).unwrap();
        assert_eq!(refused(&statement, &IN_STATEMENTS, Statement::parse), 5);
        statement = json!([statement["_type"], statement["predicateType"]]);
        assert!(parse::<Object<crate::StatementTypes>>(statement.to_string().as_bytes()).is_err());
    }
}
