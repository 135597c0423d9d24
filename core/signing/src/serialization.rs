//! What of a model has a digest of its own: each file, or each shard of a file (OMS v1.0, `serialization`).

use std::fmt;
use std::num::NonZeroU64;

use crate::{HashAlgorithm, RelPath, Resource};

/// The size of a shard in bytes where nobody says another, as upstream has it.
pub const SHARD_BYTES: NonZeroU64 = match NonZeroU64::new(1_000_000_000) {
    Some(bytes) => bytes,
    None => NonZeroU64::MIN,
};

/// What has a digest of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SerializationMethod {
    /// Each file.
    #[default]
    Files,
    /// Each `size` bytes of a file, and the rest of it. A file without bytes has no shard, and is not signed.
    Shards {
        /// Bytes.
        size: NonZeroU64,
    },
}

impl SerializationMethod {
    /// The name of this method in a statement.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Files => "files",
            Self::Shards { .. } => "shards",
        }
    }
}

/// How the resources of a manifest came to be. The default is what every verifier reads: files, SHA-256, no links.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Serialization {
    /// What has a digest of its own.
    pub method: SerializationMethod,
    /// The hash of every resource.
    pub algorithm: HashAlgorithm,
    /// Whether symbolic links were followed.
    pub allow_symlinks: bool,
}

/// How resources can fail to be what their statement says of all of them.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerializationFault {
    /// A resource hashed otherwise than the statement says of all.
    #[error("{name:?} is hashed with {found:?}, where the statement says {expected}")]
    Algorithm {
        /// The resource.
        name: String,
        /// The hash of the statement, and the size of its shards.
        expected: String,
        /// What the resource says.
        found: String,
    },
    /// More shards than a signature can hold.
    #[error("the model has {found} shards of {size} bytes, more than {limit}")]
    Count {
        /// How many there would be.
        found: u64,
        /// Their size in bytes.
        size: u64,
        /// How many there may be.
        limit: u64,
    },
    /// A shard longer than the statement says, or shorter and not the last of its file.
    #[error("a shard of {name:?} has {bytes} bytes, which is not the statement's shard size")]
    Length {
        /// The file.
        name: String,
        /// Length of the shard in bytes.
        bytes: u64,
    },
    /// A file of which a part is not signed.
    #[error("the statement has no shard of {name:?} from byte {offset} on")]
    Missing {
        /// The file.
        name: String,
        /// Where the part begins, in bytes.
        offset: u64,
    },
    /// A file among shards, or a shard among files.
    #[error("{name:?} is not of the serialization method `{method}`")]
    Mixed {
        /// The resource.
        name: String,
        /// The method of the statement.
        method: &'static str,
    },
    /// A resource of the method `shards` that names no part of a file.
    #[error("{name:?} is not PATH:START:END")]
    Name {
        /// The resource.
        name: String,
    },
    /// Two shards that share bytes.
    #[error("two shards of {name:?} hold byte {offset}")]
    Overlap {
        /// The file.
        name: String,
        /// The first such byte.
        offset: u64,
    },
    /// The method `shards` without a size, or with one that is none; or a size with another method.
    #[error("shard size {found} does not go with serialization method `{method}`")]
    ShardSize {
        /// What the statement says.
        found: String,
        /// The method of the statement.
        method: &'static str,
    },
}

impl SerializationFault {
    /// What to do next, in one sentence.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Count { .. } => "give a larger --shard-size",
            Self::ShardSize { .. } => {
                "give --shard-size with `shards` alone; where no option was given, the signature file is damaged"
            }
            _ => {
                "the signature file is damaged or no OMS v1.0 signature: get it again from the producer"
            }
        }
    }
}

/// A part of a file: the bytes from `start` to before `end`, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    start: u64,
    end: NonZeroU64,
}

impl Shard {
    /// The bytes from `start` to before `end`; nothing where there are none.
    #[must_use]
    pub fn new(start: u64, end: u64) -> Option<Self> {
        let end = NonZeroU64::new(end).filter(|end| end.get() > start)?;
        Some(Self { start, end })
    }

    /// The offset of its first byte.
    #[must_use]
    pub fn start(self) -> u64 {
        self.start
    }

    /// The offset behind its last byte.
    #[must_use]
    pub fn end(self) -> u64 {
        self.end.get()
    }

    fn bytes(self) -> u64 {
        self.end() - self.start
    }

    /// The shards of a file of `bytes` bytes.
    pub(crate) fn all(bytes: u64, size: NonZeroU64) -> impl Iterator<Item = Self> {
        let next = move |start: u64| Self::new(start, start.saturating_add(size.get()).min(bytes));
        std::iter::successors(next(0), move |last| next(last.end()))
    }

    /// Takes `PATH:START:END` apart from its end: a path may hold colons.
    ///
    /// # Errors
    /// [`SerializationFault::Name`] where that is not its form; numbers are decimal, without sign or leading zeros.
    pub(crate) fn split(name: &str) -> Result<(&str, Self), SerializationFault> {
        let parse = || {
            let (rest, end) = name.rsplit_once(':')?;
            let (path, start) = rest.rsplit_once(':')?;
            Some((path, Self::new(offset(start)?, offset(end)?)?))
        };
        parse().ok_or_else(|| SerializationFault::Name { name: name.into() })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.start, self.end)
    }
}

fn offset(text: &str) -> Option<u64> {
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Whether `next` follows `last` in one file, without a gap or an overlap, and `last` is as long as all but the last are.
pub(crate) fn follows(
    name: &RelPath,
    last: Shard,
    next: Shard,
    size: NonZeroU64,
) -> Result<(), SerializationFault> {
    if next.start < last.end() {
        return Err(SerializationFault::Overlap {
            name: name.to_string(),
            offset: next.start,
        });
    }
    if next.start > last.end() {
        return Err(SerializationFault::Missing {
            name: name.to_string(),
            offset: last.end(),
        });
    }
    has_size(name, last, last.bytes() == size.get())
}

/// Whether `first` may be the first of its file.
pub(crate) fn begins(name: &RelPath, first: Shard) -> Result<(), SerializationFault> {
    if first.start == 0 {
        return Ok(());
    }
    Err(SerializationFault::Missing {
        name: name.to_string(),
        offset: 0,
    })
}

/// Whether `last` may be the last of its file.
pub(crate) fn ends(
    name: &RelPath,
    last: Shard,
    size: NonZeroU64,
) -> Result<(), SerializationFault> {
    has_size(name, last, last.bytes() <= size.get())
}

fn has_size(name: &RelPath, shard: Shard, good: bool) -> Result<(), SerializationFault> {
    if good {
        return Ok(());
    }
    Err(SerializationFault::Length {
        name: name.to_string(),
        bytes: shard.bytes(),
    })
}

impl fmt::Display for Resource {
    /// The name in the statement.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.shard {
            Some(shard) => write!(f, "{}:{shard}", self.name),
            None => self.name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(bytes: u64, size: u64) -> Vec<String> {
        Shard::all(bytes, size.try_into().unwrap())
            .map(|shard| shard.to_string())
            .collect()
    }

    #[test]
    fn shards_cover_the_file() {
        assert_eq!(shards(25, 10), ["0:10", "10:20", "20:25"]);
        assert_eq!(shards(20, 10), ["0:10", "10:20"]);
        assert_eq!(shards(1, 10), ["0:1"]);
        assert!(shards(0, 10).is_empty());
        assert_eq!(shards(u64::MAX, u64::MAX - 1).len(), 2);
    }

    #[test]
    fn names_are_taken_apart_from_their_end() {
        let (path, shard) = Shard::split("a:0:1/b:10:25").unwrap();
        assert_eq!((path, shard.start(), shard.end()), ("a:0:1/b", 10, 25));
        for bad in [
            "a",
            "a:1",
            "a:1:",
            "a::1",
            "a:2:1",
            "a:1:1",
            "a:0:0",
            "a:+1:2",
            "a:01:2",
            "a:0: 2",
            "a:-1:2",
            "a:0:18446744073709551616",
            "a:0:1.0",
        ] {
            assert!(Shard::split(bad).is_err(), "{bad}");
        }
    }
}
