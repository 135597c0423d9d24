//! What `hashing.py`, `signing.py` and `verifying.py` stand on: settings that are read once, for any number of models.

mod hashing;
mod signer;
mod verifier;

use std::path::PathBuf;

use autosign_session::{Config, Error, Instance, Keyless, Settings};

pub(crate) use hashing::Hashing;
pub(crate) use signer::Signer;
pub(crate) use verifier::{Verifier, fingerprints};

/// The settings of this process, with another instance if one is given.
fn keyless(
    settings: &Settings,
    staging: bool,
    trust_config: Option<PathBuf>,
) -> Result<Keyless, Error> {
    let mut keyless = Config::read_strictly(settings)?.keyless;
    let staging = staging.then_some(Instance::Staging);
    if let Some(instance) = staging.or(trust_config.map(Instance::trust_config)) {
        settings.unlocked("MODEL_SIGNING_INSTANCE")?;
        keyless.instance = instance;
    }
    Ok(keyless)
}

/// Fetches trust that is older than a day. Where that fails, what is known is used, and a line says so.
fn freshen(keyless: &Keyless) {
    if let Err(error) = keyless.refresh() {
        autosign_session::warn(&format!("trust is not up to date: {error}"));
    }
}
