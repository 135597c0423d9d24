//! Which format a signature has: what of OMS v1.0 and of the years before it is taken.

use super::KeyVerifier;
use crate::bundle::Method;
use crate::{Bundle, Error, Statement, legacy, statement};

/// The format of a signature that was verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// OMS v1.0.
    #[default]
    Current,
    /// OMS v1.0 as upstream wrote it before 1.1.0: the signature does not say which key made it, or holds the whole key,
    /// which proves nothing.
    NoKeyHint,
    /// Upstream 0.2.
    Legacy,
}

impl Format {
    /// That in which `key` signed `bundle`; nothing where it did not.
    pub(super) fn of(
        bundle: &Bundle,
        key: &KeyVerifier,
        legacy: bool,
    ) -> Result<Option<Self>, Error> {
        let envelope = bundle.envelope();
        if key.signed(envelope) {
            return Ok(Some(Self::of_today(bundle)));
        }
        match (key.signed_legacy(envelope), legacy) {
            (true, true) => Ok(Some(Self::Legacy)),
            (true, false) => Err(Error::LegacyFormat),
            (false, _) => Ok(None),
        }
    }

    /// The statement of `bundle` in whichever format it says of itself that it has. One of a million files is looked
    /// through once: only what is none of today can be an older one.
    pub(crate) fn claimed(bundle: &Bundle) -> Result<(Self, Statement), Error> {
        let payload = &bundle.envelope().payload;
        let format = Self::of_today(bundle);
        match format.parse(payload) {
            Err(_) if legacy::claims(payload) => Ok((Self::Legacy, legacy::parse(payload)?)),
            read => Ok((format, read?)),
        }
    }

    fn of_today(bundle: &Bundle) -> Self {
        if bundle.method() == Method::Key && bundle.key_hint().is_none() {
            Self::NoKeyHint
        } else {
            Self::Current
        }
    }

    pub(super) fn parse(self, payload: &[u8]) -> Result<Statement, Error> {
        match self {
            Self::Legacy => legacy::parse(payload),
            Self::Current | Self::NoKeyHint => Statement::parse(payload),
        }
    }

    /// Its version, which upstream's names count from: `v1.0`, `v0.2`.
    #[must_use]
    pub fn version(self) -> &'static str {
        match self {
            Self::Current | Self::NoKeyHint => "v1.0",
            Self::Legacy => "v0.2",
        }
    }

    /// The predicate type of its statements.
    #[must_use]
    pub fn predicate_type(self) -> &'static str {
        match self {
            Self::Current | Self::NoKeyHint => statement::PREDICATE_TYPE,
            Self::Legacy => legacy::PREDICATE_TYPE,
        }
    }

    /// What a person should know of it, in one sentence.
    #[must_use]
    pub fn warning(self) -> Option<&'static str> {
        match self {
            Self::Current => None,
            Self::NoKeyHint => Some(
                "The signature is in the form of model-signing before 1.1.0, which does not name its key by a hash",
            ),
            Self::Legacy => Some(
                "The signature is in the format of model-signing 0.2, which binds less than OMS v1.0",
            ),
        }
    }
}
