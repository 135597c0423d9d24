//! What the tests of several rooms need.
#![allow(clippy::disallowed_methods)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::jobs::Push;
use crate::spool::Spool;
use crate::worker::Queue;
use crate::{Checkpoint, Config, Environment};

const KEY: &str = "../signing/tests/keys/p256.pem";

/// A session's queue with its spool in `folder`.
pub(crate) fn queue(folder: &Path, session: &str) -> Arc<Queue> {
    let settings = Environment::from_iter([("MODEL_SIGNING_PRIVATE_KEY", KEY)]);
    let spool = Spool::new(folder.join("spool"), session.into());
    let config = Config::read(&settings.into()).0;
    Queue::new(&config, Some(spool), Box::new(|_| ()))
}

/// Saves and signs files of these names, and returns their paths.
pub(crate) fn signed<const N: usize>(
    queue: &Arc<Queue>,
    folder: &Path,
    names: [&str; N],
) -> [PathBuf; N] {
    let files = names.map(|name| folder.join(name));
    for file in &files {
        std::fs::write(file, b"weights").unwrap();
        let checkpoint = Checkpoint::observe(file, "test", true, &[]).unwrap();
        queue.push(queue.record(checkpoint), None, Push::again());
    }
    queue.hurry();
    assert!(queue.idle_within(Duration::from_secs(30)));
    files
}

pub(crate) fn signature(file: &Path) -> PathBuf {
    autosign_signing::signature_path(file)
}

/// How many stray signatures the spool in `folder` remembers.
pub(crate) fn records(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder.join("spool"))
        .into_iter()
        .flatten();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().ends_with(".stray"))
        .count()
}
