//! Saves and renames that fail, or replace another thing than was thought: what was signed before stays signed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;

use autosign_session::Session;
use autosign_signing::signature_path;
use common::{Fixture, PATIENCE, verified};

fn save(session: &Session, path: &Path, content: &[u8]) {
    session.begins(path);
    std::fs::write(path, content).unwrap();
    session.saved(path, "test").unwrap().wait().unwrap();
}

/// Both of what was signed before and of what was not.
fn either(test: impl Fn(&Fixture, &Session, &dyn Fn())) {
    for flushed in [true, false] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        test(&fixture, &session, &|| {
            if flushed {
                session.flush(PATIENCE);
            }
        });
        assert_eq!(fixture.said("after it was saved"), 0);
    }
}

/// A save to `last.pt`, a link to what was saved before: that is signed afterwards.
fn over_a_link(test: impl Fn(&Fixture, &Session, &Path)) {
    either(|fixture, session, before| {
        let (best, last) = (fixture.path("best.pt"), fixture.path("last.pt"));
        save(session, &best, b"best");
        before();
        symlink("best.pt", &last).unwrap();
        test(fixture, session, &last);
        session.flush(PATIENCE);
        verified(&best).unwrap();
    });
}

#[test]
fn what_a_link_led_to_stays_signed_when_a_save_replaces_the_link() {
    over_a_link(|fixture, session, last| {
        session.begins(last);
        // Written beside it and renamed by what no hook is told of, as safetensors does.
        std::fs::write(fixture.path("temp"), b"last").unwrap();
        std::fs::rename(fixture.path("temp"), last).unwrap();
        session.saved(last, "test").unwrap().wait().unwrap();
        session.flush(PATIENCE);
        verified(last).unwrap();
    });
}

#[test]
fn so_it_does_when_that_save_fails() {
    over_a_link(|_, session, last| {
        session.begins(last);
        std::fs::remove_file(last).unwrap();
        session.broken_off(last);
    });
}

#[test]
fn a_save_through_a_link_is_one_of_what_it_leads_to() {
    over_a_link(|_, session, last| {
        save(session, last, b"better");
        session.flush(PATIENCE);
        assert!(!signature_path(last).exists());
    });
}

#[test]
fn what_a_link_led_to_stays_signed_when_a_rename_replaces_the_link() {
    either(|fixture, session, before| {
        let (best, last) = (fixture.path("best.pt"), fixture.path("last.pt"));
        let temp = fixture.path("temp.pt");
        save(session, &best, b"best");
        save(session, &temp, b"last");
        before();
        symlink("best.pt", &last).unwrap();
        session.moving(&temp, &last, false);
        std::fs::rename(&temp, &last).unwrap();
        session.flush(PATIENCE);
        verified(&best).unwrap();
        verified(&last).unwrap();
        assert!(!signature_path(&temp).exists());
    });
}

#[test]
fn a_rename_that_fails_takes_no_signature() {
    either(|fixture, session, before| {
        let (one, other) = (fixture.path("one.pt"), fixture.path("other.pt"));
        save(session, &one, b"one");
        save(session, &other, b"other");
        before();
        session.moving(&one, &other, false);
        session.flush(PATIENCE);
        verified(&one).unwrap();
        verified(&other).unwrap();
        // It was only slow.
        std::fs::rename(&one, &other).unwrap();
        session.flush(PATIENCE);
        verified(&other).unwrap();
        assert_eq!(std::fs::read(&other).unwrap(), b"one");
        assert!(!signature_path(&one).exists());
    });
}

#[test]
fn what_is_renamed_to_itself_stays_signed() {
    either(|fixture, session, before| {
        let last = fixture.path("last.pt");
        save(session, &last, b"last");
        before();
        session.moving(&last, &last, false);
        std::fs::rename(&last, &last).unwrap();
        session.flush(PATIENCE);
        verified(&last).unwrap();
    });
}

#[test]
fn what_is_gone_is_not_renamed() {
    either(|fixture, session, before| {
        let (one, other) = (fixture.path("one.pt"), fixture.path("other.pt"));
        save(session, &one, b"one");
        save(session, &other, b"other");
        before();
        // Tried again, although it has happened.
        for _ in 0..2 {
            session.moving(&one, &other, false);
            let _ = std::fs::rename(&one, &other);
        }
        session.flush(PATIENCE);
        verified(&other).unwrap();
        assert!(!signature_path(&one).exists());
    });
}

#[test]
fn what_a_failed_save_has_written_over_is_nobody_else_s_doing() {
    either(|fixture, session, _| {
        let last = fixture.path("last.pt");
        save(session, &last, b"last");
        session.begins(&last);
        std::fs::write(&last, b"half").unwrap();
        session.broken_off(&last);
        let status = session.flush(PATIENCE);
        assert!(status.failed == 0 && !signature_path(&last).exists());
    });
}
