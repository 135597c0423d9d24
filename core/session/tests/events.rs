//! Events as JSON lines in a file.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use autosign_session::{Config, Environment, Event, Session, listener};
use common::{Fixture, PATIENCE, key};
use serde_json::Value;

fn config(settings: &[(&str, &str)]) -> Config {
    let environment: Environment = settings.iter().copied().collect();
    let (config, errors) = Config::read(&environment.into());
    assert!(errors.is_empty());
    config
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// A session that says all in the file that is returned, and nothing elsewhere; with one setting more.
fn quiet(fixture: &Fixture, more: (&str, &str)) -> (Session, PathBuf) {
    let (key, events) = (key("p256.pem"), fixture.path("events.jsonl"));
    let config = config(&[
        ("MODEL_SIGNING_PRIVATE_KEY", key.to_str().unwrap()),
        ("MODEL_SIGNING_SPOOL", "off"),
        ("MODEL_SIGNING_EVENTS", events.to_str().unwrap()),
        ("MODEL_SIGNING_LOG_LEVEL", "off"),
        more,
    ]);
    (Session::start(config.clone(), listener(&config)), events)
}

#[test]
fn every_event_is_a_line_whatever_is_said_on_stderr() {
    let fixture = Fixture::new();
    let (session, events) = quiet(&fixture, ("MODEL_SIGNING_EXCLUDE", "*.txt"));
    for name in ["last.pt", "notes.txt"] {
        let path = fixture.write(name, b"weights");
        session.saved(&path, "test").unwrap().wait().unwrap();
    }
    session.flush(PATIENCE);
    let events_of = |name: &str| -> Vec<Value> {
        let all = lines(&events).into_iter();
        all.filter(|event| event["event"] == name).collect()
    };
    assert_eq!(lines(&events).len(), 2);
    let [signed] = events_of("signed").try_into().unwrap();
    assert_eq!(signed["framework"], "test");
    assert_eq!(signed["bytes"], 7);
    assert!(signed["path"].as_str().unwrap().ends_with("/last.pt"));
    assert!(
        signed["signature"]
            .as_str()
            .unwrap()
            .ends_with("/last.pt.sig")
    );
    let [passed_over] = events_of("passed_over").try_into().unwrap();
    assert_eq!(passed_over["level"], "debug");
    let mode = std::fs::metadata(&events).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "others may not write to it");
}

#[test]
fn what_an_index_names_is_signed_or_told() {
    let fixture = Fixture::new();
    let (session, events) = quiet(&fixture, ("MODEL_SIGNING_MODE", "background"));
    let save = |names: &str| {
        let folder = fixture.path("run");
        std::fs::create_dir_all(folder.join(".git")).unwrap();
        fixture.write("run/.git/shard", b"not signed");
        fixture.write("run/one", b"weights");
        let index = format!(r#"{{"weight_map": {names}}}"#);
        fixture.write("run/model.safetensors.index.json", index.as_bytes());
        session.saved(&folder, "test").unwrap().wait().unwrap();
        session.flush(PATIENCE);
    };
    let new = |known: usize| -> Vec<Value> { lines(&events).split_off(known) };

    save(r#"{"a": "one"}"#);
    assert_eq!(new(0).len(), 1);
    save(r#"{"a": "three", "b": "one", "c": "two"}"#);
    let [signed, incomplete] = new(1).try_into().unwrap();
    assert_eq!(signed["event"], "signed");
    assert_eq!(incomplete["event"], "incomplete");
    assert_eq!(incomplete["level"], "warning");
    assert_eq!(incomplete["path"], signed["path"]);
    assert_eq!(incomplete["index"], "model.safetensors.index.json");
    assert_eq!(
        (&incomplete["file"], &incomplete["missing"]),
        (&"three".into(), &2.into())
    );
    let message = incomplete["message"].as_str().unwrap();
    assert!(
        message.ends_with(r#"names "three" (and 1 more) that is not there"#),
        "{message}"
    );

    // One that is there and left out: such a signature would be refused.
    save(r#"{"a": ".git/shard"}"#);
    let [failed] = new(3).try_into().unwrap();
    assert_eq!(failed["event"], "failed");
    assert!(failed["error"].as_str().unwrap().contains(".git/shard"));
    assert_eq!(session.status().failed, 1);
}

#[test]
fn lines_of_several_writers_do_not_mix() {
    let fixture = Fixture::new();
    let events = fixture.path("events.jsonl");
    let config = config(&[("MODEL_SIGNING_EVENTS", events.to_str().unwrap())]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let listener = listener(&config);
                for step in 0..50 {
                    listener(&Event::Superseded {
                        root: format!("/runs/{}/{step}.pt", "x".repeat(2000)).into(),
                        framework: "test".to_owned(),
                        unsigned: false,
                    });
                }
            });
        }
    });
    assert_eq!(lines(&events).len(), 400);
}
