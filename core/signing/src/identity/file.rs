//! A token in a file that something else keeps fresh, as kubelet does with projected tokens.

use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{IdentityToken, MAX_BYTES, TokenSource};
use crate::Error;
use crate::bundle::read_capped;

/// The file, read again each time.
pub struct TokenFile(PathBuf);

impl TokenFile {
    /// The token at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl TokenSource for TokenFile {
    fn fetch(&self) -> Result<IdentityToken, Error> {
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        let bytes = read_capped(&self.0, "token", limit).map_err(|error| Error::Token {
            reason: error.to_string(),
        })?;
        let bytes = Zeroizing::new(bytes);
        let text = str::from_utf8(&bytes).map_err(|_| Error::Token {
            reason: "it is not text".to_owned(),
        });
        text.and_then(IdentityToken::parse)
            .map_err(Error::at(&self.0))
    }
}
