//! Checkpoints that get another name, or one more: renamed, linked, copied, alone or as a group of files.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use autosign_session::Session;
use autosign_signing::signature_path;
use common::{Fixture, PATIENCE, folder, names, save, verified};

/// A session without a key signs nothing, so that what is pending stays so.
const NO_KEY: &[(&str, &str)] = &[("MODEL_SIGNING_PRIVATE_KEY", "")];

#[test]
fn a_renamed_file_is_signed_under_its_new_name() {
    for flushed in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let (temp, last) = (fixture.path("tmp.pt"), fixture.path("last.pt"));
        for content in [b"one", b"two"] {
            save(&session, &temp, content);
            if flushed {
                session.flush(PATIENCE);
            }
            session.moving(&temp, &last, false);
            std::fs::rename(&temp, &last).unwrap();
            session.moving(&last, &fixture.path(&format!("{}.pt", content[0])), true);
            std::fs::hard_link(&last, fixture.path(&format!("{}.pt", content[0]))).unwrap();
        }
        session.flush(PATIENCE);
        verified(&last).unwrap();
        verified(&fixture.path(&format!("{}.pt", b"one"[0]))).unwrap();
        verified(&fixture.path(&format!("{}.pt", b"two"[0]))).unwrap();
        assert!(!signature_path(&temp).exists());
        assert_eq!((session.status().pending, fixture.records().len()), (0, 0));
    }
}

#[test]
fn renames_in_a_row_lose_nothing_while_the_thread_is_at_work() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let new = fixture.path("new.pt");
    for round in 0..100 {
        let last = fixture.path(&format!("last-{round}.pt"));
        for value in [b"one", b"two", b"six"] {
            save(&session, &new, value);
            session.moving(&new, &last, false);
            std::fs::rename(&new, &last).unwrap();
        }
        session.flush(PATIENCE);
        verified(&last).unwrap();
    }
    assert_eq!(fixture.said("was changed after"), 0);
}

#[test]
fn a_link_outlives_the_name_that_it_was_made_of() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let (last, kept) = (fixture.path("last.pt"), fixture.path("kept.pt"));
    save(&session, &last, b"one");
    session.moving(&last, &kept, true);
    std::fs::hard_link(&last, &kept).unwrap();
    session.removing(&last);
    std::fs::remove_file(&last).unwrap();
    session.flush(PATIENCE);
    verified(&kept).unwrap();
    assert!(!signature_path(&last).exists());
}

#[test]
fn a_renamed_folder_keeps_its_signature() {
    for flushed in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let temp = folder(&fixture, "tmp");
        std::fs::write(temp.join("w"), b"w").unwrap();
        session.saved(&temp, "test").unwrap().wait().unwrap();
        if flushed {
            session.flush(PATIENCE);
        }
        let last = fixture.path("step-1");
        session.moving(&temp, &last, false);
        std::fs::rename(&temp, &last).unwrap();
        assert_eq!(session.flush(PATIENCE).signed, 1);
        verified(&last).unwrap();
    }
}

#[test]
fn a_link_that_is_removed_is_not_what_it_leads_to() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_SETTLE", "60s")]);
    let (model, latest) = (folder(&fixture, "step-1"), fixture.path("latest"));
    std::fs::write(model.join("w"), b"w").unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    std::os::unix::fs::symlink(&model, &latest).unwrap();
    session.removing(&latest);
    std::fs::remove_file(&latest).unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 1);
    verified(&model).unwrap();
}

#[test]
fn a_group_is_signed_as_its_files_and_nothing_else() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let (model, data) = (
        fixture.write("x.onnx", b"graph"),
        fixture.write("x.onnx.data", b"weights"),
    );
    fixture.write("other.txt", b"not of it");
    let files = [model.clone(), data.clone()];
    session
        .saved_group(&model, "test", &files, None)
        .unwrap()
        .wait()
        .unwrap();
    session.flush(PATIENCE);
    assert_eq!(names(verified(&model)), "x.onnx x.onnx.data");
    std::fs::write(&data, b"Weights").unwrap();
    assert!(verified(&model).is_err());
    std::fs::remove_file(&data).unwrap();
    assert!(verified(&model).is_err());
}

#[test]
fn a_group_keeps_its_signature_when_it_is_renamed() {
    for flushed in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let inner = folder(&fixture, "tmp");
        let model = fixture.write("tmp/x.onnx", b"graph");
        let data = fixture.write("tmp/x.onnx.data", b"weights");
        let files = [model.clone(), data.clone()];
        let saved = session.saved_group(&model, "test", &files, None).unwrap();
        saved.wait().unwrap();
        if flushed {
            session.flush(PATIENCE);
        }
        // The graph names the file with its weights, so that one keeps its name ...
        let best = inner.join("zoo.onnx");
        session.moving(&model, &best, false);
        std::fs::rename(&model, &best).unwrap();
        session.flush(PATIENCE);
        assert_eq!(names(verified(&best)), "x.onnx.data zoo.onnx");
        // ... and all of them go with their folder.
        let kept = fixture.path("kept");
        session.moving(&inner, &kept, false);
        std::fs::rename(&inner, &kept).unwrap();
        session.flush(PATIENCE);
        let best = kept.join("zoo.onnx");
        assert_eq!(names(verified(&best)), "x.onnx.data zoo.onnx");
        assert!(!kept.join("x.onnx.sig").exists());
    }
}

#[test]
fn a_group_whose_files_are_all_renamed_is_signed_under_its_new_name() {
    let orders = [["index", "data"], ["data", "index"]];
    for (order, to, flushed, between) in [
        (orders[0], "run/Q", false, false),
        (orders[0], "run/Q", true, false),
        (orders[0], "run/Q", false, true),
        (orders[1], "run/Q", false, false),
        (orders[1], "run/Q", true, false),
        (orders[0], "final/P", true, false),
        (orders[0], "final/Q", false, false),
        (orders[1], "final/P", false, false),
        (orders[1], "final/Q", true, false),
    ] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        folder(&fixture, "run");
        folder(&fixture, "final");
        let index = fixture.write("run/P.index", b"index");
        let data = fixture.write("run/P.data", b"weights");
        let files = [index.clone(), data.clone()];
        let saved = session.saved_group(&index, "test", &files, None).unwrap();
        saved.wait().unwrap();
        if flushed {
            session.flush(PATIENCE);
        }
        for name in order {
            let from = fixture.path(&format!("run/P.{name}"));
            let to = fixture.path(&format!("{to}.{name}"));
            session.moving(&from, &to, false);
            std::fs::rename(&from, &to).unwrap();
            if between {
                session.flush(PATIENCE); // its files are all in one folder at any time
            }
        }
        session.flush(PATIENCE);
        let name = &to[to.len() - 1..];
        let signed = names_of(&fixture.path(&format!("{to}.index")));
        assert_eq!(signed, format!("{name}.data {name}.index"), "{order:?}");
        assert!(!fixture.path("run/P.index.sig").exists());
        let left = fixture.records().len();
        assert_eq!((session.status().failed, left), (0, 0), "{order:?}");
    }
}

#[test]
fn a_group_that_is_linked_is_signed_under_its_new_name_too() {
    for (removed, flushed) in [(false, true), (true, false), (true, true)] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let index = fixture.write("P.index", b"index");
        let data = fixture.write("P.data", b"weights");
        let files = [index.clone(), data.clone()];
        let saved = session.saved_group(&index, "test", &files, None).unwrap();
        saved.wait().unwrap();
        if flushed {
            session.flush(PATIENCE);
        }
        for name in ["index", "data"] {
            let [from, to] = ["P", "Q"].map(|it| fixture.path(&format!("{it}.{name}")));
            session.moving(&from, &to, true);
            std::fs::hard_link(&from, &to).unwrap();
            if flushed {
                session.flush(PATIENCE);
            }
        }
        for file in files.iter().filter(|_| removed) {
            session.removing(file);
            std::fs::remove_file(file).unwrap();
        }
        session.flush(PATIENCE);
        assert_eq!(names_of(&fixture.path("Q.index")), "Q.data Q.index");
        if !removed {
            assert_eq!(names_of(&index), "P.data P.index");
        }
        assert_eq!(fixture.records().len(), 0);
    }
}

#[test]
fn what_is_no_checkpoint_replaces_one_and_its_signature() {
    for fails in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let (last, note) = (fixture.path("last.pt"), fixture.write("note", b"a note"));
        save(&session, &last, b"one");
        session.flush(PATIENCE);
        session.moving(&note, &last, false);
        if !fails {
            std::fs::rename(&note, &last).unwrap();
        }
        session.flush(PATIENCE);
        assert_eq!(autosign_signing::signature_path(&last).exists(), fails);
    }
}

#[test]
fn a_group_that_is_renamed_and_back_is_signed() {
    for flushed in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let index = fixture.write("P.index", b"index");
        let data = fixture.write("P.data", b"weights");
        let files = [index.clone(), data.clone()];
        let saved = session.saved_group(&index, "test", &files, None).unwrap();
        saved.wait().unwrap();
        for (from, to) in [("P", "Q"), ("Q", "T"), ("T", "P")] {
            for name in ["index", "data"] {
                let [from, to] = [from, to].map(|it| fixture.path(&format!("{it}.{name}")));
                session.moving(&from, &to, false);
                std::fs::rename(&from, &to).unwrap();
            }
            if flushed {
                session.flush(PATIENCE);
            }
        }
        session.flush(PATIENCE);
        assert_eq!(names_of(&index), "P.data P.index");
        assert_eq!(fixture.records().len(), 0);
    }
}

fn names_of(model: &Path) -> String {
    names(verified(model))
}

#[test]
fn a_group_in_pieces_is_told_of() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    folder(&fixture, "final");
    let index = fixture.write("P.index", b"index");
    let data = fixture.write("P.data", b"weights");
    let files = [index.clone(), data];
    let saved = session.saved_group(&index, "test", &files, None).unwrap();
    saved.wait().unwrap();
    let to = fixture.path("final/P.index");
    session.moving(&index, &to, false);
    std::fs::rename(&index, &to).unwrap();
    session.flush(PATIENCE);
    assert_eq!(fixture.said("were renamed, and are not all there"), 1);
    assert!(verified(&to).is_err());
}

#[test]
fn a_group_whose_rename_has_failed_is_signed_as_it_was() {
    for flushed in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let index = fixture.write("P.index", b"index");
        let data = fixture.write("P.data", b"weights");
        let files = [index.clone(), data.clone()];
        let saved = session.saved_group(&index, "test", &files, None).unwrap();
        saved.wait().unwrap();
        if flushed {
            session.flush(PATIENCE);
        }
        for file in [&data, &index] {
            session.moving(file, &fixture.path("gone/file"), false);
        }
        session.flush(PATIENCE);
        assert_eq!(names_of(&index), "P.data P.index");
    }
}

#[test]
fn a_group_that_its_own_process_takes_apart_is_not_signed_and_nothing_is_said() {
    type Change = fn(&Session, &Path, &Path);
    let changes: [Change; 3] = [
        |session, data, _| {
            session.removing(data);
            std::fs::remove_file(data).unwrap();
        },
        |session, data, other| {
            session.moving(data, other, false);
            std::fs::rename(data, other).unwrap();
        },
        |session, data, other| {
            session.moving(other, data, false);
            std::fs::rename(other, data).unwrap();
        },
    ];
    for change in changes {
        let fixture = Fixture::new();
        let session = fixture.start(NO_KEY);
        let model = fixture.write("x.onnx", b"graph");
        let data = fixture.write("x.onnx.data", b"weights");
        let other = fixture.write("other.txt", b"not of it");
        let files = [model.clone(), data.clone()];
        let saved = session.saved_group(&model, "test", &files, None).unwrap();
        saved.wait().unwrap();
        change(&session, &data, &other);
        let status = session.flush(PATIENCE);
        assert_eq!((status.superseded, fixture.records().len()), (1, 0));
        assert_eq!(fixture.said("was changed after"), 0);
    }
}

#[test]
fn a_copy_of_what_was_saved_is_signed_under_its_own_name() {
    for flushed in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[("MODEL_SIGNING_EXCLUDE", "*.tmp")]);
        let (last, best) = (fixture.path("last.pt"), fixture.path("best.pt"));
        let (note, passed_over) = (fixture.write("note", b"1"), fixture.path("last.tmp"));
        for content in [b"one", b"two"] {
            save(&session, &last, content);
            if flushed {
                session.flush(PATIENCE);
            }
            for (from, to) in [
                (&last, &best),
                (&last, &passed_over),
                (&note, &fixture.path("other")),
            ] {
                session.copying(from, to);
                std::fs::copy(from, to).unwrap();
            }
        }
        session.removing(&last);
        std::fs::remove_file(&last).unwrap();
        session.flush(PATIENCE);
        verified(&best).unwrap();
        assert!(verified(&passed_over).is_err());
        assert!(verified(&fixture.path("other")).is_err());
        assert_eq!((session.status().pending, fixture.records().len()), (0, 0));
    }
}

#[test]
fn a_copy_that_is_not_what_was_signed_is_not_signed() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let (last, best) = (fixture.path("last.pt"), fixture.path("best.pt"));
    save(&session, &last, b"one");
    session.flush(PATIENCE);
    session.copying(&last, &best);
    std::fs::write(&best, b"two").unwrap();
    session.flush(PATIENCE);
    assert!(verified(&best).is_err());
    assert_eq!(fixture.said("was altered after it was saved"), 1);
}

#[test]
fn a_signature_that_is_copied_along_stays() {
    for signature_first in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let (from, to) = (folder(&fixture, "run"), folder(&fixture, "store"));
        save(&session, &from.join("last.pt"), b"one");
        session.flush(PATIENCE);
        let mut names = ["last.pt", "last.pt.sig"];
        if signature_first {
            names.reverse();
        }
        for name in names {
            session.copying(&from.join(name), &to.join(name));
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
        verified(&to.join("last.pt")).unwrap();
        session.flush(PATIENCE);
        verified(&to.join("last.pt")).unwrap();
        // Where it comes last, the copy may have one by then, which is as good.
        assert!(!signature_first || session.status().signed == 1);
    }
}

#[test]
fn a_copy_over_a_file_of_its_size_is_looked_at_when_it_has_been_made() {
    for flushed in [false, true] {
        let fixture = Fixture::new();
        let session = fixture.start(&[]);
        let (last, best) = (fixture.path("last.pt"), fixture.write("best.pt", b"old"));
        save(&session, &last, b"new");
        if flushed {
            session.flush(PATIENCE);
        }
        let old = SystemTime::now() - Duration::from_secs(60);
        File::options()
            .write(true)
            .open(&best)
            .unwrap()
            .set_modified(old)
            .unwrap();
        session.copying(&last, &best);
        session.hurry(); // somebody looks before the copy begins
        std::fs::copy(&last, &best).unwrap();
        session.flush(PATIENCE);
        verified(&best).unwrap();
        assert_eq!(fixture.said("is not signed"), 0);
    }
}

#[test]
fn copies_in_a_row_are_signed_although_their_times_are_the_same() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let (last, best) = (fixture.path("last.pt"), fixture.path("best.pt"));
    for content in [b"one", b"two", b"six"] {
        save(&session, &last, content);
        session.copying(&last, &best);
        std::fs::copy(&last, &best).unwrap();
        // As if all were written within one tick of the clock.
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000);
        File::options()
            .write(true)
            .open(&best)
            .unwrap()
            .set_modified(now)
            .unwrap();
    }
    session.flush(PATIENCE);
    verified(&best).unwrap();
}
