//! Hash, sign and verify one model in the `OpenSSF` Model Signing (OMS) v1.0 format.
//!
//! Signing: list the files ([`Model`]), hash them ([`hash`]) into a [`Manifest`], state it ([`Statement`]), sign that
//! ([`Signer`]) into a [`Bundle`], and [`publish`] it; [`sign`] does all of it. Verifying is the mirror image: read the
//! [`Bundle`], let a [`Verifier`] turn it into a [`VerifiedManifest`], [`compare`](VerifiedManifest::compare) that with
//! the disk; [`verify`] does all of it. No step of the second list may be left out.
//!
//! ```
//! use autosign_signing::{KeySigner, KeyVerifier, Policy, Hashing, Ignore, sign, signature_path, verify};
//! let folder = tempfile::tempdir()?;
//! let model = folder.path().join("best.safetensors");
//! std::fs::write(&model, b"weights")?;
//!
//! let signature = signature_path(&model); // best.safetensors.sig
//! let signer = KeySigner::read("tests/keys/p256.pem".as_ref(), None)?;
//! sign(&model, &signature, &Ignore::git(), &signer, Hashing::default())?;
//!
//! let verifier = KeyVerifier::read("tests/keys/p256.pub.pem".as_ref())?;
//! let verified = verify(&model, &signature, &verifier, &Policy::default(), Hashing::default())?;
//! assert_eq!(verified.files()[0].as_str(), "best.safetensors");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod algorithm;
mod annotations;
mod bundle;
mod certificate;
mod certified;
mod claims;
mod dialect;
mod digest;
mod envelope;
mod environment;
mod error;
mod fault;
mod hashing;
mod hint;
mod identity;
mod ignore;
mod index;
mod json;
mod kind;
mod legacy;
mod manifest;
mod model;
mod name;
mod pattern;
mod pickle;
mod placement;
mod placing;
mod portable;
mod publish;
mod python;
mod raise;
mod random;
mod reading;
mod redacted;
mod rename;
mod serialization;
mod services;
mod signer;
mod statement;
mod symlinks;
mod trust;
mod verifier;
mod written;

use std::cell::Cell;
use std::path::Path;

pub use algorithm::{HashAlgorithm, ResourceDigest};
pub use annotations::{AnnotationFault, Annotations, Freshness, MAX_RUN_BYTES};
pub use bundle::{Bundle, Method};
pub use claims::{CertificateClaims, CertificateContent, LogEntryClaims, StatementTypes};
pub use dialect::Dialect;
pub use digest::Digest;
pub use envelope::Envelope;
pub use environment::Environment;
pub use error::Error;
pub use fault::CertificateFault;
pub use hashing::{Hashing, Progress, hash, hash_model};
pub use identity::{
    Credentials, Detection, Guard, IdentityToken, Login, Prompt, Sources, SubjectType,
    Surroundings, TokenCommand, TokenExchange, TokenFile, TokenRequest, TokenSource, TokenText,
};
pub use ignore::{GIT_PATHS, Ignore};
pub use index::{IndexFault, MissingShards, indexed, missing_shards};
pub use kind::ErrorKind;
pub use manifest::{Manifest, Resource};
pub use model::{FileKind, FileState, Model, ModelFile};
pub use name::RelPath;
pub use placement::{
    Placement, find_signature, hidden_folders, prepare_hidden, signature_path, take_back_all,
    tidy_hidden, unprepare_hidden,
};
pub use portable::PortabilityFault;
pub use publish::{Manner, Placed, check_name, publish, read_signature, retract, take_back};
pub use random::{random, temporary_name};
pub use reading::{read_capped, read_found};
pub use redacted::{as_far_as_there, is_secret, url_shown, without_secrets};
pub use rename::rename_or_copy;
pub use serialization::{
    SHARD_BYTES, Serialization, SerializationFault, SerializationMethod, Shard,
};
pub use services::{Clock, Connection, Deadline, Look, SystemClock};
pub use signer::{
    AUDIENCE, CertificateSigner, Introduction, KeySigner, KeylessSigner, Rate, Signer, Timestamped,
    generate_key, key_text, read_password,
};
#[cfg(feature = "pkcs11")]
pub use signer::{Pkcs11Fault, Pkcs11Look, Pkcs11Signer, Pkcs11Uri};
pub use statement::Statement;
pub use symlinks::{SymlinkFault, Symlinks};
pub use trust::{Known, TrustConfig, TufRepository, read_private, refuse_writable};
pub use verifier::{
    CertificateVerifier, Difference, ExpectedSigner, Format, JudgedAt, KeyVerifier,
    KeylessVerifier, Policy, Renamed, SignedBy, VerifiedManifest, VerifiedModel, Verifier,
};
pub use written::{HashedFile, NewFile, WrittenFile};

/// Hashes the model at `model`, signs it, and puts the signature at `signature`, which is left out of the model.
///
/// # Errors
/// Those of [`state`], [`seal`] and [`publish`]. Nothing is written then.
pub fn sign(
    model: &Path,
    signature: &Path,
    ignore: &Ignore,
    signer: &dyn Signer,
    hashing: Hashing<'_>,
) -> Result<Manifest, Error> {
    check_name(signature)?;
    let statement = state(Dialect::Oms, model, ignore, hashing)?;
    publish(signature, &seal(&statement, signer)?, Manner::Plain)?;
    Ok(statement.manifest().clone())
}

/// Hashes the model at `model`, and states it in the words of `dialect`.
///
/// # Errors
/// Those of [`hash`]; [`Error::Index`] where an index in it names a file that is left out.
///
/// ```
/// use autosign_signing::{Dialect, Hashing, Ignore, state};
/// let folder = tempfile::tempdir()?;
/// let model = folder.path().join("best.safetensors");
/// std::fs::write(&model, b"weights")?;
/// let statement = state(Dialect::Oms, &model, &Ignore::git(), Hashing::default())?;
/// assert_eq!(statement.manifest().model_name(), "best.safetensors");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn state(
    dialect: Dialect,
    model: &Path,
    ignore: &Ignore,
    hashing: Hashing<'_>,
) -> Result<Statement, Error> {
    let single = Cell::new(false);
    let list = || {
        let model = Model::open_with(model, ignore, hashing.symlinks)?;
        single.set(model.is_single());
        Ok(model)
    };
    let manifest = hash_model(list, hashing)?;
    missing_shards(&manifest, list)?;
    Ok(Statement::new(manifest, ignore.clone()).in_dialect(dialect, single.get()))
}

/// Signs `statement`, reads back the bytes that would be published, and verifies them; returns the bytes.
///
/// # Errors
/// Those of the signer, and of its own verifier if it will not have what the signer made.
pub fn seal(statement: &Statement, signer: &dyn Signer) -> Result<Vec<u8>, Error> {
    let bytes = signer.sign(statement)?.to_json()?;
    let proven = signer.verifier().verify(&Bundle::parse(&bytes)?)?;
    let found = proven.statement();
    if found.manifest() == statement.manifest()
        && found.ignored() == statement.ignored()
        && found.annotations() == statement.annotations()
    {
        Ok(bytes)
    } else {
        Err(Error::SigningFailed)
    }
}

/// Verifies the signature at `signature`, then every file of the model at `model`.
///
/// # Errors
/// [`Error::Unsigned`], those of [`Bundle::parse`], of the verifier, and of [`VerifiedManifest::compare`].
pub fn verify(
    model: &Path,
    signature: &Path,
    verifier: &dyn Verifier,
    policy: &Policy,
    hashing: Hashing<'_>,
) -> Result<VerifiedModel, Error> {
    // A model that is not there is no unsigned model.
    std::fs::symlink_metadata(model).map_err(Error::cannot_open(model))?;
    let proven = verifier
        .verify(&Bundle::read(signature)?)
        .map_err(Error::at(signature))?;
    proven.compare(model, signature, policy, hashing)
}
