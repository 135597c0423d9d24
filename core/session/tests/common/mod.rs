//! A session in a folder of its own. Each test program uses a part of it.
#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autosign_session::{Config, Environment, Event, Session, Spool};
use autosign_signing::{
    Hashing, KeyVerifier, Policy, RelPath, VerifiedModel, signature_path, verify,
};
use tempfile::TempDir;

pub(crate) const PATIENCE: Option<Duration> = Some(Duration::from_secs(30));

pub(crate) fn key(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../signing/tests/keys")
        .join(name)
}

/// Verifies `model` with the public key.
pub(crate) fn verified(model: &Path) -> Result<VerifiedModel, autosign_signing::Error> {
    let verifier = KeyVerifier::read(&key("p256.pub.pem")).unwrap();
    verify(
        model,
        &signature_path(model),
        &verifier,
        &Policy::default(),
        Hashing::default(),
    )
}

/// A session in a folder of its own, and the lines it has said.
pub(crate) struct Fixture {
    folder: TempDir,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            lines: Arc::default(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn spool(&self) -> PathBuf {
        self.path("state/model-signing/spool")
    }

    pub(crate) fn records(&self) -> Vec<autosign_session::Spooled> {
        Spool::new(self.spool(), "test".into()).list().unwrap()
    }

    pub(crate) fn write(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A session with a key and `settings`; an empty value unsets.
    pub(crate) fn start(&self, settings: &[(&str, &str)]) -> Session {
        self.start_heard(settings, |_| ())
    }

    /// The same, and `hear` hears what it says.
    pub(crate) fn start_heard(
        &self,
        settings: &[(&str, &str)],
        hear: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Session {
        let key = key("p256.pem");
        let state = self.path("state");
        let own = [
            ("MODEL_SIGNING_PRIVATE_KEY", key.to_str().unwrap()),
            ("XDG_STATE_HOME", state.to_str().unwrap()),
        ];
        let environment: Environment = own.iter().chain(settings).copied().collect();
        let (config, errors) = Config::read(&environment.into());
        assert!(errors.is_empty());
        let lines = Arc::clone(&self.lines);
        let listener = move |event: &Event| {
            lines.lock().unwrap().push(event.line().1);
            hear(event);
        };
        Session::start(config, Box::new(listener))
    }

    pub(crate) fn said(&self, text: &str) -> usize {
        self.lines
            .lock()
            .unwrap()
            .iter()
            .filter(|line| line.contains(text))
            .count()
    }
}

pub(crate) fn save(session: &Session, path: &Path, content: &[u8]) {
    session.begins(path);
    std::fs::write(path, content).unwrap();
    session.saved(path, "test").unwrap().wait().unwrap();
}

pub(crate) fn folder(fixture: &Fixture, name: &str) -> PathBuf {
    let folder = fixture.path(name);
    std::fs::create_dir(&folder).unwrap();
    folder
}

pub(crate) fn names(verified: Result<VerifiedModel, autosign_signing::Error>) -> String {
    let verified = verified.unwrap();
    let names: Vec<_> = verified.files().iter().map(RelPath::as_str).collect();
    names.join(" ")
}
