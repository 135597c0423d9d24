//! Files that are hashed while they are written: signed is what was written, and nothing else.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use autosign_session::{HashedFile, Session, Status, WrittenFile};
use autosign_signing::{Digest, Error, signature_path};
use common::{Fixture, PATIENCE, key, verified};

const RAISE: (&str, &str) = ("MODEL_SIGNING_ON_ERROR", "raise");
const NO_KEY: (&str, &str) = ("MODEL_SIGNING_PRIVATE_KEY", "/none/here");

fn written(path: &Path) -> WrittenFile {
    let mut file = HashedFile::create(path).unwrap();
    file.write_all(b"weights").unwrap();
    file.finish().unwrap()
}

fn save(session: &Session, path: &Path) {
    session.begins(path);
    let written = written(path);
    let saved = session.saved_written(path, "test", written);
    saved.unwrap().wait().unwrap();
}

/// Other content that looks the same from outside: length, inode, time.
fn disguise(path: &Path) {
    let mut file = File::options().write(true).open(path).unwrap();
    let times = file.metadata().unwrap().modified().unwrap();
    file.write_all(b"Weights").unwrap();
    file.set_modified(times).unwrap();
}

#[test]
fn it_is_signed_and_its_older_signature_replaced() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = fixture.path("last.pt");
    for signed in [1, 2] {
        save(&session, &model);
        assert_eq!(session.flush(PATIENCE).signed, signed);
        verified(&model).unwrap();
    }
}

#[test]
fn what_was_written_is_signed_and_not_what_lies_there() {
    let fixture = Fixture::new();
    let session = fixture.start(&[RAISE]);
    let model = fixture.path("last.pt");
    let written = written(&model);
    disguise(&model);
    let saved = session.saved_written(&model, "test", written);
    saved.unwrap().wait().unwrap();
    // The file was not read, or this would be the signature of what was put there.
    assert!(matches!(verified(&model), Err(Error::Differs(_))));
}

#[test]
fn a_file_that_was_touched_is_hashed_again() {
    let fixture = Fixture::new();
    let session = fixture.start(&[RAISE]);
    let model = fixture.path("last.pt");
    let written = written(&model);
    let file = File::options().write(true).open(&model).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH)
        .unwrap();
    let saved = session.saved_written(&model, "test", written);
    saved.unwrap().wait().unwrap();
    verified(&model).unwrap();
}

#[test]
fn a_file_that_holds_something_else_is_refused() {
    let fixture = Fixture::new();
    let session = fixture.start(&[RAISE]);
    let model = fixture.path("last.pt");
    let written = written(&model);
    let mut file = File::options().write(true).open(&model).unwrap();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"more").unwrap();
    let saved = session.saved_written(&model, "test", written);
    let error = saved.unwrap().wait().unwrap_err();
    assert!(matches!(error, autosign_session::Error::Altered { .. }));
    assert!(!signature_path(&model).exists());
}

#[test]
fn renamed_it_is_signed_under_its_new_name() {
    let fixture = Fixture::new();
    let session = fixture.start(&[NO_KEY]);
    let (first, last) = (fixture.path("first.pt"), fixture.path("last.pt"));
    save(&session, &first);
    session.flush(PATIENCE);
    session.moving(&first, &last, false);
    fs::rename(&first, &last).unwrap();
    disguise(&last);
    session.flush(PATIENCE);
    let [record] = fixture.records().try_into().unwrap();
    assert_eq!(record.record.checkpoint.root, last.canonicalize().unwrap());
    // It was not read under that name either.
    let digest = Digest::of(Digest::of(b"weights").as_bytes());
    assert_eq!(record.record.digest, Some(digest.to_string()));
}

#[test]
fn a_later_flush_reads_it_and_signs_nothing_else() {
    let fixture = Fixture::new();
    let (kept, altered) = (fixture.path("kept.pt"), fixture.path("altered.pt"));
    let later = fixture.path("key.pem");
    let later_key = [("MODEL_SIGNING_PRIVATE_KEY", later.to_str().unwrap())];
    let session = fixture.start(&later_key);
    save(&session, &kept);
    save(&session, &altered);
    assert_eq!(session.flush(PATIENCE).failed, 2);
    drop(session);
    disguise(&altered);
    fs::copy(key("p256.pem"), &later).unwrap();
    let session = fixture.start(&later_key);
    session.adopt(false).unwrap();
    let expected = Status {
        signed: 1,
        failed: 1,
        ..Status::default()
    };
    assert_eq!(session.flush(PATIENCE), expected);
    verified(&kept).unwrap();
    assert!(!signature_path(&altered).exists());
}

#[test]
fn part_of_a_signed_folder_it_is_signed_with_it() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let folder = fixture.path("model");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("config.json"), b"{}").unwrap();
    session.saved(&folder, "test").unwrap().wait().unwrap();
    save(&session, &folder.join("weights.bin"));
    session.flush(PATIENCE);
    assert_eq!(verified(&folder).unwrap().files().len(), 2);
    assert!(!signature_path(&folder.join("weights.bin")).exists());
}
