//! A signed model in a folder of its own.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    unreachable_pub
)] // not every test file uses all of it; tests may write files

use std::path::{Path, PathBuf};

use autosign_signing::{
    Error, Hashing, Ignore, KeySigner, KeyVerifier, Policy, VerifiedModel, sign, signature_path,
    verify,
};
use serde_json::Value;
use tempfile::TempDir;

pub fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/keys")
        .join(name)
}

pub fn signer(name: &str) -> KeySigner {
    KeySigner::read(&key(name), Some(b"checkpoint")).unwrap()
}

pub fn verifier(curve: &str) -> KeyVerifier {
    KeyVerifier::read(&key(&format!("{curve}.pub.pem"))).unwrap()
}

pub struct Fixture {
    pub folder: TempDir,
    pub model: PathBuf,
    pub signature: PathBuf,
}

impl Fixture {
    /// A folder model with these files, signed with P-256.
    pub fn signed(files: &[(&str, &[u8])]) -> Self {
        let fixture = Self::unsigned(files);
        fixture.sign().unwrap();
        fixture
    }

    pub fn unsigned(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("model");
        std::fs::create_dir(&model).unwrap();
        let signature = signature_path(&model);
        let fixture = Self {
            folder,
            model,
            signature,
        };
        for (name, content) in files {
            fixture.write(name, content);
        }
        fixture
    }

    pub fn write(&self, name: &str, content: &[u8]) {
        let path = self.model.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    pub fn sign(&self) -> Result<(), Error> {
        let ignore = Ignore::new(&self.model, Some(&self.signature), &[], true)?;
        sign(
            &self.model,
            &self.signature,
            &ignore,
            &signer("p256.pem"),
            Hashing::default(),
        )
        .map(drop)
    }

    pub fn verify(&self) -> Result<VerifiedModel, Error> {
        self.verify_with(&Policy::default())
    }

    pub fn verify_with(&self, policy: &Policy) -> Result<VerifiedModel, Error> {
        verify(
            &self.model,
            &self.signature,
            &verifier("p256"),
            policy,
            Hashing::default(),
        )
    }

    pub fn bundle(&self) -> Value {
        serde_json::from_slice(&std::fs::read(&self.signature).unwrap()).unwrap()
    }

    pub fn set_bundle(&self, text: impl AsRef<[u8]>) {
        std::fs::write(&self.signature, text).unwrap();
    }
}
