//! Rust to Python: the list of what crosses, and no logic.

// Doc comments here become Python docstrings, and PyO3 hands arguments over.
#![allow(clippy::doc_markdown, clippy::needless_pass_by_value)]

mod blocking;
mod error;
mod library;
mod rules;
mod session;
mod signing;

/// The Rust core of `model_signing_autosign`.
#[pyo3::pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::error::without_secrets;
    #[pymodule_export]
    use super::library::{Hashing, Signer, Verifier, fingerprints};
    #[pymodule_export]
    use super::rules::Rules;
    #[pymodule_export]
    use super::session::{Session, Status, standard_streams, warn};
    #[pymodule_export]
    use super::signing::{
        doctor, run, sign_certificate, sign_key, sign_sigstore, verify_certificate, verify_key,
        verify_policy, verify_sigstore, way_to_verify,
    };
}
