//! The newest checkpoint of each run that was verified here, so that an older one is refused.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use autosign_signing::{
    AnnotationFault, Hashing, Policy, VerifiedModel, Verifier, refuse_writable,
};
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

/// By signer, as verifiers show it, and run: a signer who is believed for other models has no say over the runs of this one.
#[derive(Default, Serialize, Deserialize)]
struct Seen {
    signers: BTreeMap<String, BTreeMap<String, Place>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Place {
    sequence: u64,
    step: Option<u64>,
}

impl Place {
    /// Whether what is at this place may be verified when `last` was the newest. A checkpoint may be of several files, each with
    /// a signature of its own, and is verified again as a whole: so within a step the order does not count.
    fn is_as_new_as(self, last: Self) -> bool {
        self.sequence >= last.sequence || (self.step.is_some() && self.step == last.step)
    }
}

impl LastSeen {
    /// The file at `path`, which need not exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Refuses the file in `model`, whose writers could rewind it, and where it is anybody's to write. Beside a model of one file
    /// it is taken: who may write to that folder is not known here.
    ///
    /// # Errors
    /// [`autosign_signing::Error::TrustInModel`], and those of [`refuse_writable`].
    fn refuse_in(&self, model: &Path) -> Result<(), Error> {
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // It may not be there yet.
        if refuse_trust_in(model, [self.path.as_path(), folder]).is_err() {
            let path = self.path.clone();
            return Err(autosign_signing::Error::TrustInModel { path }.into());
        }
        Ok(refuse_writable(&self.path)?)
    }

    /// Takes `verified` for the newest of its signer's run from now on, unless one of the same step is newer.
    ///
    /// # Errors
    /// [`AnnotationFault::RolledBack`] where a newer one of another step was taken before; [`AnnotationFault::Unordered`] where
    /// its signature does not say; [`Error::LastSeen`].
    fn admit(&self, verified: &VerifiedModel) -> Result<(), Error> {
        let said = verified.manifest().annotations();
        let (Some(run), Some(sequence)) = (&said.run, said.sequence) else {
            return Err(Refused::Rule(AnnotationFault::Unordered).told(&self.path));
        };
        let signer = verified.manifest().signer().to_string();
        let found = Place {
            sequence,
            step: said.step,
        };
        let admitted = kept::change(&self.path, |seen: &mut Seen| {
            let runs = seen.signers.entry(signer).or_default();
            let last = runs.entry(run.clone()).or_insert(found);
            if !found.is_as_new_as(*last) {
                return Err(Refused::Rule(AnnotationFault::RolledBack {
                    run: run.clone(),
                    last: last.sequence,
                    found: sequence,
                }));
            }
            if found.sequence > last.sequence {
                *last = found;
            }
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
