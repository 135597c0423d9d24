//! One model by hand, and the command line.

use std::ffi::OsString;
use std::io::{stderr, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use autosign_cli::Interpreter;
use autosign_session::{
    ByHand, Config, Error as SessionError, Examination, Installed, Instance, Keyless, Method,
    PUBLIC_LOG, Report, Settings, TrustPolicy, refuse_trust_in,
};
use autosign_signing::{
    Bundle, CertificateVerifier, ExpectedSigner, Hashing, Ignore, KeyVerifier, KeylessVerifier,
    RelPath, Signer, find_signature, sign, signature_path,
};
use pyo3::prelude::*;

use crate::error;
use crate::rules::Rules;

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
    let by_hand = ByHand {
        method: Method::Key,
        private_key: Some(private_key.into()),
        password: password.map(|password| password.into_bytes().into()),
        ..ByHand::default()
    };
    let signed = py.detach(|| signed(&model, signature, by_hand));
    signed.map_err(error::session)
}

/// Sign `model` with the PEM key `private_key`, whose certificate is `signing_certificate`, and return the path of the
/// signature, which carries the certificates of `certificate_chain` along.
///
/// Raises:
///     SigningError: The key, a certificate, the model or the signature's place is not as it must be.
#[pyfunction]
#[pyo3(signature = (model, *, private_key, signing_certificate, certificate_chain=Vec::new(), password=None, signature=None))]
pub(crate) fn sign_certificate(
    py: Python<'_>,
    model: PathBuf,
    private_key: PathBuf,
    signing_certificate: PathBuf,
    certificate_chain: Vec<PathBuf>,
    password: Option<String>,
    signature: Option<PathBuf>,
) -> PyResult<PathBuf> {
    let by_hand = ByHand {
        method: Method::Certificate,
        private_key: Some(private_key.into()),
        password: password.map(|password| password.into_bytes().into()),
        certificate: Some(signing_certificate),
        certificate_chain: Some(certificate_chain),
        ..ByHand::default()
    };
    let signed = py.detach(|| signed(&model, signature, by_hand));
    signed.map_err(error::session)
}

/// Sign `model` in the name that an identity token gives, and return the path of the signature. What is not given is
/// taken from the environment.
///
/// Raises:
///     ConfigError: There is no token, or the public instances are not to be used, or a setting is wrong, or locked.
///     SigningError: The token, a service, the model or the signature's place is not as it must be.
#[pyfunction]
#[pyo3(signature = (model, *, identity_token=None, trust_config=None, signature=None))]
pub(crate) fn sign_sigstore(
    py: Python<'_>,
    model: PathBuf,
    identity_token: Option<String>,
    trust_config: Option<PathBuf>,
    signature: Option<PathBuf>,
) -> PyResult<PathBuf> {
    let by_hand = ByHand {
        method: Method::Sigstore,
        identity_token: identity_token.map(Into::into),
        instance: trust_config.map(Instance::trust_config),
        ..ByHand::default()
    };
    let signed = py.detach(|| signed(&model, signature, by_hand));
    signed.map_err(error::session)
}

/// Say how the signature of `model` is verified, as it says of itself; nothing where none can be read.
#[pyfunction]
#[pyo3(signature = (model, *, signature=None))]
pub(crate) fn way_to_verify(
    py: Python<'_>,
    model: PathBuf,
    signature: Option<PathBuf>,
) -> Option<&'static str> {
    let signature = signature.unwrap_or_else(|| find_signature(&model));
    let bundle = py.detach(|| Bundle::read(&signature));
    bundle.ok().map(|bundle| bundle.method().way())
}

/// Verify `model` with the PEM key `public_key` and return the names of its verified files. Each of
/// `timestamp_certificate_chain` is a timestamp authority that is believed, a PEM file from its certificate to its root: a
/// timestamp must then be right.
///
/// Raises:
///     UnsignedError: There is no signature.
///     VerificationError: The signature is not by this key, or the model is not what was signed.
#[pyfunction]
#[pyo3(signature = (model, *, public_key, rules, timestamp_certificate_chain=Vec::new(), signature=None))]
pub(crate) fn verify_key(
    py: Python<'_>,
    model: PathBuf,
    public_key: PathBuf,
    rules: &Rules,
    timestamp_certificate_chain: Vec<PathBuf>,
    signature: Option<PathBuf>,
) -> PyResult<Vec<String>> {
    let verified = py.detach(|| {
        let given = timestamp_certificate_chain.iter().map(PathBuf::as_path);
        refuse_trust_in(&model, given)?;
        let verifier = KeyVerifier::read(&public_key)?
            .with_timestamp_authorities(&timestamp_certificate_chain)?;
        rules.verify(&model, signature, &verifier)
    });
    verified.map_err(error::verification)
}

/// Verify that the certificate of whoever signed `model` leads to a root of the PEM files `certificate_chain`, and that it
/// names `certificate_identity` if that is given; return the names of its verified files. Each of
/// `timestamp_certificate_chain` is a timestamp authority that is believed, a PEM file from its certificate to its root.
///
/// Raises:
///     UnsignedError: There is no signature.
///     VerificationError: Somebody else signed, or the certificate breaks a rule, or the model is not what was signed.
#[pyfunction]
#[pyo3(signature = (model, *, certificate_chain, rules, certificate_identity=None, timestamp_certificate_chain=Vec::new(), revocation_list=Vec::new(), at=None, signature=None))]
#[expect(clippy::too_many_arguments, reason = "each has a name in Python")]
pub(crate) fn verify_certificate(
    py: Python<'_>,
    model: PathBuf,
    certificate_chain: Vec<PathBuf>,
    rules: &Rules,
    certificate_identity: Option<&str>,
    timestamp_certificate_chain: Vec<PathBuf>,
    revocation_list: Vec<PathBuf>,
    at: Option<SystemTime>,
    signature: Option<PathBuf>,
) -> PyResult<Vec<String>> {
    let verified = py.detach(|| {
        let given = [
            &certificate_chain,
            &revocation_list,
            &timestamp_certificate_chain,
        ];
        let given = given.into_iter().flatten().map(PathBuf::as_path);
        refuse_trust_in(&model, given)?;
        let mut verifier = CertificateVerifier::read(&certificate_chain)?
            .with_timestamp_authorities(&timestamp_certificate_chain)?
            .with_revocation_lists(&revocation_list)?;
        if let Some(identity) = certificate_identity {
            verifier = verifier.with_identity(identity)?;
        }
        if let Some(time) = at {
            verifier = verifier.with_time(time);
        }
        rules.verify(&model, signature, &verifier)
    });
    verified.map_err(error::verification)
}

/// Verify that `identity`, for which `identity_provider` vouches, signed `model`, and return the names of its verified
/// files. Without `trust_config` the environment says which Sigstore instance is believed.
///
/// Raises:
///     ConfigError: A setting is wrong, or locked.
///     UnsignedError: There is no signature.
///     VerificationError: Somebody else signed, or not so that it could be believed, or the model is not what was signed.
#[pyfunction]
#[pyo3(signature = (model, *, identity, identity_provider, rules, trust_config=None, signature=None))]
pub(crate) fn verify_sigstore(
    py: Python<'_>,
    model: PathBuf,
    identity: &str,
    identity_provider: &str,
    rules: &Rules,
    trust_config: Option<PathBuf>,
    signature: Option<PathBuf>,
) -> PyResult<Vec<String>> {
    let keyless = py.detach(|| keyless(trust_config));
    let keyless = keyless.map_err(error::session)?;
    let verified = py.detach(|| {
        keyless.refuse_trust_in(&model)?;
        let expected = ExpectedSigner::new(identity, identity_provider)?;
        let verifier = KeylessVerifier::new(&keyless.trust()?, expected)?;
        rules.verify(&model, signature, &verifier)
    });
    verified.map_err(error::verification)
}

/// Verify `model` as the TOML file `policy` says, and return the names of its verified files.
///
/// Raises:
///     ConfigError: A setting is wrong.
///     UnsignedError: There is no signature.
///     VerificationError: The policy does not say who may sign it, or somebody else did, or the model is not what was signed.
#[pyfunction]
#[pyo3(signature = (model, *, policy, signature=None))]
pub(crate) fn verify_policy(
    py: Python<'_>,
    model: PathBuf,
    policy: PathBuf,
    signature: Option<PathBuf>,
) -> PyResult<Vec<String>> {
    let keyless = py.detach(|| keyless(None)).map_err(error::session)?;
    let verified = py.detach(|| {
        let (policy, now) = (TrustPolicy::read(&policy)?, SystemTime::now());
        let (judged, hashing) = (policy.judge(&model)?, Hashing::default());
        let good = judged.verify(
            signature.as_deref(),
            &Settings::of_process(),
            &keyless,
            now,
            hashing,
        )?;
        Ok(good.files().iter().map(RelPath::to_string).collect())
    });
    verified.map_err(error::verification)
}

/// Say whether this process can sign, as JSON. `installed` are frameworks with a hook, by name, version and the hooks to choose.
#[pyfunction]
#[pyo3(signature = (installed, *, fetch=false, sign_test=false))]
pub(crate) fn doctor(
    py: Python<'_>,
    installed: Vec<(String, String, Vec<String>)>,
    fetch: bool,
    sign_test: bool,
) -> String {
    py.detach(|| {
        let examination = Examination {
            installed: frameworks(installed),
            fetch,
            sign: sign_test,
        };
        Report::new(&Settings::of_process(), &examination).to_json()
    })
}

/// The settings of this process, with another trust config if one is given.
fn keyless(trust_config: Option<PathBuf>) -> Result<Keyless, SessionError> {
    let settings = Settings::of_process();
    let mut keyless = Config::read_strictly(&settings)?.keyless;
    if let Some(path) = trust_config {
        keyless.instance = Instance::trust_config(path);
        settings.unlocked(keyless.instance.variable())?;
    }
    Ok(keyless)
}

/// Signs `model` as `by_hand` says, and returns the path of the signature.
fn signed(
    model: &Path,
    signature: Option<PathBuf>,
    by_hand: ByHand,
) -> Result<PathBuf, SessionError> {
    let config = by_hand.config(&Settings::of_process())?;
    let signer: Arc<dyn Signer> = if config.signs_with_key() {
        config.key_signer()?
    } else {
        config.keyless.refuse_trust_in(model)?;
        let (signer, public) = config.keyless.signer()?;
        if public {
            autosign_session::warn(PUBLIC_LOG);
        }
        Arc::new(signer)
    };
    let signature = signature.unwrap_or_else(|| signature_path(model));
    error::no_secret("signature", &signature)?;
    let ignore = Ignore::new(model, Some(&signature), &[], config.ignore_git_paths)?;
    let hashing = Hashing::default();
    sign(model, &signature, &ignore, signer.as_ref(), hashing)?;
    Ok(signature)
}

/// Run the `model-signing` command line `args`, of which the first is the program's name; return its exit code.
/// `installed` are frameworks with a hook, by name, version and the hooks to choose; `startup` is the folder that switches signing on.
#[pyfunction]
#[pyo3(signature = (args, installed=Vec::new(), startup=None))]
pub(crate) fn run(
    py: Python<'_>,
    args: Vec<OsString>,
    installed: Vec<(String, String, Vec<String>)>,
    startup: Option<PathBuf>,
) -> u8 {
    py.detach(|| {
        let settings = Settings::of_process();
        let interpreter = Interpreter {
            installed: frameworks(installed),
            startup,
        };
        autosign_cli::run(args, &settings, interpreter, &mut stdout(), &mut stderr())
    })
}

fn frameworks(installed: Vec<(String, String, Vec<String>)>) -> Vec<Installed> {
    let installed = installed.into_iter();
    installed
        .map(|(name, version, hooks)| Installed {
            name,
            version,
            hooks,
        })
        .collect()
}
