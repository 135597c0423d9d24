//! A token given as text: on the command line, or in the environment.

use std::time::SystemTime;

use zeroize::Zeroizing;

use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

/// One token, which cannot be renewed.
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// Takes the token.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl TokenSource for TokenText {
    fn name(&self) -> &'static str {
        "env"
    }

    fn detect(&self, _: &Surroundings) -> Detection {
        Detection::Here("a token is given as text".to_owned())
    }

    fn ends(&self, _: &Surroundings, _: &str) -> Option<SystemTime> {
        IdentityToken::parse(&self.0).ok()?.ends()
    }

    fn fetch(&self, _: &Surroundings, _: &str, _: Deadline) -> Result<IdentityToken, Error> {
        IdentityToken::parse(&self.0)
    }
}
