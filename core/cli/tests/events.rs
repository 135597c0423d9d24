//! Where events go, seen from outside: programs of their own, since they are written to stdout and stderr.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;

use autosign_cli::GOOD;
use autosign_session::{Config, Session};

#[test]
fn events_are_json_lines_and_no_reason_to_fail() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem");
    let fifo = path("fifo");
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
    )
    .unwrap();
    let none = path("none/events");
    for (events, told) in [
        ("-", 0),
        (none.to_str().unwrap(), 1),
        (fifo.to_str().unwrap(), 1),
    ] {
        let spool = path("spool");
        let left = [
            ("MODEL_SIGNING_MODE", "offline"),
            ("MODEL_SIGNING_SPOOL", spool.to_str().unwrap()),
        ];
        let session = Session::start(
            Config::read(&left.into_iter().collect()).0,
            Box::new(|_| ()),
        );
        for name in ["last.pt", "next.pt"] {
            std::fs::write(path(name), b"weights").unwrap();
            session.saved(&path(name), "test").unwrap().wait().unwrap();
        }
        session.flush(None);
        // As if this process had ended.
        for entry in std::fs::read_dir(&spool).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind == "lock") {
                std::fs::remove_file(path).unwrap();
            }
        }

        let said = std::process::Command::new(env!("CARGO_BIN_EXE_model-signing"))
            .arg("flush")
            .env_clear()
            .env("MODEL_SIGNING_SPOOL", &spool)
            .env("MODEL_SIGNING_PRIVATE_KEY", &key)
            .env("MODEL_SIGNING_EVENTS", events)
            .env("MODEL_SIGNING_LOG_FORMAT", "json")
            .output()
            .unwrap();
        assert_eq!(said.status.code(), Some(GOOD.into()), "{events}");
        let (out, err) = (
            String::from_utf8(said.stdout).unwrap(),
            String::from_utf8(said.stderr).unwrap(),
        );
        let named = |text: &str, name: &str| {
            let objects = text
                .lines()
                .filter_map(|line| serde_json::from_str(line).ok());
            objects
                .filter(|event: &serde_json::Value| event["event"] == name)
                .count()
        };
        assert_eq!(named(&err, "signed"), 2, "{err}");
        assert_eq!(named(&err, "events_failed"), told, "{events}: {err}");
        let (summary, other) = if events == "-" {
            (&err, &out)
        } else {
            (&out, &err)
        };
        assert!(
            summary.contains("2 signed, 0 left\n"),
            "{events}: {out}{err}"
        );
        let objects = other.lines().map(serde_json::from_str::<serde_json::Value>);
        assert!(objects.collect::<Result<Vec<_>, _>>().is_ok(), "{other}");
        assert_eq!(named(&out, "signed"), if events == "-" { 2 } else { 0 });
    }
}
