//! `model-signing verify`

use std::io::Write;
use std::path::PathBuf;

use autosign_signing::{
    Error, Hashing, KeyVerifier, Policy, VerifiedModel, signature_path, verify,
};
use clap::{Args, Subcommand};

use crate::progress::Bar;
use crate::{GOOD, Selection, default_signature, failed, say, shown};

/// Unsigned files named in full; more are counted.
const NAMES_SHOWN: usize = 10;

#[derive(Subcommand)]
pub(crate) enum Verify {
    /// With the signer's public key.
    Key(Key),
}

#[derive(Args)]
pub(crate) struct Key {
    /// The file or folder to verify.
    model: PathBuf,
    /// The signature. Default: model.sig in the working directory if there is one, else NAME.sig beside a file and
    /// model.sig inside a folder.
    #[arg(long, value_name = "PATH")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Accept files that are not signed.
    #[arg(long, overrides_with = "no_ignore_unsigned_files")]
    ignore_unsigned_files: bool,
    /// Refuse them (the default).
    #[arg(long)]
    no_ignore_unsigned_files: bool,
    /// The public key, a PEM file.
    #[arg(long, value_name = "PATH")]
    public_key: PathBuf,
}

impl Verify {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Self::Key(key) = self;
        match key.verify() {
            Ok(verified) => {
                tell_unsigned(&verified, err);
                say(out, format_args!("Verification succeeded"));
                GOOD
            }
            Err(error) => failed(err, "Verification", &error),
        }
    }
}

impl Key {
    fn verify(self) -> Result<VerifiedModel, Error> {
        let signature = self.signature.unwrap_or_else(|| {
            let upstream = default_signature();
            if upstream.exists() {
                upstream
            } else {
                signature_path(&self.model)
            }
        });
        let policy = Policy {
            ignore_git: self.selection.ignores_git(),
            ignore: self.selection.ignore_paths,
            ignore_unsigned: self.ignore_unsigned_files,
        };
        let verifier = KeyVerifier::read(&self.public_key)?;
        let bar = Bar::default();
        let hashing = Hashing {
            progress: &bar,
            ..Hashing::default()
        };
        verify(&self.model, &signature, &verifier, &policy, hashing)
    }
}

/// What a good signature says nothing of.
fn tell_unsigned(verified: &VerifiedModel, err: &mut dyn Write) {
    let names = verified.unsigned();
    if names.is_empty() {
        return;
    }
    let listed: Vec<_> = names
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| shown(name.as_str()))
        .collect();
    let more = if names.len() > NAMES_SHOWN {
        ", ..."
    } else {
        ""
    };
    say(
        err,
        format_args!(
            "Not covered by the signature, {} in all: {}{more}",
            names.len(),
            listed.join(", ")
        ),
    );
}
