//! Any save: signed, with no signature where there is nothing to sign.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::fs;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;

use autosign_hooks::{AutoSign, SaveError, SaveSigned};
use autosign_signing::signature_path;
use common::{disabled, key, raising, verified};

fn broken() -> io::Error {
    io::ErrorKind::Interrupted.into()
}

#[test]
fn a_save_that_fails_leaves_what_was_there_with_its_signature() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.pt");
    let autosign = raising();
    autosign
        .save(&path, "test", || fs::write(&path, b"1"))
        .unwrap();
    let refused = autosign.save(&path, "test", || Err::<(), _>(broken()));
    assert!(matches!(refused, Err(SaveError::Save(error)) if error.kind() == broken().kind()));
    verified(&path).unwrap();
    let refused = autosign.write(&path, "test", |file| {
        file.write_all(b"2")?;
        assert!(
            !signature_path(&path).exists(),
            "it says nothing of what comes"
        );
        Err::<(), _>(broken())
    });
    assert!(matches!(refused, Err(SaveError::Save(error)) if error.kind() == broken().kind()));
    verified(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    autosign
        .write(&path, "test", |file| file.write_all(b"2"))
        .unwrap();
    verified(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"2");
}

#[test]
fn a_save_that_panics_is_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.pt");
    let autosign = raising();
    autosign
        .save(&path, "test", || fs::write(&path, b"1"))
        .unwrap();
    let save = || autosign.save(&path, "test", || -> io::Result<()> { panic!("as planned") });
    assert!(catch_unwind(AssertUnwindSafe(save)).is_err());
    verified(&path).unwrap();
    let write = || autosign.write(&path, "test", |_| -> io::Result<()> { panic!("again") });
    assert!(catch_unwind(AssertUnwindSafe(write)).is_err());
    verified(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_file_that_is_not_to_be_signed_is_written_all_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.pt");
    let write = |file: &mut dyn Write| {
        file.write_all(b"weights")?;
        assert!(!path.exists(), "it is not complete");
        Ok::<_, io::Error>(())
    };
    disabled().write(&path, "test", write).unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"weights");
    let refused = disabled().write(&path, "test", |_| Err::<(), _>(broken()));
    assert!(matches!(refused, Err(SaveError::Save(_))));
    assert_eq!(fs::read(&path).unwrap(), b"weights");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// What hashing would cost shows in the processor time of this thread, which other processes do not change.
#[cfg(target_os = "linux")]
#[test]
fn what_is_not_to_be_signed_is_not_hashed() {
    let nanoseconds = || -> u64 {
        let counts = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        counts.split(' ').next().unwrap().parse().unwrap()
    };
    let piece = vec![1; 64 << 10];
    let cost = |autosign: AutoSign| {
        let before = nanoseconds();
        let write = |file: &mut dyn Write| (0..4096).try_for_each(|_| file.write_all(&piece));
        let written = autosign.write(Path::new("/dev/null"), "test", write);
        written.unwrap();
        nanoseconds() - before
    };
    let (unhashed, hashed) = (cost(disabled()), cost(raising()));
    assert!(unhashed < hashed / 3, "{unhashed} ns, {hashed} ns hashed");
}

#[test]
fn files_of_one_checkpoint_are_signed_together() {
    let folder = tempfile::tempdir().unwrap();
    let paths = ["last.index", "last.data"].map(|name| folder.path().join(name));
    for path in &paths {
        fs::write(path, b"weights").unwrap();
    }
    raising().saved_group(&paths[0], "test", &paths).unwrap();
    assert_eq!(verified(&paths[0]).unwrap().files().len(), 2);
    assert!(!signature_path(&paths[1]).exists());
}

#[test]
fn what_is_removed_takes_its_signature_with_it_whoever_signed() {
    let folder = tempfile::tempdir().unwrap();
    let (file, model) = (folder.path().join("last.pt"), folder.path().join("model"));
    fs::create_dir(&model).unwrap();
    let earlier = raising();
    earlier
        .save(&file, "test", || fs::write(&file, b"1"))
        .unwrap();
    let weights = model.join("weights.bin");
    earlier
        .save(&model, "test", || fs::write(weights, b"1"))
        .unwrap();
    drop(earlier);
    assert!(signature_path(&file).exists() && signature_path(&model).exists());
    let autosign = raising();
    autosign.remove(&file).unwrap();
    autosign.remove(&model).unwrap();
    assert!(autosign.remove(&file).is_err());
    drop(autosign);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

struct Weights(&'static [u8]);

impl SaveSigned for Weights {
    type Error = io::Error;

    fn save_with<P: AsRef<Path>>(
        &self,
        autosign: &AutoSign,
        path: P,
    ) -> Result<(), SaveError<io::Error>> {
        autosign.save(path.as_ref(), "test", || fs::write(&path, self.0))
    }
}

/// Runs the test `name` of this file, which is ignored otherwise, in a process of its own with settings of its own.
fn run(name: &str, settings: &[(&str, &Path)]) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--ignored"]);
    let ran = command.envs(settings.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn one_call_goes_through_the_guard_or_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (key, spool) = (key("p256.pem"), folder.path().join("spool"));
    let settings: [(&str, &Path); 4] = [
        ("TEST_FOLDER", folder.path()),
        ("MODEL_SIGNING_PRIVATE_KEY", &key),
        ("MODEL_SIGNING_SPOOL", &spool),
        ("MODEL_SIGNING_MODE", Path::new("background")),
    ];
    run("in_a_process_of_its_own", &settings);
}

#[test]
#[ignore = "one_call_goes_through_the_guard_or_waits runs it"]
fn in_a_process_of_its_own() {
    let folder = std::env::var_os("TEST_FOLDER").unwrap();
    let (alone, guarded) = (
        Path::new(&folder).join("alone"),
        Path::new(&folder).join("guarded"),
    );
    Weights(b"1").save_signed(&alone).unwrap();
    verified(&alone).unwrap();

    let autosign = AutoSign::from_environment().unwrap();
    Weights(b"2").save_signed(&guarded).unwrap();
    assert_eq!(autosign.session().flush(None).signed, 1);
    drop(autosign);
    verified(&guarded).unwrap();
    Weights(b"3").save_signed(&guarded).unwrap();
    verified(&guarded).unwrap();
}
