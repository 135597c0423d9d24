//! The newest checkpoint of each run that was verified here, so that an older one is refused.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use autosign_signing::{AnnotationFault, Hashing, Policy, VerifiedModel, Verifier};
use serde::{Deserialize, Serialize};

use crate::{Error, kept, refuse_trust_in};

/// [`autosign_signing::verify`], and with `last_seen` a refusal of what is older than what was verified with it before.
///
/// # Errors
/// Those of it, and those of [`LastSeen`].
///
/// ```
/// use autosign_session::{LastSeen, verify};
/// use autosign_signing::{Hashing, Ignore, KeySigner, KeyVerifier, Policy, sign, signature_path};
/// let folder = tempfile::tempdir()?;
/// let model = folder.path().join("last.pt");
/// std::fs::write(&model, b"weights")?;
/// let (keys, signature) = ("../signing/tests/keys/p256", signature_path(&model));
/// let signer = KeySigner::read(format!("{keys}.pem").as_ref(), None)?;
/// sign(&model, &signature, &Ignore::git(), &signer, Hashing::default())?;
///
/// let verifier = KeyVerifier::read(format!("{keys}.pub.pem").as_ref())?;
/// let last_seen = tempfile::tempdir()?;
/// let last_seen = LastSeen::new(last_seen.path().join("seen.json"));
/// let verified = verify(&model, &signature, &verifier, &Policy::default(), Some(&last_seen), Hashing::default());
/// assert_eq!(verified.unwrap_err().to_string(), "its signature names no run and no place in it");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn verify(
    model: &Path,
    signature: &Path,
    verifier: &dyn Verifier,
    policy: &Policy,
    last_seen: Option<&LastSeen>,
    hashing: Hashing<'_>,
) -> Result<VerifiedModel, Error> {
    if let Some(last_seen) = last_seen {
        last_seen.refuse_in(model)?;
    }
    let good = autosign_signing::verify(model, signature, verifier, policy, hashing)?;
    if let Some(last_seen) = last_seen {
        last_seen.admit(&good)?;
    }
    Ok(good)
}

/// A file that remembers what was verified.
#[derive(Clone, Debug)]
pub struct LastSeen {
    path: PathBuf,
}

#[derive(Default, Serialize, Deserialize)]
struct Runs {
    runs: BTreeMap<String, Place>,
}

#[derive(Serialize, Deserialize)]
struct Place {
    sequence: u64,
    step: Option<u64>,
}

impl LastSeen {
    /// The file at `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Refuses the file where the writers of `model` could rewind it.
    ///
    /// # Errors
    /// [`autosign_signing::Error::TrustInModel`], [`autosign_signing::Error::TrustWritable`].
    fn refuse_in(&self, model: &Path) -> Result<(), Error> {
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // It may not be there yet.
        refuse_trust_in(model, [self.path.as_path(), folder])?;
        match std::fs::metadata(&self.path) {
            Ok(found) if found.permissions().mode() & 0o022 != 0 => {
                let path = self.path.clone();
                Err(autosign_signing::Error::TrustWritable { path }.into())
            }
            _ => Ok(()),
        }
    }

    /// Takes `verified` for the newest of its run from now on.
    ///
    /// # Errors
    /// [`AnnotationFault::RolledBack`] where a newer one was taken before; [`AnnotationFault::Unordered`] where its signature
    /// does not say; [`Error::LastSeen`].
    fn admit(&self, verified: &VerifiedModel) -> Result<(), Error> {
        let said = verified.manifest().annotations();
        let (Some(run), Some(sequence)) = (&said.run, said.sequence) else {
            return Err(Refused::Rule(AnnotationFault::Unordered).told(&self.path));
        };
        let admitted = kept::change(&self.path, |seen: &mut Runs| {
            let last = seen.runs.get(run).map(|place| place.sequence);
            if let Some(last) = last.filter(|&last| sequence < last) {
                return Err(Refused::Rule(AnnotationFault::RolledBack {
                    run: run.clone(),
                    last,
                    found: sequence,
                }));
            }
            let step = said.step;
            seen.runs.insert(run.clone(), Place { sequence, step });
            Ok(())
        });
        admitted.map_err(|refused| refused.told(&self.path))
    }
}

enum Refused {
    File(io::Error),
    Rule(AnnotationFault),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

impl Refused {
    fn told(self, path: &Path) -> Error {
        match self {
            Self::Rule(fault) => autosign_signing::Error::from(fault).into(),
            Self::File(source) => Error::LastSeen {
                path: path.into(),
                source,
            },
        }
    }
}
