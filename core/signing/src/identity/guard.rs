//! In whose name a job may sign: a notebook must not sign as the person who opened it, nor a job as another team.

use crate::Error;
use crate::pattern::Pattern;

/// Who the signer is expected to be; of what is not said, anybody.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    identity: Option<Pattern>,
    issuer: Option<Pattern>,
}

impl Guard {
    /// `identity` is the certificate's subject alternative name and `issuer` the URL of the OIDC issuer, each exactly, or
    /// `glob:` or `re:` and a pattern as [`ExpectedSigner`](crate::ExpectedSigner) has them.
    ///
    /// # Errors
    /// [`Error::IdentityPattern`].
    pub fn new(identity: Option<&str>, issuer: Option<&str>) -> Result<Self, Error> {
        Ok(Self {
            identity: identity.map(Pattern::parse).transpose()?,
            issuer: issuer.map(Pattern::parse).transpose()?,
        })
    }

    /// Whether somebody is expected at all.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.identity.is_some() || self.issuer.is_some()
    }

    /// Whether `identity`, as far as it is known, and `issuer` are whom it expects.
    pub(crate) fn check(&self, identity: Option<&str>, issuer: &str) -> Result<(), Error> {
        let fits = |expected: &Option<Pattern>, found: Option<&str>| match (expected, found) {
            (Some(expected), Some(found)) => expected.matches(found),
            _ => true,
        };
        if fits(&self.identity, identity) && fits(&self.issuer, Some(issuer)) {
            return Ok(());
        }
        let text = |pattern: &Option<Pattern>| {
            let text = pattern.as_ref().map_or("anybody", Pattern::text);
            text.to_owned()
        };
        Err(Error::NotExpected {
            expected: format!("{} ({})", text(&self.identity), text(&self.issuer)),
            found: format!(
                "{} ({})",
                identity.unwrap_or("somebody").escape_debug(),
                issuer.escape_debug()
            ),
        })
    }
}
