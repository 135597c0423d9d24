//! What the settings leave out is not signed, and is no failure.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::path::Path;

use autosign_session::{Session, Status};
use autosign_signing::{RelPath, signature_path};
use common::{Fixture, PATIENCE, verified};

fn save(session: &Session, path: &Path, content: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
    session.saved(path, "test").unwrap().wait().unwrap();
}

fn signed(count: usize) -> Status {
    Status {
        signed: count,
        ..Status::default()
    }
}

#[test]
fn by_name_path_and_size() {
    let fixture = Fixture::new();
    let root = fixture.path("").canonicalize().unwrap();
    let scratch = format!("{}/scratch/**, tmp-*", root.display());
    let session = fixture.start(&[
        ("MODEL_SIGNING_INCLUDE", "*.pt,*.safetensors"),
        ("MODEL_SIGNING_EXCLUDE", &scratch),
        ("MODEL_SIGNING_MIN_SIZE", "1kB"),
    ]);
    let large = [b'x'; 1000];
    for (name, content, setting) in [
        ("run/last.pt", &large[..], None),
        ("run/last.txt", &large, Some("INCLUDE")),
        ("run/tmp-last.pt", &large, Some("EXCLUDE")),
        ("scratch/a/last.pt", &large, Some("EXCLUDE")),
        ("run/small.pt", &large[1..], Some("MIN_SIZE")),
    ] {
        let path = fixture.path(name);
        save(&session, &path, content);
        session.flush(PATIENCE);
        assert_eq!(signature_path(&path).exists(), setting.is_none(), "{name}");
        let line = format!("{path:?} is passed over: MODEL_SIGNING_");
        assert_eq!(
            fixture.said(&line),
            usize::from(setting.is_some()),
            "{name}"
        );
        let line = format!("{line}{}", setting.unwrap_or_default());
        assert_eq!(
            fixture.said(&line),
            usize::from(setting.is_some()),
            "{name}"
        );
    }
    assert_eq!(session.status(), signed(1));
    assert!(fixture.records().is_empty());
}

#[test]
fn a_link_is_judged_by_where_it_leads() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_EXCLUDE", "real.pt")]);
    let real = fixture.write("real.pt", b"weights");
    let link = fixture.path("link.pt");
    std::os::unix::fs::symlink(real, &link).unwrap();
    session.saved(&link, "test").unwrap().wait().unwrap();
    assert_eq!(session.flush(PATIENCE), Status::default());
}

#[test]
fn what_is_excluded_may_be_as_it_likes() {
    let fixture = Fixture::new();
    let session = fixture.start(&[
        ("MODEL_SIGNING_EXCLUDE", "odd"),
        ("MODEL_SIGNING_ON_ERROR", "raise"),
    ]);
    let odd = fixture.path("odd");
    std::fs::create_dir(&odd).unwrap();
    std::os::unix::fs::symlink("nowhere", odd.join("link")).unwrap();
    session.saved(&odd, "test").unwrap().wait().unwrap();
    assert_eq!(fixture.said("is not signed"), 0);
}

#[test]
fn each_third_and_the_last() {
    for mode in ["background", "inline"] {
        let fixture = Fixture::new();
        let session = fixture.start(&[("MODEL_SIGNING_EVERY", "3"), ("MODEL_SIGNING_MODE", mode)]);
        let path = |step: usize| fixture.path(&format!("run/step{step}.pt"));
        for step in 1..=8 {
            save(&session, &path(step), b"weights");
        }
        // Another folder has a count of its own.
        let other = fixture.path("other/last.pt");
        save(&session, &other, b"weights");
        while !session.idle_within(PATIENCE.unwrap()) {}
        assert_eq!(
            session.status(),
            Status {
                pending: 2,
                ..signed(2)
            },
            "{mode}"
        );
        assert_eq!(
            fixture.records().len(),
            2,
            "a killed process loses none of the last"
        );
        assert_eq!(session.flush(PATIENCE), signed(4));
        for step in 1..=8 {
            let chosen = [3, 6, 8].contains(&step);
            assert_eq!(
                signature_path(&path(step)).exists(),
                chosen,
                "{mode} {step}"
            );
        }
        verified(&other).unwrap();
        assert_eq!(fixture.said("is passed over: MODEL_SIGNING_EVERY"), 5);
        assert!(fixture.records().is_empty());

        // Counting goes on where it was: 9 is a third one.
        save(&session, &path(9), b"weights");
        while !session.idle_within(PATIENCE.unwrap()) {}
        assert_eq!(session.status(), signed(5), "{mode}");
    }
}

#[test]
fn one_path_overwritten_with_each_second_signed_has_the_signature_of_its_last_content() {
    let fixture = Fixture::new();
    let session = fixture.start(&[("MODEL_SIGNING_EVERY", "2")]);
    for step in 0..21_u8 {
        save(&session, &fixture.path("run/last.pt"), &vec![step; 100_000]);
    }
    let status = session.flush(PATIENCE);
    assert_eq!((status.pending, status.failed), (0, 0));
    verified(&fixture.path("run/last.pt")).unwrap();
    assert!(fixture.records().is_empty());
}

#[test]
fn whether_git_paths_are_signed_is_decided_where_they_are_saved() {
    for (value, signed) in [
        ("true", &["weights.bin"][..]),
        ("No", &[".gitattributes", "weights.bin"]),
    ] {
        let fixture = Fixture::new();
        let model = fixture.path("model");
        std::fs::create_dir(&model).unwrap();
        std::fs::write(model.join(".gitattributes"), b"*.bin lfs").unwrap();
        std::fs::write(model.join("weights.bin"), b"weights").unwrap();
        let session = fixture.start(&[
            ("MODEL_SIGNING_IGNORE_GIT_PATHS", value),
            ("MODEL_SIGNING_MODE", "offline"),
            ("MODEL_SIGNING_PRIVATE_KEY", ""),
        ]);
        session.saved(&model, "test").unwrap().wait().unwrap();
        session.flush(PATIENCE);
        drop(session);

        let other = fixture.start(&[]);
        other.adopt(false).unwrap();
        assert_eq!(other.flush(PATIENCE).failed, 0);
        let verified = verified(&model).unwrap();
        let names: Vec<_> = verified.files().iter().map(RelPath::as_str).collect();
        assert_eq!(names, signed, "{value}");
    }
}
