//! `Verifier`

use std::path::PathBuf;

use autosign_session::{Keyless, Settings, refuse_trust_in};
use autosign_signing::{
    Bundle, CertificateVerifier, Digest, ExpectedSigner, KeyVerifier, KeylessVerifier, Policy,
    SerializationMethod, verify,
};
use pyo3::prelude::*;

use super::{Hashing, freshen, keyless};
use crate::blocking::stoppable;
use crate::error;

/// Who is believed.
#[pyclass(frozen, module = "model_signing_autosign._core")]
pub(crate) struct Verifier {
    verifier: Box<dyn autosign_signing::Verifier>,
    keyless: Option<Keyless>,
    roots: Vec<PathBuf>,
    /// Of the certificates that were given, as hex.
    #[pyo3(get)]
    fingerprints: Vec<String>,
}

#[pymethods]
impl Verifier {
    /// Itself: nothing of it changes.
    fn __deepcopy__(this: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        this
    }

    /// Whoever has the private key to the PEM key `public_key`.
    #[staticmethod]
    fn key(py: Python<'_>, public_key: PathBuf) -> PyResult<Self> {
        let verifier = py.detach(|| KeyVerifier::read(&public_key));
        Ok(Self {
            verifier: Box::new(verifier.map_err(error::library_verification)?),
            keyless: None,
            roots: Vec::new(),
            fingerprints: Vec::new(),
        })
    }

    /// Those for whom a root of the PEM files `certificate_chain` stands.
    #[staticmethod]
    fn certificate(py: Python<'_>, certificate_chain: Vec<PathBuf>) -> PyResult<Self> {
        let verifier = py.detach(|| CertificateVerifier::read(&certificate_chain));
        let verifier = verifier.map_err(error::library_verification)?;
        Ok(Self {
            fingerprints: hex(&verifier.fingerprints()),
            verifier: Box::new(verifier),
            keyless: None,
            roots: certificate_chain,
        })
    }

    /// `identity`, for which `oidc_issuer` vouches.
    #[staticmethod]
    #[pyo3(signature = (*, identity, oidc_issuer, staging, trust_config))]
    fn sigstore(
        py: Python<'_>,
        identity: &str,
        oidc_issuer: &str,
        staging: bool,
        trust_config: Option<PathBuf>,
    ) -> PyResult<Self> {
        let made = py.detach(|| {
            let keyless = keyless(&Settings::of_process(), staging, trust_config)?;
            freshen(&keyless);
            let expected = ExpectedSigner::new(identity, oidc_issuer)?;
            Ok(Self {
                verifier: Box::new(KeylessVerifier::new(&keyless.trust()?, expected)?),
                keyless: Some(keyless),
                roots: Vec::new(),
                fingerprints: Vec::new(),
            })
        });
        made.map_err(error::library_session)
    }

    /// Verify the signature, then every file of `model`. `hashing` says what is ignored, by how many threads it is hashed, and
    /// whether links are followed; the rest, and all without it, the signature does. Returns the algorithm and, of shards,
    /// the size that the signature says.
    ///
    /// Raises:
    ///     OSError: A file cannot be read.
    ///     MismatchError: The model is not what was signed.
    ///     VerificationError: The signature is not theirs, or not as it must be.
    #[pyo3(signature = (model, signature, *, hashing, ignore_unsigned))]
    fn verify(
        &self,
        py: Python<'_>,
        model: PathBuf,
        signature: PathBuf,
        hashing: Option<&Hashing>,
        ignore_unsigned: bool,
    ) -> PyResult<(&'static str, Option<u64>)> {
        let verified = stoppable(py, |progress| {
            if let Some(keyless) = &self.keyless {
                keyless.refuse_trust_in(&model)?;
            }
            refuse_trust_in(&model, self.roots.iter().map(PathBuf::as_path))?;
            let policy = Policy {
                ignore: hashing.map_or_else(Vec::new, |own| own.ignored.clone()),
                ignore_git: hashing.is_none_or(|own| own.ignore_git),
                ignore_unsigned,
                symlinks: hashing.map(|own| own.symlinks),
                ..Policy::default()
            };
            let default = autosign_signing::Hashing {
                progress,
                ..Default::default()
            };
            let hashing = hashing.map_or(default, |own| own.options(progress));
            verify(&model, &signature, &*self.verifier, &policy, hashing)
        })?;
        let verified = verified.map_err(error::library_verification)?;
        let said = verified.manifest().manifest().serialization();
        let size = match said.method {
            SerializationMethod::Shards { size } => Some(size.get()),
            SerializationMethod::Files => None,
        };
        Ok((said.algorithm.name(), size))
    }
}

/// The SHA-256 of every certificate that the signature at `path` carries, as hex.
#[pyfunction]
pub(crate) fn fingerprints(py: Python<'_>, path: PathBuf) -> PyResult<Vec<String>> {
    let bundle = py.detach(|| Bundle::read(&path));
    let bundle = bundle.map_err(error::library_verification)?;
    Ok(hex(&bundle.fingerprints()))
}

fn hex(digests: &[Digest]) -> Vec<String> {
    digests.iter().map(Digest::to_string).collect()
}
