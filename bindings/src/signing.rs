//! One model by hand, and the command line.

use std::ffi::OsString;
use std::io::{stderr, stdout};
use std::path::PathBuf;

use autosign_session::Environment;
use autosign_signing::{
    Hashing, Ignore, KeySigner, KeyVerifier, Policy, RelPath, sign, signature_path, verify,
};
use pyo3::prelude::*;

use crate::error;

/// Sign `model` with the PEM key `private_key` and return the path of the signature.
///
/// Raises:
///     SigningError: The key, the model or the signature's place is not as it must be.
#[pyfunction]
#[pyo3(signature = (model, *, private_key, password=None, signature=None))]
pub(crate) fn sign_key(
    py: Python<'_>,
    model: PathBuf,
    private_key: PathBuf,
    password: Option<String>,
    signature: Option<PathBuf>,
) -> PyResult<PathBuf> {
    let signed = py.detach(|| {
        let signature = signature.unwrap_or_else(|| signature_path(&model));
        let signer = KeySigner::read(&private_key, password.as_deref().map(str::as_bytes))?;
        let ignore = Ignore::new(&model, Some(&signature), &[], true)?;
        sign(&model, &signature, &ignore, &signer, Hashing::default()).map(|_| signature)
    });
    signed.map_err(error::signing)
}

/// Verify `model` with the PEM key `public_key` and return the names of its verified files.
///
/// Raises:
///     UnsignedError: There is no signature.
///     VerificationError: The signature is not by this key, or the model is not what was signed.
#[pyfunction]
#[pyo3(signature = (model, *, public_key, signature=None))]
pub(crate) fn verify_key(
    py: Python<'_>,
    model: PathBuf,
    public_key: PathBuf,
    signature: Option<PathBuf>,
) -> PyResult<Vec<String>> {
    let verified = py.detach(|| {
        let signature = signature.unwrap_or_else(|| signature_path(&model));
        let verifier = KeyVerifier::read(&public_key)?;
        verify(
            &model,
            &signature,
            &verifier,
            &Policy::default(),
            Hashing::default(),
        )
    });
    let verified = verified.map_err(error::verification)?;
    Ok(verified.files().iter().map(RelPath::to_string).collect())
}

/// Run the `model-signing` command line `args`, of which the first is the program's name; return its exit code.
#[pyfunction]
pub(crate) fn run(py: Python<'_>, args: Vec<OsString>) -> u8 {
    py.detach(|| {
        autosign_cli::run(
            args,
            &Environment::of_process(),
            &mut stdout(),
            &mut stderr(),
        )
    })
}
