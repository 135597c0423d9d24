//! What a save waits for, and what it does not.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use autosign_session::{Event, Session};
use autosign_signing::find_signature;
use common::{Fixture, PATIENCE, verified};
use rustix::fs::{CWD, Mode};

fn save(session: &Session, path: &Path, content: &[u8]) {
    session.begins(path);
    std::fs::write(path, content).unwrap();
    session.saved(path, "test").unwrap().wait().unwrap();
}

/// Runs `work` on a thread, at most half a minute; whether it has ended then. `free` ends what it may be waiting for.
fn ends(work: impl FnOnce() + Send, free: impl FnOnce()) -> bool {
    std::thread::scope(|scope| {
        let (end, ended) = mpsc::channel();
        scope.spawn(move || {
            work();
            end.send(()).ok();
        });
        let in_time = ended.recv_timeout(Duration::from_secs(30)).is_ok();
        free();
        in_time
    })
}

/// Puts something to `path` that is no signature, and that a reader could wait for, or read without end.
type Put = fn(&Path);
const STRANGE: [(&str, Put); 6] = [
    ("pipe", |path| {
        rustix::fs::mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).unwrap();
    }),
    ("socket", |path| {
        std::os::unix::net::UnixListener::bind(path).unwrap();
    }),
    ("folder", |path| std::fs::create_dir(path).unwrap()),
    ("link to a device", |path| {
        std::os::unix::fs::symlink("/dev/zero", path).unwrap();
    }),
    ("link to itself", |path| {
        std::os::unix::fs::symlink(path, path).unwrap();
    }),
    ("giant", |path| {
        let file = std::fs::File::create(path).unwrap();
        file.set_len(1 << 40).unwrap();
    }),
];

#[test]
fn whatever_lies_in_the_place_of_a_signature_stops_nothing() {
    for (kind, put) in STRANGE {
        for hidden in [false, true] {
            let fixture = Fixture::new();
            let placement = if hidden { "hidden" } else { "beside" };
            let session = fixture.start(&[("MODEL_SIGNING_SIGNATURE", placement)]);
            let [model, other, old] = ["last.pt", "other.pt", "old.pt"].map(|it| fixture.path(it));
            for file in [&model, &old] {
                save(&session, file, b"one");
            }
            session.flush(PATIENCE);
            for file in [&model, &old] {
                let signature = find_signature(file);
                std::fs::remove_file(&signature).unwrap();
                put(&signature);
            }
            let work = || {
                session.saved(&model, "test").unwrap().wait().unwrap();
                save(&session, &model, b"two");
                save(&session, &other, b"two");
                session.removing(&old);
                std::fs::remove_file(&old).unwrap();
                session.flush(PATIENCE);
            };
            assert!(ends(work, || ()), "{kind}");
            assert!(find_signature(&other).is_file());
            assert!(
                find_signature(&old).symlink_metadata().is_ok(),
                "{kind} is not ours"
            );
        }
    }
}

#[test]
fn a_save_does_not_wait_for_a_thread_that_follows_a_rename() {
    let fixture = Fixture::new();
    // The thread that is first to find no spool is held up, as one of low priority is on a busy machine.
    let ((arrive, arrived), (free, freed)) = (mpsc::channel(), mpsc::channel::<()>());
    let freed = Mutex::new(Some(freed));
    let session = fixture.start_heard(&[], move |event| {
        if matches!(event, Event::SpoolFailed { .. }) {
            let first = freed.lock().unwrap().take();
            if let Some(freed) = first {
                arrive.send(()).unwrap();
                freed.recv().unwrap();
            }
        }
    });
    let (new, last) = (fixture.path("new.pt"), fixture.path("last.pt"));
    save(&session, &new, b"one");
    session.flush(PATIENCE);
    std::fs::remove_dir_all(fixture.spool()).unwrap();
    session.moving(&new, &last, false);
    std::fs::rename(&new, &last).unwrap();
    arrived.recv_timeout(Duration::from_secs(30)).unwrap();
    let next = || save(&session, &new, b"two");
    assert!(ends(next, || free.send(()).unwrap()));
    // What the other thread has found is of a checkpoint that is not there any more.
    let status = session.flush(PATIENCE);
    assert_eq!((status.signed, status.superseded), (3, 0));
    verified(&last).unwrap();
    verified(&new).unwrap();
}

#[test]
fn a_save_that_waits_is_let_go_when_its_checkpoint_is_removed_or_renamed() {
    for renamed in [false, true] {
        let fixture = Fixture::new();
        // The worker is held up, so that what is saved stays in the queue.
        let ((arrive, arrived), (free, freed)) = (mpsc::channel(), mpsc::channel::<()>());
        let freed = Mutex::new(freed);
        let inline = [("MODEL_SIGNING_MODE", "inline")];
        let session = fixture.start_heard(&inline, move |event| {
            if matches!(event, Event::Signed { .. }) {
                arrive.send(()).ok();
                freed.lock().unwrap().recv().ok();
            }
        });
        let session = Arc::new(session);
        let (model, other) = (fixture.path("last.pt"), fixture.path("other.pt"));
        // Nobody joins these: one that waits for ever would make the test do so.
        let saves = |path: PathBuf| {
            let session = Arc::clone(&session);
            let (end, ended) = mpsc::channel();
            std::thread::spawn(move || {
                save(&session, &path, b"weights");
                end.send(()).ok();
            });
            ended
        };
        let first = saves(fixture.path("first.pt"));
        arrived.recv_timeout(Duration::from_secs(30)).unwrap();
        let ended = saves(model.clone());
        while session.status().pending < 2 {
            std::thread::sleep(Duration::from_millis(1));
        }
        if renamed {
            session.moving(&model, &other, false);
            std::fs::rename(&model, &other).unwrap();
            session.hurry();
        } else {
            session.removing(&model);
            std::fs::remove_file(&model).unwrap();
        }
        let let_go = ended.recv_timeout(Duration::from_secs(30));
        assert!(let_go.is_ok(), "renamed: {renamed}");
        drop(free);
        first.recv_timeout(Duration::from_secs(30)).unwrap();
    }
}

#[test]
fn what_somebody_else_writes_to_is_no_success_of_a_signature_by_hand() {
    for removed in [false, true] {
        let fixture = Fixture::new();
        let model = fixture.path("last.pt");
        let theirs = model.clone();
        // Between the first look at the file and its hash: then this says that it finds no spool.
        let session = fixture.start_heard(&[], move |event| match event {
            Event::SpoolFailed { .. } if removed => std::fs::remove_file(&theirs).unwrap(),
            Event::SpoolFailed { .. } => std::fs::write(&theirs, b"another process's").unwrap(),
            _ => {}
        });
        save(&session, &model, b"one");
        session.flush(PATIENCE);
        std::fs::write(&model, b"two").unwrap();
        std::fs::remove_dir_all(fixture.spool()).unwrap();
        let error = session.sign(&model).unwrap().wait().unwrap_err();
        assert!(
            error.to_string().contains("changed while it was hashed"),
            "{error}"
        );
        assert!(error.hint().contains("sign again"), "{}", error.hint());
    }
}

#[test]
fn a_name_that_leaves_no_room_for_a_signature_is_told_and_not_kept_in_the_spool() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let (short, long) = (fixture.path("last.pt"), fixture.path(&"n".repeat(252)));
    save(&session, &long, b"weights");
    assert_eq!(fixture.said("has 256 bytes, and a file's may have 255"), 1);
    assert!(session.sign(&long).is_err());
    save(&session, &short, b"weights");
    session.flush(PATIENCE);
    session.moving(&short, &long, false);
    std::fs::rename(&short, &long).unwrap();
    let status = session.flush(PATIENCE);
    assert_eq!(
        (status.signed, status.pending, fixture.records().len()),
        (1, 0, 0)
    );
    assert_eq!(fixture.said("has 256 bytes, and a file's may have 255"), 2);
}
