//! `model-signing sign`

use std::io::Write;
use std::path::PathBuf;

use autosign_signing::{Error, Hashing, KeySigner, read_password, sign};
use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::progress::Bar;
use crate::{GOOD, Selection, default_signature, failed, say};

#[derive(Subcommand)]
pub(crate) enum Sign {
    /// With a private key: ECDSA on P-256, P-384 or P-521.
    Key(Key),
}

#[derive(Args)]
pub(crate) struct Key {
    /// The file or folder to sign.
    model: PathBuf,
    /// Where the signature goes.
    #[arg(long, value_name = "PATH", default_value_os_t = default_signature())]
    signature: PathBuf,
    #[command(flatten)]
    selection: Selection,
    /// The private key, a PEM file.
    #[arg(long, value_name = "PATH")]
    private_key: PathBuf,
    /// Opens an encrypted key; others on this machine can see it, --password-file hides it.
    #[arg(long, conflicts_with = "password_file")]
    password: Option<String>,
    /// A file whose first line opens an encrypted key.
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
}

impl Sign {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Self::Key(key) = self;
        match key.sign() {
            Ok(()) => {
                say(out, format_args!("Signing succeeded"));
                GOOD
            }
            Err(error) => failed(err, "Signing", &error),
        }
    }
}

impl Key {
    fn sign(self) -> Result<(), Error> {
        let password = match &self.password_file {
            Some(path) => Some(read_password(path)?),
            None => self.password.map(Zeroizing::new),
        };
        let signer = KeySigner::read(&self.private_key, password.as_deref().map(String::as_bytes))?;
        let ignore = self.selection.ignore(&self.model, Some(&self.signature))?;
        let bar = Bar::default();
        let hashing = Hashing {
            progress: &bar,
            ..Hashing::default()
        };
        sign(&self.model, &self.signature, &ignore, &signer, hashing)?;
        Ok(())
    }
}
