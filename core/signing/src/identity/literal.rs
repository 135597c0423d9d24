//! A token given as text: on the command line, or in the environment.

use zeroize::Zeroizing;

use super::{IdentityToken, TokenSource};
use crate::Error;

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
    fn fetch(&self) -> Result<IdentityToken, Error> {
        IdentityToken::parse(&self.0)
    }
}
