//! `Signer`

use std::path::PathBuf;
use std::sync::Arc;

use autosign_cli::LoginArgs;
use autosign_session::{ByHand, Instance, Keyless, Method, PUBLIC_LOG, Settings};
use autosign_signing::{Dialect, Manner, publish, seal, state};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::{Hashing, freshen};
use crate::blocking::stoppable;
use crate::error;

/// In whose name models are signed.
#[pyclass(frozen, module = "model_signing_autosign._core")]
pub(crate) struct Signer {
    signer: Arc<dyn autosign_signing::Signer>,
    keyless: Option<Keyless>,
    public: bool,
}

#[pymethods]
impl Signer {
    /// Itself: nothing of it changes.
    fn __deepcopy__(this: Py<Self>, _memo: &Bound<'_, PyAny>) -> Py<Self> {
        this
    }

    /// That of the PEM key `private_key`.
    #[staticmethod]
    #[pyo3(signature = (private_key, *, password))]
    fn key(py: Python<'_>, private_key: PathBuf, password: Option<Vec<u8>>) -> PyResult<Self> {
        let by_hand = ByHand {
            method: Method::Key,
            private_key: Some(private_key.into()),
            password: password.map(Into::into),
            ..ByHand::default()
        };
        Self::by_key(py, by_hand)
    }

    /// That of the PEM certificate `signing_certificate` for the key `private_key`.
    #[staticmethod]
    #[pyo3(signature = (private_key, *, password, signing_certificate, certificate_chain))]
    fn certificate(
        py: Python<'_>,
        private_key: PathBuf,
        password: Option<Vec<u8>>,
        signing_certificate: PathBuf,
        certificate_chain: Vec<PathBuf>,
    ) -> PyResult<Self> {
        let by_hand = ByHand {
            method: Method::Certificate,
            private_key: Some(private_key.into()),
            password: password.map(Into::into),
            certificate: Some(signing_certificate),
            certificate_chain: Some(certificate_chain),
            ..ByHand::default()
        };
        Self::by_key(py, by_hand)
    }

    /// That of the key on a PKCS #11 token that `uri` names, whose module may be in one of the folders `module_paths`.
    #[staticmethod]
    #[pyo3(signature = (uri, *, module_paths))]
    fn pkcs11(py: Python<'_>, uri: &str, module_paths: Vec<PathBuf>) -> PyResult<Self> {
        let by_hand = ByHand {
            method: Method::Pkcs11,
            private_key: Some(uri.into()),
            module_folders: module_paths,
            ..ByHand::default()
        };
        Self::by_key(py, by_hand)
    }

    /// The same with the PEM certificate `signing_certificate` for it.
    #[staticmethod]
    #[pyo3(signature = (uri, *, module_paths, signing_certificate, certificate_chain))]
    fn pkcs11_certificate(
        py: Python<'_>,
        uri: &str,
        module_paths: Vec<PathBuf>,
        signing_certificate: PathBuf,
        certificate_chain: Vec<PathBuf>,
    ) -> PyResult<Self> {
        let by_hand = ByHand {
            method: Method::Pkcs11,
            private_key: Some(uri.into()),
            module_folders: module_paths,
            certificate: Some(signing_certificate),
            certificate_chain: Some(certificate_chain),
            ..ByHand::default()
        };
        Self::by_key(py, by_hand)
    }

    /// That of an identity token: the given one, else that of the settings, else that of a person who logs in, unless
    /// `ambient`.
    #[staticmethod]
    #[pyo3(signature = (*, identity_token, ambient, staging, trust_config, oidc_issuer, force_oob, client_id, client_secret))]
    #[allow(clippy::too_many_arguments)]
    fn sigstore(
        py: Python<'_>,
        identity_token: Option<String>,
        ambient: bool,
        staging: bool,
        trust_config: Option<PathBuf>,
        oidc_issuer: Option<String>,
        force_oob: bool,
        client_id: Option<String>,
        client_secret: Option<String>,
    ) -> PyResult<Self> {
        let login = LoginArgs::new(oidc_issuer, force_oob, client_id, client_secret);
        let made = py.detach(|| {
            let settings = Settings::of_process();
            let staging = staging.then_some(Instance::Staging);
            let by_hand = ByHand {
                method: Method::Sigstore,
                identity_token: identity_token.map(Into::into),
                instance: staging.or(trust_config.map(Instance::trust_config)),
                ..ByHand::default()
            };
            let keyless = by_hand.config(&settings)?.keyless;
            freshen(&keyless);
            let (signer, public) = login.signer(keyless.clone(), &settings, ambient)?;
            Ok(Self {
                signer: Arc::new(signer),
                keyless: Some(keyless),
                public,
            })
        });
        made.map_err(error::library_session)
    }

    /// Hash and sign `model`, and put the signature at `signature`, which is left out of the model. `compat` is the tool in
    /// whose words it is signed.
    ///
    /// Raises:
    ///     ValueError: There is no such tool.
    ///     OSError: A file cannot be read, or the signature cannot be written.
    ///     SigningError: The model is not as it must be, or a service fails.
    #[pyo3(signature = (model, signature, hashing, *, compat))]
    fn sign(
        &self,
        py: Python<'_>,
        model: PathBuf,
        signature: PathBuf,
        hashing: &Hashing,
        compat: Option<&str>,
    ) -> PyResult<()> {
        let dialect = compat.map_or(Some(Dialect::Oms), Dialect::named);
        let dialect = dialect.ok_or_else(|| {
            let tool = compat.unwrap_or_default();
            PyValueError::new_err(format!("no tool {tool:?} is known, but `model-signing-1`"))
        })?;
        let chosen = ByHand {
            threads: hashing.threads,
            ignore_git_paths: Some(hashing.ignore_git),
            ..ByHand::default()
        };
        error::no_secret("signature_path", &signature).map_err(error::session)?;
        let allowed = py.detach(|| chosen.config(&Settings::of_process()));
        allowed.map_err(error::library_session)?;
        let hashed = stoppable(py, |progress| {
            if let Some(keyless) = &self.keyless {
                keyless.refuse_trust_in(&model)?;
            }
            if self.public {
                autosign_session::warn(PUBLIC_LOG);
            }
            let ignore = hashing.ignore(&model, Some(&signature))?;
            state(dialect, &model, &ignore, hashing.options(progress))
        })?;
        // In Python's own thread: a person who is asked to log in breaks off there.
        let signed = py.detach(|| {
            hashed
                .and_then(|statement| seal(&statement, &*self.signer))
                .and_then(|sealed| publish(&signature, &sealed, Manner::Plain).map(drop))
        });
        signed.map_err(error::library)
    }
}

impl Signer {
    fn by_key(py: Python<'_>, by_hand: ByHand) -> PyResult<Self> {
        let signer = py.detach(|| by_hand.config(&Settings::of_process())?.key_signer());
        Ok(Self {
            signer: signer.map_err(error::library_session)?,
            keyless: None,
            public: false,
        })
    }
}
