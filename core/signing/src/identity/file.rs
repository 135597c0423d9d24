//! A token in a file that something else keeps fresh, as kubelet does with projected tokens.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{Detection, IdentityToken, MAX_BYTES, Surroundings, TokenSource};
use crate::redacted::as_far_as_there;
use crate::{Deadline, Error, signer};

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
    fn name(&self) -> &'static str {
        "file"
    }

    fn detect(&self, _: &Surroundings) -> Detection {
        Detection::Here(format!("{:?} is set", as_far_as_there(&self.0)))
    }

    fn fetch(&self, _: &Surroundings, _: &str, _: Deadline) -> Result<IdentityToken, Error> {
        read_token(&self.0)
    }
}

/// The token in the file at `path`.
pub(super) fn read_token(path: &Path) -> Result<IdentityToken, Error> {
    IdentityToken::parse(&read_secret(path)?).map_err(Error::at(path))
}

/// The text in the file at `path`, at most 64 KiB.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<String>, Error> {
    let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
    let bytes = signer::read_secret(path, "token", limit).map_err(|error| Error::Token {
        reason: match &error {
            Error::SecretFile { .. } => format!("{error}; {}", error.hint()),
            _ => error.to_string(),
        },
    })?;
    let text = str::from_utf8(&bytes).map_err(|_| Error::Token {
        reason: "it is not text".to_owned(),
    });
    let text = text.map_err(Error::at(path))?;
    Ok(Zeroizing::new(text.to_owned()))
}
