//! What a verifier asks for beside the right signer.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use autosign_session::{Error, LastSeen, verify};
use autosign_signing::{Freshness, Hashing, Policy, RelPath, Verifier, find_signature};
use pyo3::prelude::*;

use crate::session::seconds;

/// What a verifier asks for beside the right signer.
#[pyclass(frozen, module = "model_signing_autosign._core")]
pub(crate) struct Rules {
    policy: Policy,
    max_age: Option<Duration>,
    last_seen: Option<LastSeen>,
}

#[pymethods]
impl Rules {
    /// `max_age` is in seconds.
    #[new]
    #[pyo3(signature = (*, expect_name, run, min_step, max_age, last_seen, strict, portable))]
    fn new(
        expect_name: Option<String>,
        run: Option<String>,
        min_step: Option<u64>,
        max_age: Option<f64>,
        last_seen: Option<PathBuf>,
        strict: bool,
        portable: bool,
    ) -> Self {
        let freshness = Freshness {
            run,
            min_step,
            ..Freshness::default()
        };
        Self {
            policy: Policy {
                expect_name,
                freshness,
                strict,
                portable,
                ..Policy::default()
            },
            max_age: max_age.map(seconds),
            last_seen: last_seen.map(LastSeen::new),
        }
    }
}

impl Rules {
    /// The names of the verified files of `model`.
    pub(crate) fn verify(
        &self,
        model: &Path,
        signature: Option<PathBuf>,
        verifier: &dyn Verifier,
    ) -> Result<Vec<String>, Error> {
        let signature = signature.unwrap_or_else(|| find_signature(model));
        let mut policy = self.policy.clone();
        let now = SystemTime::now();
        policy.freshness = policy.freshness.not_older_than(self.max_age, now);
        let last_seen = self.last_seen.as_ref();
        let hashing = Hashing::default();
        let good = verify(model, &signature, verifier, &policy, last_seen, hashing)?;
        Ok(good.files().iter().map(RelPath::to_string).collect())
    }
}
