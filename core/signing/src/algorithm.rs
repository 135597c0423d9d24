//! The hashes of the OMS algorithm registry, and the digests that they give.

use std::fmt;

use blake2::Blake2b512;
use sha2::{Digest as _, Sha256};

use crate::digest::{hex, unhex};
use crate::{Digest, Error};

/// A hash of the OMS algorithm registry. SHA-256 is the registry's default.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HashAlgorithm {
    /// SHA-256, 32 bytes (FIPS 180-4).
    #[default]
    Sha256,
    /// `BLAKE2b` with 512 bits, 64 bytes (RFC 7693).
    Blake2b,
    /// BLAKE3, 32 bytes.
    Blake3,
}

impl HashAlgorithm {
    /// Every one, the default first.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Blake2b, Self::Blake3];

    /// The name in the registry, as it stands in a statement.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Blake2b => "blake2b",
            Self::Blake3 => "blake3",
        }
    }

    /// The length of its digests in bytes.
    #[must_use]
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 | Self::Blake3 => 32,
            Self::Blake2b => 64,
        }
    }

    /// The one of this name.
    ///
    /// # Errors
    /// [`Error::Algorithm`] where the registry has none of this name.
    ///
    /// ```
    /// use autosign_signing::HashAlgorithm;
    /// assert_eq!(HashAlgorithm::parse("blake2b")?.bytes(), 64);
    /// assert!(HashAlgorithm::parse("md5").is_err());
    /// # Ok::<(), autosign_signing::Error>(())
    /// ```
    pub fn parse(name: &str) -> Result<Self, Error> {
        let mut all = Self::ALL.into_iter();
        all.find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| Error::Algorithm {
                found: name.to_owned(),
            })
    }
}

/// The digest of a file or a shard: 32 bytes, or 64 with `BLAKE2b`. `Display` writes lower-case hex.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResourceDigest(Bytes);

/// The long one lies apart, so that a million short ones are no larger for it.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Bytes {
    Short([u8; 32]),
    Long(Box<[u8; 64]>),
}

impl ResourceDigest {
    /// The raw bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Bytes::Short(bytes) => bytes,
            Bytes::Long(bytes) => bytes.as_slice(),
        }
    }

    /// Exactly as many lower-case hex digits as a digest of `algorithm` has, else nothing.
    #[must_use]
    pub fn from_hex(algorithm: HashAlgorithm, text: &str) -> Option<Self> {
        Some(Self(match algorithm {
            HashAlgorithm::Sha256 | HashAlgorithm::Blake3 => Bytes::Short(unhex(text)?),
            HashAlgorithm::Blake2b => Bytes::Long(Box::new(unhex(text)?)),
        }))
    }
}

impl From<Digest> for ResourceDigest {
    fn from(digest: Digest) -> Self {
        Self(Bytes::Short(*digest.as_bytes()))
    }
}

impl fmt::Display for ResourceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.as_bytes(), f)
    }
}

impl fmt::Debug for ResourceDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Takes content piece by piece.
pub(crate) enum Hasher {
    Sha256(Sha256),
    Blake2b(Box<Blake2b512>),
    Blake3(Box<blake3::Hasher>),
}

impl Hasher {
    pub(crate) fn new(algorithm: HashAlgorithm) -> Self {
        match algorithm {
            HashAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            HashAlgorithm::Blake2b => Self::Blake2b(Box::default()),
            HashAlgorithm::Blake3 => Self::Blake3(Box::default()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Blake2b(hasher) => hasher.update(bytes),
            Self::Blake3(hasher) => drop(hasher.update(bytes)),
        }
    }

    pub(crate) fn finish(self) -> ResourceDigest {
        ResourceDigest(match self {
            Self::Sha256(hasher) => Bytes::Short(hasher.finalize().into()),
            Self::Blake2b(hasher) => Bytes::Long(Box::new(hasher.finalize().into())),
            Self::Blake3(hasher) => Bytes::Short(*hasher.finalize().as_bytes()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(algorithm: HashAlgorithm, parts: &[&[u8]]) -> ResourceDigest {
        let mut hasher = Hasher::new(algorithm);
        for part in parts {
            hasher.update(part);
        }
        hasher.finish()
    }

    /// FIPS 180-4, RFC 7693 appendix A, and the BLAKE3 team's `test_vectors.json`.
    #[test]
    fn published_vectors() {
        let vectors: [(_, &[u8], _); 3] = [
            (
                HashAlgorithm::Sha256,
                b"abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                HashAlgorithm::Blake2b,
                b"abc",
                "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1\
                 7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
            ),
            (
                HashAlgorithm::Blake3,
                b"",
                "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
            ),
        ];
        for (algorithm, input, expected) in vectors {
            let found = digest(algorithm, &[input]);
            assert_eq!(found.to_string(), expected);
            assert_eq!(found.as_bytes().len(), algorithm.bytes());
            assert_eq!(ResourceDigest::from_hex(algorithm, expected), Some(found));
        }
    }

    #[test]
    fn pieces_are_the_whole() {
        for algorithm in HashAlgorithm::ALL {
            let pieces = digest(algorithm, &[b"a", b"", b"bc"]);
            assert_eq!(pieces, digest(algorithm, &[b"abc"]));
        }
    }

    #[test]
    fn a_digest_has_the_length_of_its_hash() {
        let short = digest(HashAlgorithm::Sha256, &[]).to_string();
        let long = digest(HashAlgorithm::Blake2b, &[]).to_string();
        assert_eq!(
            ResourceDigest::from_hex(HashAlgorithm::Blake2b, &short),
            None
        );
        assert_eq!(ResourceDigest::from_hex(HashAlgorithm::Blake3, &long), None);
        let upper = long.to_uppercase();
        assert_eq!(
            ResourceDigest::from_hex(HashAlgorithm::Blake2b, &upper),
            None
        );
    }

    #[test]
    fn a_long_digest_costs_the_short_ones_nothing() {
        assert!(size_of::<ResourceDigest>() <= 40);
    }
}
