//! Rust errors to the exception classes of `errors.py`.

use std::io;
use std::path::Path;

use autosign_session::Error as SessionError;
use autosign_signing::{Error as SigningError, RelPath, is_secret};
use pyo3::exceptions::{PyOSError, PyTimeoutError};
use pyo3::prelude::*;

mod classes {
    pyo3::import_exception!(model_signing_autosign.errors, ConfigError);
    pyo3::import_exception!(model_signing_autosign.errors, MismatchError);
    pyo3::import_exception!(model_signing_autosign.errors, SigningError);
    pyo3::import_exception!(model_signing_autosign.errors, UnsignedError);
    pyo3::import_exception!(model_signing_autosign.errors, VerificationError);
}

/// A checkpoint that could not be signed.
pub(crate) fn session(error: SessionError) -> PyErr {
    let arguments = (text(&error), error.hint());
    match error {
        SessionError::Signing(SigningError::Unsigned { .. }) => {
            classes::UnsignedError::new_err(arguments)
        }
        SessionError::SecretSetting { .. }
        | SessionError::Setting { .. }
        | SessionError::ConfigFile { .. }
        | SessionError::Locked { .. }
        | SessionError::NoCertificate
        | SessionError::NoKey
        | SessionError::NoIdentity
        | SessionError::NoSpool
        | SessionError::NotOnToken
        | SessionError::PublicLog => classes::ConfigError::new_err(arguments),
        _ => classes::SigningError::new_err(arguments),
    }
}

/// A signature that is still to come.
pub(crate) fn timeout(path: &Path) -> PyErr {
    PyTimeoutError::new_err(text(&format!("{path:?} is not signed yet")))
}

/// A model that could not be signed.
pub(crate) fn signing(error: SigningError) -> PyErr {
    classes::SigningError::new_err((text(&error), error.hint()))
}

/// A model that could not be verified.
pub(crate) fn verification(error: SessionError) -> PyErr {
    let arguments = (text(&error), error.hint());
    match error {
        SessionError::Signing(SigningError::Unsigned { .. }) => {
            classes::UnsignedError::new_err(arguments)
        }
        _ => classes::VerificationError::new_err(arguments),
    }
}

/// What upstream's callers catch: `OSError` for files, `ValueError` for all else, since our own classes are that.
pub(crate) fn library(error: SigningError) -> PyErr {
    file(error).unwrap_or_else(signing)
}

/// The same for verifying.
pub(crate) fn library_verification(error: SigningError) -> PyErr {
    let SigningError::Differs(difference) = &error else {
        return file(error).unwrap_or_else(|error| verification(error.into()));
    };
    let names = |names: &[RelPath]| -> Vec<_> { names.iter().map(RelPath::to_string).collect() };
    classes::MismatchError::new_err((
        text(&error),
        error.hint(),
        names(&difference.missing),
        names(&difference.changed),
        names(&difference.added),
    ))
}

/// The same where settings are read.
pub(crate) fn library_session(error: SessionError) -> PyErr {
    match error {
        SessionError::Signing(error) => library(error),
        error => session(error),
    }
}

/// As Python's own `open` has it: a number, the system's words and the path as text.
fn file(error: SigningError) -> Result<PyErr, SigningError> {
    const ENOENT: i32 = 2;
    const EISDIR: i32 = 21;
    let (number, path) = match error {
        SigningError::Io {
            ref path,
            ref source,
            ..
        } => match source.raw_os_error() {
            Some(number) => (number, path.clone()),
            None => return Ok(PyOSError::new_err(text(&error))),
        },
        SigningError::SecretFile {
            ref path,
            ref source,
            ..
        } => (source.raw_os_error().unwrap_or(ENOENT), path.clone()),
        SigningError::Unsigned { signature } => (ENOENT, signature),
        SigningError::NotAFile { path, kind } if kind.is_folder() => (EISDIR, path),
        error => return Err(error),
    };
    let words = io::Error::from_raw_os_error(number).to_string();
    let words = words.split(" (os error").next().unwrap_or_default();
    let path = match path.to_str().map(without_secrets) {
        Some(path) => path.into(),
        None => path.into_os_string(),
    };
    Ok(PyOSError::new_err((number, words.to_owned(), path)))
}

/// Refuses a secret where it would become the name of a file.
///
/// # Errors
/// [`SessionError::SecretSetting`].
pub(crate) fn no_secret(variable: &'static str, path: &Path) -> Result<(), SessionError> {
    let values = "a path";
    match path.to_str() {
        Some(path) if is_secret(path) => Err(SessionError::SecretSetting { variable, values }),
        _ => Ok(()),
    }
}

/// `text` without private keys and tokens, to be repeated in a message.
#[pyfunction]
pub(crate) fn without_secrets(text: &str) -> String {
    autosign_signing::without_secrets(text)
}

/// What `error` says. A key or a token that was given in the place of a path is not repeated.
fn text(error: &impl ToString) -> String {
    without_secrets(&error.to_string())
}
