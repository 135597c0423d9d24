//! A save becomes a signature, an event, or a record in the spool; never a wrong signature, never a lost checkpoint.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use autosign_session::{Error, Status};
use autosign_signing::signature_path;
use common::{Fixture, PATIENCE, key, verified};

#[test]
fn a_saved_file_is_signed_and_leaves_nothing_behind() {
    for mode in ["background", "inline"] {
        let fixture = Fixture::new();
        let session = fixture.start(&[("MODEL_SIGNING_MODE", mode)]);
        let model = fixture.write("last.pt", b"weights");
        session.saved(&model, "test").unwrap().wait().unwrap();
        if mode == "inline" {
            verified(&model).unwrap();
        }
        assert_eq!(
            session.flush(PATIENCE),
            Status {
                signed: 1,
                ..Status::default()
            }
        );
        verified(&model).unwrap();
        assert!(fixture.records().is_empty());
        assert_eq!(fixture.said("signed \""), 1);
    }
}

#[test]
fn a_saved_folder_is_signed_inside_and_keeps_its_time() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = fixture.path("checkpoint-1");
    std::fs::create_dir_all(model.join("sub")).unwrap();
    std::fs::write(model.join("sub/a"), b"1").unwrap();
    let modified = || std::fs::metadata(&model).unwrap().modified().unwrap();
    let before = modified();
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    verified(&model).unwrap();
    assert_eq!(modified(), before);
}

#[test]
fn a_flush_takes_a_large_file_over_from_the_worker() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = fixture.path("large.pt");
    for _ in 0..3 {
        std::fs::File::create(&model)
            .unwrap()
            .set_len(1 << 26)
            .unwrap();
        session.saved(&model, "test").unwrap().wait().unwrap();
        assert_eq!(session.flush(PATIENCE).pending, 0);
        verified(&model).unwrap();
    }
    assert_eq!(
        session.status(),
        Status {
            signed: 3,
            ..Status::default()
        }
    );
}

#[test]
fn disabled_does_nothing() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_MODE", "disabled")]);
    let model = fixture.write("last.pt", b"weights");
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(PATIENCE), Status::default());
    assert!(!signature_path(&model).exists() && !fixture.spool().exists());
}

#[test]
fn what_is_no_file_is_passed_over() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_ON_ERROR", "raise")]);
    session
        .saved(Path::new("/dev/null"), "test")
        .unwrap()
        .wait()
        .unwrap();
    session
        .saved(&fixture.path("gone.pt"), "test")
        .unwrap()
        .wait()
        .unwrap();
    assert_eq!(session.flush(PATIENCE), Status::default());
}

#[test]
fn overwritten_again_and_again_the_last_content_is_what_is_signed() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    for round in 0..50_usize {
        let model = fixture.write("last.pt", &vec![b'x'; 200_000 + round]);
        session.saved(&model, "test").unwrap().wait().unwrap();
    }
    let status = session.flush(PATIENCE);
    assert_eq!(status.signed + status.superseded, 50, "{status:?}");
    assert_eq!(status.failed + status.pending, 0);
    verified(&fixture.path("last.pt")).unwrap();
    assert!(fixture.records().is_empty());
}

#[test]
fn a_silent_overwrite_is_never_signed() {
    let fixture = Fixture::new();
    let late = fixture.path("late.pem");
    let session = fixture.start(&[("MODEL_SIGNING_PRIVATE_KEY", late.to_str().unwrap())]);
    let model = fixture.write("last.pt", b"weights");
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(PATIENCE).failed, 1);
    std::fs::write(&model, b"others").unwrap();
    std::fs::copy(key("p256.pem"), &late).unwrap();
    let status = session.flush(PATIENCE);
    assert_eq!((status.signed, status.superseded), (0, 1));
    assert!(!signature_path(&model).exists());
    assert_eq!(fixture.said("by something else: it is not signed"), 1);
}

#[test]
fn content_altered_under_the_same_size_and_times_is_an_alarm() {
    let fixture = Fixture::new();
    let late = fixture.path("late.pem");
    let session = fixture.start(&[("MODEL_SIGNING_PRIVATE_KEY", late.to_str().unwrap())]);
    let model = fixture.write("last.pt", b"weights");
    let modified = std::fs::metadata(&model).unwrap().modified().unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(PATIENCE).failed, 1);
    std::fs::write(&model, b"WEIGHTS").unwrap();
    std::fs::File::options()
        .write(true)
        .open(&model)
        .unwrap()
        .set_modified(modified)
        .unwrap();
    std::fs::copy(key("p256.pem"), &late).unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 0);
    assert!(!signature_path(&model).exists());
    assert_eq!(fixture.said("was altered after it was saved"), 1);
    assert!(fixture.records().is_empty());
}

#[test]
fn a_removed_checkpoint_takes_its_signature_with_it() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let models: Vec<_> = (0..3)
        .map(|n| fixture.write(&format!("epoch{n}.pt"), b"weights"))
        .collect();
    for model in &models {
        session.saved(model, "test").unwrap().wait().unwrap();
    }
    session.flush(PATIENCE);
    for model in &models[..2] {
        session.removing(model);
        std::fs::remove_file(model).unwrap();
    }
    std::fs::write(signature_path(&models[1]), b"not ours any more").unwrap();
    session.flush(PATIENCE);
    assert!(!signature_path(&models[0]).exists());
    assert!(signature_path(&models[1]).exists());
    verified(&models[2]).unwrap();
}

#[test]
fn without_a_key_nothing_is_lost_and_a_later_process_signs_it() {
    let fixture = Fixture::new();
    let missing = fixture.path("late.pem");
    let settings = [("MODEL_SIGNING_PRIVATE_KEY", missing.to_str().unwrap())];
    let model = fixture.write("last.pt", b"weights");
    let session = fixture.start(&settings);
    session.saved(&model, "test").unwrap().wait().unwrap();
    let status = session.flush(PATIENCE);
    assert_eq!((status.failed, status.pending), (1, 0));
    session.flush(PATIENCE);
    assert_eq!(
        fixture.said("is not signed"),
        1,
        "said once, not for each retry"
    );
    session.report_left();
    assert_eq!(fixture.said("1 unsigned in the spool"), 1);
    let [left] = fixture.records().try_into().unwrap();
    assert!(left.record.error.unwrap().contains("late.pem"));
    assert!(left.record.digest.is_some());
    drop(session);

    // Another signer leaves it alone.
    let other = fixture.start(&[]);
    let others = other.adopt(false).unwrap();
    assert_eq!(others.into_values().collect::<Vec<_>>(), [1]);
    assert_eq!(other.flush(PATIENCE).signed, 0);
    drop(other);

    std::fs::copy(key("p256.pem"), &missing).unwrap();
    let next = fixture.start(&settings);
    let another = fixture.write("next.pt", b"more");
    next.saved(&another, "test").unwrap().wait().unwrap();
    assert_eq!(next.flush(PATIENCE).signed, 2);
    verified(&model).unwrap();
    assert!(fixture.records().is_empty());
}

#[test]
fn inline_sessions_sign_what_was_left_when_they_are_flushed() {
    let fixture = Fixture::new();
    let late = fixture.path("late.pem");
    let settings = [
        ("MODEL_SIGNING_PRIVATE_KEY", late.to_str().unwrap()),
        ("MODEL_SIGNING_MODE", "inline"),
    ];
    for name in ["first.pt", "second.pt"] {
        let session = fixture.start(&settings);
        let model = fixture.write(name, name.as_bytes());
        session.saved(&model, "test").unwrap().wait().unwrap();
        if name == "first.pt" {
            assert_eq!(session.status().failed, 1);
            std::fs::copy(key("p256.pem"), &late).unwrap();
        } else {
            assert_eq!(session.status().signed, 1);
            assert_eq!(session.flush(PATIENCE).signed, 2);
        }
    }
    verified(&fixture.path("first.pt")).unwrap();
}

#[test]
fn flushed_again_and_again_what_was_left_is_tried_and_kept() {
    let fixture = Fixture::new();
    let late = fixture.path("late.pem");
    let settings = [
        ("MODEL_SIGNING_PRIVATE_KEY", late.to_str().unwrap()),
        ("MODEL_SIGNING_MODE", "inline"),
    ];
    let left = fixture.start(&settings);
    let model = fixture.write("first.pt", b"1");
    left.saved(&model, "test").unwrap().wait().unwrap();
    drop(left);

    let session = fixture.start(&settings);
    let own = fixture.write("second.pt", b"2");
    session.saved(&own, "test").unwrap().wait().unwrap();
    for _ in 0..3 {
        assert_eq!(session.flush(PATIENCE).failed, 2);
        assert_eq!(fixture.records().len(), 2);
    }
    std::fs::copy(key("p256.pem"), &late).unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 2);
    verified(&model).unwrap();
}

#[test]
fn raise_gives_the_reason_to_the_save() {
    let fixture = Fixture::new();
    let session = fixture.start(&[
        ("MODEL_SIGNING_ON_ERROR", "raise"),
        ("MODEL_SIGNING_PRIVATE_KEY", "/none/key.pem"),
    ]);
    let model = fixture.write("last.pt", b"weights");
    let error = session.saved(&model, "test").unwrap().wait().unwrap_err();
    assert!(error.to_string().contains("/none/key.pem") && !error.hint().is_empty());
    assert_eq!(fixture.records().len(), 1);
    assert_eq!(fixture.said("is not signed"), 0);
}

#[test]
fn a_process_that_takes_over_a_record_says_why_it_fails_too() {
    let fixture = Fixture::new();
    let settings = [("MODEL_SIGNING_PRIVATE_KEY", "/none/key.pem")];
    let session = fixture.start(&settings);
    let model = fixture.write("last.pt", b"weights");
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    drop(session);
    let next = fixture.start(&settings);
    assert!(next.adopt(false).unwrap().is_empty());
    assert_eq!(next.flush(PATIENCE).failed, 1);
    next.flush(PATIENCE);
    assert_eq!(fixture.said("is not signed"), 2, "once in each process");
}

#[test]
fn a_wait_longer_than_the_clock_counts() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = fixture.write("last.pt", b"weights");
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(Some(Duration::MAX)).signed, 1);
}

#[test]
fn a_folder_in_the_signatures_place_is_reported_and_kept() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_MODE", "inline")]);
    let model = fixture.write("last.pt", b"weights");
    std::fs::create_dir(signature_path(&model)).unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.status().failed, 1);
    assert_eq!(fixture.said("is a folder"), 1);
    assert!(signature_path(&model).is_dir());
}

#[test]
fn a_spool_that_others_may_write_to_is_not_used() {
    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.spool()).unwrap();
    std::fs::set_permissions(fixture.spool(), PermissionsExt::from_mode(0o777)).unwrap();
    let session = fixture.start(&[]);
    let model = fixture.write("last.pt", b"weights");
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 1);
    assert_eq!(fixture.said("can be written by other users"), 1);
    assert!(matches!(
        session.adopt(false),
        Err(Error::SpoolNotPrivate { .. })
    ));
    // Not even the order of what was signed: others could have it say anything.
    let runs = fixture.spool().join("runs");
    assert_eq!(std::fs::read_dir(runs).unwrap().count(), 0);
    assert_eq!(std::fs::read_dir(fixture.spool()).unwrap().count(), 1);
}

#[test]
fn a_damaged_record_hurts_nobody() {
    let fixture = Fixture::new();
    std::fs::create_dir_all(fixture.spool()).unwrap();
    std::fs::set_permissions(fixture.spool(), PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(fixture.spool().join("dead-0.json"), b"{\"checkpoint\":").unwrap();
    let session = fixture.start(&[]);
    assert!(session.adopt(false).unwrap().is_empty());
    assert_eq!(session.flush(PATIENCE), Status::default());
}

#[test]
fn an_encrypted_key_and_its_password() {
    let fixture = Fixture::new();
    let key = key("p256.encrypted.pem");
    let password = fixture.write("password", b"checkpoint\n");
    for (variable, value) in [
        ("MODEL_SIGNING_PASSWORD", "checkpoint"),
        ("MODEL_SIGNING_PASSWORD_FILE", password.to_str().unwrap()),
    ] {
        let session = fixture.start(&[
            ("MODEL_SIGNING_PRIVATE_KEY", key.to_str().unwrap()),
            (variable, value),
        ]);
        let model = fixture.write(variable, b"weights");
        session.saved(&model, "test").unwrap().wait().unwrap();
        assert_eq!(session.flush(PATIENCE).signed, 1, "{variable}");
    }
    assert_eq!(fixture.said("checkpoint"), 0, "a password in a line");
}

#[test]
fn many_threads_save_at_once() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (fixture, session) = (&fixture, &session);
            scope.spawn(move || {
                for n in 0..10 {
                    let model = fixture.write(
                        &format!("{thread}-{n}.pt"),
                        format!("{thread} {n}").as_bytes(),
                    );
                    session.saved(&model, "test").unwrap().wait().unwrap();
                }
            });
        }
    });
    assert_eq!(
        session.flush(PATIENCE),
        Status {
            signed: 80,
            ..Status::default()
        }
    );
    for thread in 0..8 {
        verified(&fixture.path(&format!("{thread}-9.pt"))).unwrap();
    }
}
