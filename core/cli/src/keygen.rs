//! `model-signing keygen`

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use autosign_signing::{Error, generate_key};
use clap::Args;
use rustix::fs::{Mode, OFlags};

use crate::{GOOD, failed, say, shown};

#[derive(Args)]
pub(crate) struct Keygen {
    /// Path without the endings.
    name: PathBuf,
}

impl Keygen {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        match self.make() {
            Ok((private, public)) => {
                say(
                    out,
                    format_args!("{} signs: keep it secret", shown(private)),
                );
                say(
                    out,
                    format_args!(
                        "{} verifies: give it to whoever loads the models",
                        shown(public)
                    ),
                );
                GOOD
            }
            Err(error) => failed(err, "Making a key", &error.into()),
        }
    }

    fn make(&self) -> Result<(PathBuf, PathBuf), Error> {
        let (private, public) = (self.with(".pem"), self.with(".pub.pem"));
        let (private_text, public_text) = generate_key()?;
        write_new(&private, private_text.as_bytes(), 0o600)?;
        write_new(&public, public_text.as_bytes(), 0o644)?;
        Ok((private, public))
    }

    fn with(&self, ending: &str) -> PathBuf {
        let mut path = OsString::from(&self.name);
        path.push(ending);
        path.into()
    }
}

/// A key that exists is never overwritten, and no other user ever sees the secret one.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(mode))
        .map_err(io::Error::from)
        .and_then(|file| std::fs::File::from(file).write_all(bytes))
        .map_err(|source| Error::Io {
            action: "create",
            path: path.into(),
            source,
        })
}
