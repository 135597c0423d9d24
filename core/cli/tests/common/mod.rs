//! Commands in a folder of their own. Each test program uses a part of it.
#![allow(dead_code)]

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use autosign_cli::{BAD, Interpreter};
use autosign_session::{Config, Environment, Installed, Session, Settings};
use tempfile::TempDir;

pub(crate) struct Place {
    pub(crate) folder: TempDir,
    pub(crate) settings: Vec<(String, OsString)>,
}

pub(crate) struct Said {
    pub(crate) code: u8,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// What an interpreter would say of its frameworks.
pub(crate) fn installed() -> Vec<Installed> {
    let framework = |(name, version): (&str, &str)| Installed {
        name: name.to_owned(),
        version: version.to_owned(),
        hooks: vec![name.to_owned(), "auto".to_owned()],
    };
    [("safetensors", "0.8.0"), ("torch", "2.13.0")]
        .map(framework)
        .into()
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = vec![("HOME".to_owned(), folder.path().into())];
        std::fs::write(folder.path().join("last.pt"), b"weights").unwrap();
        Self { folder, settings }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn settings(&self) -> Settings {
        let environment: Environment = self.settings.iter().cloned().collect();
        Settings::read(environment, self.folder.path())
    }

    /// Runs a command; `@x` is the file x of this place, `%x` the test key x.
    pub(crate) fn run(&self, command: &str) -> Said {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys");
        let place = |word: &str| -> OsString {
            word.replace('@', &format!("{}/", self.folder.path().display()))
                .replace('%', &format!("{}/", keys.display()))
                .into()
        };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = std::iter::once("model-signing")
            .chain(command.split_whitespace())
            .map(place);
        let interpreter = Interpreter {
            installed: installed(),
            startup: None,
        };
        let code = autosign_cli::run(args, &self.settings(), interpreter, &mut out, &mut err);
        Said {
            code,
            out: String::from_utf8(out).unwrap(),
            err: String::from_utf8(err).unwrap(),
        }
    }

    /// Runs a command that must end with code 1 and one line that holds every one of `words`.
    pub(crate) fn refuses(&self, command: &str, words: &[&str]) {
        let said = self.run(command);
        assert_eq!(
            (said.code, said.err.lines().count()),
            (BAD, 1),
            "{command}: {}",
            said.err
        );
        assert!(
            words.iter().all(|word| said.err.contains(word)),
            "{command}: {}",
            said.err
        );
    }

    pub(crate) fn session(&self) -> Session {
        Session::start(Config::read(&self.settings()).0, Box::new(|_| ()))
    }
}

pub(crate) const SIGN: &str = "sign key @last.pt --signature @last.pt.sig --private-key %p256.pem";
pub(crate) const VERIFY: &str = "verify key @last.pt --public-key %p256.pub.pem";
