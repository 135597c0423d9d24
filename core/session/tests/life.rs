//! What becomes of checkpoints after their save: never a wrong signature, never a stray one, none lost.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use autosign_session::Saved;
use autosign_signing::signature_path;
use common::{Fixture, PATIENCE, folder, names, save, verified};

/// A session without a key signs nothing, so that what is pending stays so.
const NO_KEY: &[(&str, &str)] = &[("MODEL_SIGNING_PRIVATE_KEY", "")];

#[test]
fn a_save_over_a_signed_file_takes_its_signature_away_first() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = fixture.path("last.pt");
    save(&session, &model, b"one");
    session.flush(PATIENCE);
    assert!(signature_path(&model).exists());
    session.begins(&model);
    assert!(!signature_path(&model).exists());
    std::fs::write(&model, b"half").unwrap();
    session.broken_off(&model);
    session.flush(PATIENCE);
    assert!(!signature_path(&model).exists());
    save(&session, &model, b"two");
    session.flush(PATIENCE);
    verified(&model).unwrap();
}

#[test]
fn shards_that_were_saved_one_by_one_are_signed_with_their_index() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = folder(&fixture, "model");
    for shard in ["1.safetensors", "2.safetensors", "other.pt"] {
        save(&session, &model.join(shard), shard.as_bytes());
    }
    session.flush(PATIENCE);
    let index = r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#;
    fixture.write("model/model.safetensors.index.json", index.as_bytes());
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    let signed = "1.safetensors 2.safetensors model.safetensors.index.json";
    assert_eq!(names(verified(&model)), signed);
    // They keep what they had.
    verified(&model.join("1.safetensors")).unwrap();
    verified(&model.join("other.pt")).unwrap();

    save(&session, &model.join("1.safetensors"), b"anew");
    session.flush(PATIENCE);
    verified(&model.join("1.safetensors")).unwrap();
    assert_eq!(names(verified(&model)), signed);
    assert_eq!(session.status().failed, 0);
}

#[test]
fn a_save_that_fails_before_it_writes_loses_nothing() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let (signed, pending) = (fixture.path("signed.pt"), fixture.path("pending.pt"));
    save(&session, &signed, b"one");
    session.flush(PATIENCE);
    save(&session, &pending, b"two");
    for model in [&signed, &pending] {
        session.begins(model);
        session.broken_off(model);
    }
    session.flush(PATIENCE);
    verified(&signed).unwrap();
    verified(&pending).unwrap();
    assert_eq!((session.status().pending, fixture.records().len()), (0, 0));
}

#[test]
fn a_signature_of_an_earlier_process_goes_too_and_what_is_none_stays() {
    let fixture = Fixture::new();
    let model = fixture.path("last.pt");
    let earlier = fixture.start(&[]);
    save(&earlier, &model, b"one");
    earlier.flush(PATIENCE);
    let session = fixture.start(&[]);
    session.begins(&model);
    assert!(!signature_path(&model).exists());
    session.broken_off(&model);
    verified(&model).unwrap();
    std::fs::write(signature_path(&model), b"a note").unwrap();
    session.begins(&model);
    assert_eq!(std::fs::read(signature_path(&model)).unwrap(), b"a note");
}

#[test]
fn saves_into_one_folder_are_signed_once_when_it_is_quiet() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = folder(&fixture, "model");
    for name in ["config.json", "weights.bin", "tokenizer.json"] {
        session.begins(&model);
        std::fs::write(model.join(name), name).unwrap();
        session.saved(&model, "test").unwrap().wait().unwrap();
    }
    std::fs::write(model.join("README.md"), b"card").unwrap();
    assert_eq!(session.status().pending, 1);
    assert_eq!(session.flush(PATIENCE).signed, 1);
    assert_eq!(
        names(verified(&model)),
        "README.md config.json tokenizer.json weights.bin"
    );
}

#[test]
fn a_quiet_folder_is_signed_without_a_flush() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_SETTLE", "1s")]);
    let model = folder(&fixture, "model");
    std::fs::write(model.join("w"), b"w").unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    while session.status().pending > 0 {
        std::thread::sleep(Duration::from_millis(20));
    }
    verified(&model).unwrap();
}

#[test]
fn a_folder_is_signed_again_when_it_grows() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = folder(&fixture, "model");
    std::fs::write(model.join("weights.bin"), b"w").unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    // by another save of one of its files, or of one beside them ...
    save(&session, &model.join("extra.pt"), b"e");
    session.flush(PATIENCE);
    assert_eq!(names(verified(&model)), "extra.pt weights.bin");
    assert!(!model.join("extra.pt.sig").exists());
    // ... and by what this process writes itself.
    session.touched(&model.join("README.md"));
    std::fs::write(model.join("README.md"), b"card").unwrap();
    session.flush(PATIENCE);
    assert_eq!(names(verified(&model)), "README.md extra.pt weights.bin");
}

#[test]
fn what_was_touched_is_looked_at_until_it_is_signed() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = folder(&fixture, "model");
    std::fs::write(model.join("weights.bin"), b"w").unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    session.touched(&model.join("README.md"));
    // What is about to be written is not there yet ...
    assert_eq!(session.flush(PATIENCE).signed, 1);
    std::fs::write(model.join("README.md"), b"card").unwrap();
    // ... and here is what no signature can be over.
    std::os::unix::fs::symlink("nowhere", model.join("link")).unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 1);
    std::fs::remove_file(model.join("link")).unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 2);
    assert_eq!(names(verified(&model)), "README.md weights.bin");
}

#[test]
fn what_others_put_into_a_signed_folder_is_not_signed() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = folder(&fixture, "model");
    std::fs::write(model.join("weights.bin"), b"w").unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    std::fs::write(model.join("evil.py"), b"import os").unwrap();
    session.touched(&model.join("README.md"));
    std::fs::write(model.join("README.md"), b"card").unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 1);
    assert!(verified(&model).is_err());
}

#[test]
fn a_changed_file_in_a_folder_that_settles_is_not_signed() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = folder(&fixture, "model");
    std::fs::write(model.join("weights.bin"), b"w").unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    std::fs::write(model.join("weights.bin"), b"other").unwrap();
    session.flush(PATIENCE);
    assert!(!signature_path(&model).exists());
    assert_eq!(fixture.said("was changed after it was saved"), 1);
}

#[test]
fn checkpoints_inside_a_signed_folder_keep_signatures_of_their_own() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let out = folder(&fixture, "out");
    let early = folder(&fixture, "out/checkpoint-1");
    std::fs::write(early.join("w"), b"1").unwrap();
    session.saved(&early, "test").unwrap().wait().unwrap();
    std::fs::write(out.join("w"), b"w").unwrap();
    session.saved(&out, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    assert_eq!(names(verified(&out)), "w");
    let late = folder(&fixture, "out/checkpoint-2");
    std::fs::write(late.join("w"), b"2").unwrap();
    session.saved(&late, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    for model in [&early, &late, &out] {
        assert_eq!(names(verified(model)), "w");
    }
    session.removing(&early);
    std::fs::remove_dir_all(&early).unwrap();
    session.flush(PATIENCE);
    assert_eq!(names(verified(&out)), "w");
}

#[test]
fn what_a_hook_says_is_apart_stays_so_whoever_saved_it() {
    let fixture = Fixture::new();
    let out = folder(&fixture, "out");
    let early = folder(&fixture, "out/checkpoint-1");
    fixture.write("out/checkpoint-1/w", b"1");
    let session = fixture.start(&[]);
    fixture.write("out/w", b"w");
    let saved = Saved {
        apart: std::slice::from_ref(&early),
        ..Saved::default()
    };
    let ticket = session.saved_as(&out, "test", saved).unwrap();
    ticket.wait().unwrap();
    session.flush(PATIENCE);
    assert_eq!(names(verified(&out)), "w");
    // Also when the folder grows, and where a signature that lies there is nobody's.
    folder(&fixture, "out/unet");
    fixture.write("out/unet/w", b"u");
    fixture.write(
        "out/unet/model.sig",
        b"{\"mediaType\": \"dev.sigstore.bundle\"}",
    );
    session.saved(&out, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    assert_eq!(names(verified(&out)), "unet/model.sig unet/w w");
    std::fs::remove_dir_all(&early).unwrap();
    assert_eq!(names(verified(&out)), "unet/model.sig unet/w w");
}

#[test]
fn nothing_is_published_in_what_is_being_removed() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    for step in 0..20 {
        let model = folder(&fixture, &format!("checkpoint-{step}"));
        std::fs::write(model.join("w"), vec![1; 1 << 20]).unwrap();
        session.saved(&model, "test").unwrap().wait().unwrap();
        if step % 2 == 0 {
            session.hurry();
        }
        session.removing(&model);
        std::fs::remove_file(model.join("w")).unwrap();
        std::fs::remove_file(signature_path(&model)).ok();
        std::fs::remove_dir(&model).unwrap(); // fails where something has come into it
    }
    let status = session.flush(PATIENCE);
    assert_eq!(
        (status.pending, status.failed, fixture.records().len()),
        (0, 0, 0)
    );
}

#[test]
fn the_signature_of_an_earlier_process_goes_with_its_file_too() {
    let fixture = Fixture::new();
    let (old, note) = (fixture.path("epoch=1.ckpt"), fixture.write("note", b"1"));
    let session = fixture.start(&[]);
    save(&session, &old, b"one");
    session.flush(PATIENCE);
    let session = fixture.start(&[]);
    save(&session, &fixture.path("epoch=2.ckpt"), b"two");
    std::fs::write(signature_path(&note), b"no signature").unwrap();
    for removed in [&old, &note] {
        session.removing(removed);
        std::fs::remove_file(removed).unwrap();
    }
    session.flush(PATIENCE);
    assert!(!signature_path(&old).exists());
    assert!(signature_path(&note).exists());
}

#[test]
fn a_removal_that_fails_loses_nothing() {
    let fixture = Fixture::new();
    let session = fixture.start(NO_KEY);
    let (left, gone) = (fixture.path("left.pt"), fixture.path("gone.pt"));
    for model in [&left, &gone] {
        save(&session, model, b"weights");
        session.removing(model);
    }
    std::fs::remove_file(&gone).unwrap();
    session.flush(PATIENCE);
    session.report_left();
    assert_eq!(fixture.said("1 unsigned in the spool"), 1);
    drop(session);
    let next = fixture.start(&[]);
    next.adopt(false).unwrap();
    assert_eq!(next.flush(PATIENCE).signed, 1);
    verified(&left).unwrap();
}

#[test]
fn a_signature_has_the_mode_of_its_model() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    for mode in [0o600, 0o640, 0o755] {
        let model = fixture.path(&format!("{mode:o}.pt"));
        std::fs::write(&model, b"w").unwrap();
        std::fs::set_permissions(&model, PermissionsExt::from_mode(mode)).unwrap();
        session.saved(&model, "test").unwrap().wait().unwrap();
        session.flush(PATIENCE);
        let signature = std::fs::metadata(signature_path(&model)).unwrap();
        assert_eq!(signature.permissions().mode() & 0o777, mode & 0o666);
    }
}

#[test]
fn told_twice_it_is_signed_once() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let model = fixture.write("last.pt", b"one");
    for _ in 0..2 {
        for _ in 0..2 {
            session.saved(&model, "test").unwrap().wait().unwrap();
        }
        session.flush(PATIENCE);
    }
    assert_eq!(session.status().signed, 1);
    std::fs::remove_file(signature_path(&model)).unwrap();
    session.saved(&model, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(PATIENCE).signed, 2);
}

#[test]
fn one_can_wait_for_a_signature_and_ask_for_one() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_EXCLUDE", "*.tmp")]);
    let (model, excluded) = (
        fixture.write("last.pt", b"one"),
        fixture.write("x.tmp", b"two"),
    );
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.saved(&excluded, "test").unwrap().wait().unwrap();
    let patience = Duration::from_secs(30);
    assert_eq!(
        session.signature_within(&model, patience).unwrap().unwrap(),
        signature_path(&model)
    );
    assert!(
        session
            .signature_within(&excluded, patience)
            .unwrap()
            .is_err()
    );
    session.sign(&excluded).unwrap().wait().unwrap();
    verified(&excluded).unwrap();
    assert!(session.sign(&fixture.path("missing")).is_err());

    let session = fixture.start(NO_KEY);
    let error = session.sign(&model).unwrap().wait().unwrap_err();
    assert!(!error.to_string().is_empty());
    assert!(session.signature_within(&model, patience).unwrap().is_err());
}
