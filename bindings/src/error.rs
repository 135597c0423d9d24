//! Rust errors to the exception classes of `errors.py`.

use std::path::Path;

use autosign_session::Error as SessionError;
use autosign_signing::Error as SigningError;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;

mod classes {
    pyo3::import_exception!(model_signing_autosign.errors, ConfigError);
    pyo3::import_exception!(model_signing_autosign.errors, SigningError);
    pyo3::import_exception!(model_signing_autosign.errors, UnsignedError);
    pyo3::import_exception!(model_signing_autosign.errors, VerificationError);
}

/// A checkpoint that could not be signed.
pub(crate) fn session(error: SessionError) -> PyErr {
    let arguments = (error.to_string(), error.hint());
    match error {
        SessionError::Signing(SigningError::Unsigned { .. }) => {
            classes::UnsignedError::new_err(arguments)
        }
        SessionError::Setting { .. }
        | SessionError::ConfigFile { .. }
        | SessionError::Locked { .. }
        | SessionError::NoCertificate
        | SessionError::NoKey
        | SessionError::NoIdentity
        | SessionError::NoSpool
        | SessionError::PublicLog => classes::ConfigError::new_err(arguments),
        _ => classes::SigningError::new_err(arguments),
    }
}

/// A signature that is still to come.
pub(crate) fn timeout(path: &Path) -> PyErr {
    PyTimeoutError::new_err(format!("{path:?} is not signed yet"))
}

/// A model that could not be signed.
pub(crate) fn signing(error: SigningError) -> PyErr {
    classes::SigningError::new_err((error.to_string(), error.hint()))
}

/// A model that could not be verified.
pub(crate) fn verification(error: SigningError) -> PyErr {
    let arguments = (error.to_string(), error.hint());
    match error {
        SigningError::Unsigned { .. } => classes::UnsignedError::new_err(arguments),
        _ => classes::VerificationError::new_err(arguments),
    }
}
