//! When a signature existed, as a timestamp authority says (RFC 3161).

use std::fmt;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use sigstore_verify::trust_root::TsaAuthority;
use sigstore_verify::tsa::verify_timestamp_for_authority;
use sigstore_verify::types::{DerCertificate, SignatureBytes, TimestampToken};

use crate::Error;
use crate::certificate::Certificate;

/// What certificates were judged by.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JudgedAt {
    /// The `notBefore` of the signer's certificate: nothing proves the time of signing.
    Begin(SystemTime),
    /// What the caller says: nothing here proves it.
    Given(SystemTime),
    /// The transparency log's word on when it took the signature (Rekor v1).
    Log(SystemTime),
    /// The clock.
    Now(SystemTime),
    /// A timestamp over the signature.
    Timestamp(SystemTime),
}

impl JudgedAt {
    /// The time itself.
    #[must_use]
    pub fn time(self) -> SystemTime {
        match self {
            Self::Begin(time)
            | Self::Given(time)
            | Self::Log(time)
            | Self::Now(time)
            | Self::Timestamp(time) => time,
        }
    }
}

impl fmt::Display for JudgedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::try_from(self.time()) {
            Ok(time) => write!(f, "{time}, ")?,
            Err(_) => f.write_str("a time beyond reason, ")?,
        }
        f.write_str(match self {
            Self::Begin(_) => "when the signer's begins: nothing proves the time of signing",
            Self::Given(_) => "as was asked for: nothing proves the time of signing",
            Self::Log(_) => "which the transparency log proves",
            Self::Now(_) => "which is now",
            Self::Timestamp(_) => "which a timestamp over the signature proves",
        })
    }
}

/// One that is believed.
pub(super) struct TimestampAuthority {
    chain: Vec<Certificate>,
    authority: TsaAuthority,
}

impl TimestampAuthority {
    /// The PEM file at `path` goes from the certificate that signs timestamps to its root.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        Self::new(Certificate::read(path)?).map_err(Error::at(path))
    }

    /// The same for each of some files.
    pub(super) fn read_all<P: AsRef<Path>>(
        chains: impl IntoIterator<Item = P>,
    ) -> Result<Vec<Self>, Error> {
        let all = chains.into_iter();
        all.map(|chain| Self::read(chain.as_ref())).collect()
    }

    fn new(chain: Vec<Certificate>) -> Result<Self, Error> {
        let der = |one: &Certificate| DerCertificate::from_bytes(one.der());
        let [leaf, between @ .., root] = chain.as_slice() else {
            let found = chain.len();
            return Err(Error::NoRoot { found });
        };
        let between = between.iter().map(der).collect();
        let authority = TsaAuthority::new(der(leaf), between, der(root), None);
        Ok(Self { chain, authority })
    }

    fn time(&self, stamp: &[u8], signature: &SignatureBytes) -> Result<SystemTime, String> {
        let stamp = TimestampToken::from_bytes(stamp);
        let time = verify_timestamp_for_authority(&stamp, signature, &self.authority);
        let time = SystemTime::from(time.map_err(|error| error.to_string())?);
        // The crate leaves out the root.
        for one in &self.chain {
            one.check_time(time).map_err(|error| error.to_string())?;
        }
        Ok(time)
    }
}

/// The earliest time at which one of `authorities` saw `signature`; nothing where there is no authority, or no timestamp.
pub(super) fn proven_time(
    authorities: &[TimestampAuthority],
    stamps: &[Vec<u8>],
    signature: &[u8],
) -> Result<Option<SystemTime>, Error> {
    let signature = SignatureBytes::from_bytes(signature);
    let (mut earliest, mut refusal) = (None, None);
    for stamp in stamps {
        for authority in authorities {
            match authority.time(stamp, &signature) {
                Ok(time) => earliest = Some(earliest.map_or(time, |one| time.min(one))),
                Err(reason) => refusal = refusal.or(Some(reason)),
            }
        }
    }
    match (earliest, refusal) {
        (None, Some(reason)) => Err(Error::Timestamp { reason }),
        (earliest, _) => Ok(earliest),
    }
}
