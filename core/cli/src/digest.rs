//! `model-signing digest`

use std::io::Write;
use std::path::PathBuf;

use autosign_signing::{Error, hash};
use clap::Args;

use crate::hashing::HashingArgs;
use crate::progress::Bar;
use crate::{GOOD, Selection, failed, say};

#[derive(Args)]
pub(crate) struct Digest {
    /// The file or folder to hash.
    model: PathBuf,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    hashing: HashingArgs,
}

impl Digest {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        self.selection.tell_unmatched(&self.model, err);
        match self.digest() {
            Ok(digest) => {
                say(out, format_args!("sha256:{digest}"));
                GOOD
            }
            Err(error) => failed(err, "Hashing", &error.into()),
        }
    }

    fn digest(&self) -> Result<autosign_signing::Digest, Error> {
        let ignore = self.selection.ignore(&self.model, None)?;
        let bar = Bar::default();
        let hashing = self.hashing.hashing(&self.selection, &bar)?;
        Ok(hash(&self.model, &ignore, hashing)?.root_digest())
    }
}
