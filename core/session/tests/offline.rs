//! Mode `offline`: hashed here, signed by another process, and nothing else.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_session::{Error, Session, Status};
use autosign_signing::signature_path;
use common::{Fixture, PATIENCE, verified};

const MODE: (&str, &str) = ("MODEL_SIGNING_MODE", "offline");
const NO_KEY: (&str, &str) = ("MODEL_SIGNING_PRIVATE_KEY", "");

fn spooled(count: usize) -> Status {
    Status {
        spooled: count,
        ..Status::default()
    }
}

/// What `model-signing flush` does, with a key.
fn flush(fixture: &Fixture) -> Status {
    let session = fixture.start(&[]);
    session.adopt(false).unwrap();
    session.flush(PATIENCE)
}

fn save(session: &Session, fixture: &Fixture, name: &str, content: &[u8]) -> std::path::PathBuf {
    let model = fixture.write(name, content);
    session.saved(&model, "test").unwrap().wait().unwrap();
    model
}

#[test]
fn what_is_hashed_here_is_signed_by_a_later_flush() {
    let fixture = Fixture::new();
    let session = fixture.start(&[MODE, NO_KEY]);
    let model = save(&session, &fixture, "last.pt", b"weights");
    assert_eq!(session.flush(PATIENCE), spooled(1));
    assert_eq!(
        session.flush(PATIENCE),
        spooled(1),
        "there is no more to do"
    );
    let [record] = fixture.records().try_into().unwrap();
    assert!(record.record.digest.is_some() && record.record.error.is_none());
    assert_eq!(record.record.signer, None);
    assert!(!signature_path(&model).exists());
    assert_eq!(fixture.said("hashed \""), 1);
    session.report_left();
    assert_eq!(
        fixture.said("1 hashed, to be signed by `model-signing flush"),
        1
    );
    assert_eq!(fixture.said("unsigned"), 0, "it is as meant");
    drop(session);

    assert_eq!(flush(&fixture).signed, 1);
    verified(&model).unwrap();
    assert!(fixture.records().is_empty());
}

#[test]
fn no_key_is_read_and_no_sigstore_is_asked() {
    let fixture = Fixture::new();
    for missing in [
        [
            NO_KEY,
            ("MODEL_SIGNING_IDENTITY_TOKEN", "token"),
            ("MODEL_SIGNING_TRUST_CONFIG", "/none/here"),
        ],
        [
            ("MODEL_SIGNING_PRIVATE_KEY", "/none/here"),
            ("MODEL_SIGNING_METHOD", "key"),
            ("MODEL_SIGNING_THREADS", "1"),
        ],
    ] {
        let offline = fixture.start(&[&[MODE][..], &missing].concat());
        save(&offline, &fixture, "last.pt", b"weights");
        assert_eq!(offline.flush(PATIENCE), spooled(1));
        assert_eq!(fixture.said("/none/here"), 0);
    }
    // Whoever signs needs both.
    let fixture = Fixture::new();
    for missing in ["MODEL_SIGNING_TRUST_CONFIG", "MODEL_SIGNING_PRIVATE_KEY"] {
        let token = ("MODEL_SIGNING_IDENTITY_TOKEN", "token");
        let session = fixture.start(&[NO_KEY, token, (missing, "/none/here")]);
        save(&session, &fixture, "next.pt", b"weights");
        session.flush(PATIENCE);
    }
    assert_eq!(fixture.said("next.pt\" is not signed"), 2);
    assert_eq!(fixture.said("/none/here"), 2);
}

#[test]
fn altered_content_is_refused_by_the_flush() {
    let fixture = Fixture::new();
    let session = fixture.start(&[MODE, NO_KEY]);
    let model = save(&session, &fixture, "last.pt", b"weights");
    session.flush(PATIENCE);
    drop(session);
    let modified = std::fs::metadata(&model).unwrap().modified().unwrap();
    std::fs::write(&model, b"WEIGHTS").unwrap();
    let file = std::fs::File::options().write(true).open(&model).unwrap();
    file.set_modified(modified).unwrap();

    let status = flush(&fixture);
    assert_eq!((status.signed, status.failed), (0, 1));
    assert_eq!(fixture.said("was altered after it was saved"), 1);
    assert!(!signature_path(&model).exists() && fixture.records().is_empty());
}

#[test]
fn what_is_replaced_or_removed_leaves_no_record() {
    let fixture = Fixture::new();
    let session = fixture.start(&[MODE, NO_KEY]);
    for content in [&b"first"[..], b"second", b"third"] {
        save(&session, &fixture, "last.pt", content);
        session.flush(PATIENCE);
    }
    assert_eq!(fixture.records().len(), 1);
    let model = save(&session, &fixture, "epoch1.pt", b"weights");
    session.flush(PATIENCE);
    std::fs::remove_file(model).unwrap();
    session.flush(PATIENCE);
    let status = session.status();
    assert_eq!((status.spooled, status.superseded), (1, 3));
    assert_eq!(fixture.records().len(), 1);
    drop(session);
    assert_eq!(flush(&fixture).signed, 1);
    verified(&fixture.path("last.pt")).unwrap();
}

#[test]
fn overwritten_again_and_again_the_last_content_is_what_is_signed() {
    let fixture = Fixture::new();
    let session = fixture.start(&[MODE, NO_KEY]);
    for round in 0..50_usize {
        save(&session, &fixture, "last.pt", &vec![b'x'; 200_000 + round]);
    }
    let status = session.flush(PATIENCE);
    assert_eq!((status.spooled, status.superseded), (1, 49));
    assert_eq!(fixture.records().len(), 1);
    drop(session);
    assert_eq!(flush(&fixture).signed, 1);
    verified(&fixture.path("last.pt")).unwrap();
}

#[test]
fn raise_waits_for_the_digest() {
    let fixture = Fixture::new();
    let raise = ("MODEL_SIGNING_ON_ERROR", "raise");
    let session = fixture.start(&[MODE, NO_KEY, raise]);
    save(&session, &fixture, "last.pt", b"weights");
    assert_eq!(session.status(), spooled(1));
    assert!(fixture.records()[0].record.digest.is_some());

    let file = fixture.write("file", b"");
    let nowhere = file.join("spool");
    let spool = ("MODEL_SIGNING_SPOOL", nowhere.to_str().unwrap());
    let session = fixture.start(&[MODE, NO_KEY, raise, spool]);
    let model = fixture.write("next.pt", b"weights");
    let error = session.saved(&model, "test").unwrap().wait().unwrap_err();
    assert!(matches!(error, Error::NoSpool));
    assert!(error.hint().contains("MODEL_SIGNING_SPOOL"));
}

#[test]
fn what_nobody_remembers_is_told() {
    let fixture = Fixture::new();
    let file = fixture.write("file", b"");
    let nowhere = file.join("spool");
    let spool = ("MODEL_SIGNING_SPOOL", nowhere.to_str().unwrap());
    let session = fixture.start(&[MODE, NO_KEY, spool]);
    save(&session, &fixture, "last.pt", b"weights");
    assert_eq!(session.flush(PATIENCE).failed, 1);
    assert_eq!(
        fixture.said("last.pt\" is not signed, nothing remembers it"),
        1
    );
}

#[test]
fn nobody_is_sent_to_a_spool_that_remembers_nothing() {
    let fixture = Fixture::new();
    let nowhere = fixture.write("file", b"").join("spool");
    let spool = ("MODEL_SIGNING_SPOOL", nowhere.to_str().unwrap());
    for (settings, told) in [
        (
            vec![NO_KEY, spool],
            "1 unsigned, and no spool remembers them",
        ),
        (vec![NO_KEY], "1 unsigned in the spool"),
    ] {
        let session = fixture.start(&settings);
        save(&session, &fixture, "last.pt", b"weights");
        session.flush(PATIENCE);
        session.report_left();
        assert_eq!(fixture.said(told), 1, "{told}");
    }
    assert_eq!(fixture.said("model-signing flush"), 1);
}

#[test]
fn a_named_signer_is_the_only_one() {
    let fixture = Fixture::new();
    let named = ("MODEL_SIGNING_METHOD", "sigstore");
    let session = fixture.start(&[MODE, NO_KEY, named]);
    save(&session, &fixture, "last.pt", b"weights");
    session.flush(PATIENCE);
    drop(session);
    let other = fixture.start(&[]);
    let others = other.adopt(false).unwrap();
    assert_eq!(others.into_values().collect::<Vec<_>>(), [1]);
    assert_eq!(other.flush(PATIENCE).signed, 0);
}

#[test]
fn what_a_killed_process_did_not_hash_the_next_one_does() {
    let fixture = Fixture::new();
    // The first is held, as if there had been no time. Its threads live on here, and must not take what is not theirs.
    let unhashed = ("MODEL_SIGNING_EVERY", "2");
    let killed = fixture.start(&[MODE, NO_KEY, unhashed, ("MODEL_SIGNING_ON_ERROR", "raise")]);
    save(&killed, &fixture, "first.pt", b"1");
    assert_eq!(killed.status().pending, 1);
    drop(killed);
    assert!(fixture.records()[0].record.digest.is_none());

    let next = fixture.start(&[MODE, NO_KEY]);
    save(&next, &fixture, "second.pt", b"2");
    next.adopt(false).unwrap();
    assert_eq!(next.flush(PATIENCE), spooled(2));
    assert!(
        fixture
            .records()
            .iter()
            .all(|one| one.record.digest.is_some())
    );
    next.adopt(false).unwrap();
    assert_eq!(next.flush(PATIENCE), spooled(2), "nothing is hashed twice");
    assert_eq!(fixture.said("hashed \""), 2);
}

#[test]
fn of_records_of_several_processes_for_one_path_the_one_that_fits_is_signed() {
    for fits in ["a-0.json", "b-0.json"] {
        let fixture = Fixture::new();
        for content in ["stale", "fresh content"] {
            let session = fixture.start(&[MODE, NO_KEY]);
            save(&session, &fixture, "last.pt", content.as_bytes());
            session.flush(PATIENCE);
            drop(session);
            // Their names decide which one is found first, and are random.
            let entries = std::fs::read_dir(fixture.spool()).unwrap();
            let paths = entries.map(|entry| entry.unwrap().path());
            let paths = paths.filter(|path| path.is_file());
            let named =
                |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().len() == 8;
            let new = paths.filter(|path| !named(path)).last().unwrap();
            let stale = if fits == "a-0.json" {
                "b-0.json"
            } else {
                "a-0.json"
            };
            let name = if content == "stale" { stale } else { fits };
            std::fs::rename(new, fixture.spool().join(name)).unwrap();
        }
        let status = flush(&fixture);
        assert_eq!((status.signed, status.superseded), (1, 1), "{fits}");
        verified(&fixture.path("last.pt")).unwrap();
        assert!(fixture.records().is_empty());
    }
}
