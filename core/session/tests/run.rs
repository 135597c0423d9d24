//! Which run saved what, and in which order: signed with each checkpoint, and looked at by whoever verifies several.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use autosign_session::{LastSeen, Link, Session, chains};
use autosign_signing::{
    AnnotationFault, Annotations, Dialect, Error as SigningError, Hashing, Ignore, KeySigner,
    KeyVerifier, Manner, Policy, VerifiedModel, publish, seal, signature_path, state,
};
use common::{Fixture, PATIENCE, key, verified};
use rustix::fs::{FlockOperation, fcntl_lock};

const RUN: &[(&str, &str)] = &[("MODEL_SIGNING_RUN", "tune-7")];

fn save(session: &Session, path: &Path) -> VerifiedModel {
    session.begins(path);
    std::fs::write(path, path.to_str().unwrap()).unwrap();
    session.saved(path, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    verified(path).unwrap()
}

fn said(model: &VerifiedModel) -> &Annotations {
    model.manifest().annotations()
}

fn link(model: &VerifiedModel) -> Link {
    Link {
        path: PathBuf::from(model.manifest().manifest().model_name()),
        model: model.manifest().manifest().model_name().to_owned(),
        payload: model.manifest().payload_digest(),
        said: said(model).clone(),
    }
}

#[test]
fn each_checkpoint_names_the_one_before_across_processes() {
    let fixture = Fixture::new();
    let session = fixture.start(RUN);
    let one = save(&session, &fixture.path("1.pt"));
    session.set_step(Some(200));
    let two = save(&session, &fixture.path("2.pt"));
    drop(session);
    let three = save(&fixture.start(RUN), &fixture.path("3.pt"));
    let other = save(
        &fixture.start(&[("MODEL_SIGNING_RUN", "tune-8")]),
        &fixture.path("4.pt"),
    );

    assert_eq!(said(&one).run.as_deref(), Some("tune-7"));
    assert_eq!([said(&one).step, said(&two).step], [None, Some(200)]);
    assert!(said(&one).created.is_some());
    assert_eq!(said(&one).parent, None);
    assert_eq!(said(&two).parent, Some(one.manifest().payload_digest()));
    assert_eq!(said(&three).parent, Some(two.manifest().payload_digest()));
    assert_eq!(said(&other).parent, None);
    let places = [&one, &two, &three].map(|model| said(model).sequence.unwrap());
    assert!(places.is_sorted_by(|one, next| one < next), "{places:?}");

    let (runs, others) = chains([&three, &one, &two, &other].map(link));
    assert!(others.is_empty() && runs.len() == 2);
    let chain = &runs["tune-7"];
    let names: Vec<_> = chain.links.iter().map(|link| link.model.as_str()).collect();
    assert_eq!(names, ["1.pt", "2.pt", "3.pt"]);
    assert!(chain.missing.is_empty() && chain.forks.is_empty());

    let (runs, _) = chains([&three, &one].map(link));
    assert_eq!(
        runs["tune-7"].missing,
        [two.manifest().payload_digest()].into()
    );
}

#[test]
fn a_copy_of_the_state_shows_as_a_fork() {
    let fixture = Fixture::new();
    let one = save(&fixture.start(RUN), &fixture.path("1.pt"));
    let heads = fixture.spool().join("runs/heads.json");
    let copy = std::fs::read(&heads).unwrap();
    let two = save(&fixture.start(RUN), &fixture.path("2.pt"));
    std::fs::write(&heads, copy).unwrap();
    let again = save(&fixture.start(RUN), &fixture.path("other.pt"));
    let (runs, _) = chains([&one, &two, &again, &again].map(link));
    assert_eq!(
        runs["tune-7"].forks,
        [one.manifest().payload_digest()].into()
    );
}

#[test]
fn a_run_of_no_name_is_one_process() {
    let fixture = Fixture::new();
    let session = fixture.start(&[]);
    let one = save(&session, &fixture.path("1.pt"));
    let two = save(&session, &fixture.path("2.pt"));
    let other = save(&fixture.start(&[]), &fixture.path("3.pt"));
    assert!(said(&one).run.is_some());
    assert_eq!(said(&one).run, said(&two).run);
    assert_ne!(said(&one).run, said(&other).run);
    assert_eq!(said(&two).parent, Some(one.manifest().payload_digest()));
}

#[test]
fn nothing_is_lost_where_the_order_cannot_be_kept() {
    let fixture = Fixture::new();
    let off = [RUN[0], ("MODEL_SIGNING_SPOOL", "off")];
    let session = fixture.start(&off);
    save(&session, &fixture.path("1.pt"));
    let two = save(&session, &fixture.path("2.pt"));
    assert_eq!(
        (said(&two).run.as_deref(), said(&two).parent),
        (Some("tune-7"), None)
    );

    let heads = fixture.spool().join("runs/heads.json");
    std::fs::create_dir_all(&heads).unwrap();
    let three = save(&fixture.start(RUN), &fixture.path("3.pt"));
    assert_eq!(said(&three).parent, None);
    assert!(said(&three).sequence.is_some());
}

/// Holds the lock on the file `LOCK` until its input ends: what a process does that was stopped at the wrong moment.
#[test]
#[ignore = "a_process_that_keeps_the_lock_keeps_no_signature_back runs it"]
fn another_process() {
    let lock = std::fs::File::create(std::env::var_os("LOCK").unwrap()).unwrap();
    fcntl_lock(&lock, FlockOperation::LockExclusive).unwrap();
    writeln!(std::io::stdout(), "locked").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn a_process_that_keeps_the_lock_keeps_no_signature_back() {
    let fixture = Fixture::new();
    let session = fixture.start(RUN);
    let one = save(&session, &fixture.path("1.pt"));
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "another_process", "--ignored", "--nocapture"])
        .env("LOCK", fixture.spool().join("runs/heads.json.lock"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(other.stdout.take().unwrap()).lines();
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|line| line.ends_with("locked"))
    );
    let two = save(&session, &fixture.path("2.pt"));
    assert_eq!(said(&two).parent, None);
    assert!(said(&two).sequence > said(&one).sequence);
    drop(other.stdin.take());
    other.wait().unwrap();
    let three = save(&session, &fixture.path("3.pt"));
    assert_eq!(said(&three).parent, Some(one.manifest().payload_digest()));
}

#[test]
fn a_flush_says_what_the_training_said() {
    let fixture = Fixture::new();
    let model = fixture.path("1.pt");
    {
        let offline = [RUN[0], ("MODEL_SIGNING_MODE", "offline")];
        let session = fixture.start(&offline);
        session.set_step(Some(7));
        std::fs::write(&model, b"weights").unwrap();
        session.saved(&model, "test").unwrap().wait().unwrap();
        session.flush(PATIENCE);
    }
    let saved = fixture.records().remove(0).record.saved;
    let flusher = fixture.start(&[("MODEL_SIGNING_RUN", "the login node's own")]);
    flusher.adopt(false).unwrap();
    flusher.flush(PATIENCE);
    let signed = verified(&model).unwrap();
    assert_eq!(said(&signed).run.as_deref(), Some("tune-7"));
    assert_eq!(said(&signed).step, Some(7));
    let created = SystemTime::UNIX_EPOCH + Duration::from_secs(saved);
    assert_eq!(said(&signed).created, Some(created));
    assert!(said(&signed).sequence.is_some());
}

#[test]
fn a_folder_that_grows_has_its_place() {
    let fixture = Fixture::new();
    let session = fixture.start(RUN);
    session.set_step(Some(100));
    let folder = fixture.path("checkpoint");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("one"), b"1").unwrap();
    session.saved(&folder, "test").unwrap().wait().unwrap();
    // Before it is signed, and after.
    session.touched(&folder.join("two"));
    std::fs::write(folder.join("two"), b"2").unwrap();
    session.flush(PATIENCE);
    let first = said(&verified(&folder).unwrap()).clone();
    assert_eq!(first.step, Some(100));
    let place = first.sequence.unwrap();
    session.touched(&folder.join("three"));
    session.flush(PATIENCE);
    assert_eq!(session.status().signed, 1, "nothing has changed");
    session.touched(&folder.join("three"));
    std::fs::write(folder.join("three"), b"3").unwrap();
    session.flush(PATIENCE);
    let second = verified(&folder).unwrap();
    assert_eq!(session.status().signed, 2);
    assert_eq!(said(&second).step, Some(100));
    assert!(said(&second).sequence.unwrap() > place);
}

#[test]
fn another_name_makes_nothing_newer() {
    let fixture = Fixture::new();
    let session = fixture.start(RUN);
    session.set_step(Some(100));
    let (one, best) = (fixture.path("1.pt"), fixture.path("best.pt"));
    let before = said(&save(&session, &one)).clone();
    session.set_step(Some(200));
    let two = save(&session, &fixture.path("2.pt"));
    session.moving(&one, &best, false);
    std::fs::rename(&one, &best).unwrap();
    session.flush(PATIENCE);
    let moved = verified(&best).unwrap();
    let now = said(&moved);
    assert_eq!(
        (now.step, now.sequence, now.created),
        (before.step, before.sequence, before.created)
    );
    assert_eq!(now.parent, Some(two.manifest().payload_digest()));
    assert!(now.sequence < said(&two).sequence);
    // Written over, it is another one.
    session.set_step(Some(300));
    let over = save(&session, &best);
    assert!(said(&over).sequence > said(&two).sequence && said(&over).step == Some(300));
}

#[test]
fn a_step_of_the_framework_s_own_goes_before() {
    let fixture = Fixture::new();
    let session = fixture.start(RUN);
    session.set_step(Some(1));
    let model = fixture.write("1.pt", b"weights");
    let ticket = session.saved_group(&model, "test", &[], Some(2)).unwrap();
    ticket.wait().unwrap();
    // A plugin that knows no step tells of the same save: that is no other one.
    session.set_step(None);
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(PATIENCE);
    assert_eq!(session.status().signed, 1);
    assert_eq!(said(&verified(&model).unwrap()).step, Some(2));
}

fn look(last_seen: &LastSeen, model: &Path) -> Result<VerifiedModel, autosign_session::Error> {
    look_by("p256.pub.pem", last_seen, model)
}

fn look_by(
    public: &str,
    last_seen: &LastSeen,
    model: &Path,
) -> Result<VerifiedModel, autosign_session::Error> {
    let verifier = KeyVerifier::read(&key(public)).unwrap();
    let (policy, hashing) = (Policy::default(), Hashing::default());
    let signature = signature_path(model);
    autosign_session::verify(
        model,
        &signature,
        &verifier,
        &policy,
        Some(last_seen),
        hashing,
    )
}

fn fault(error: &autosign_session::Error) -> &AnnotationFault {
    let autosign_session::Error::Signing(error) = error else {
        panic!("{error}")
    };
    let SigningError::Annotation(fault) = error.root() else {
        panic!("{error}")
    };
    fault
}

#[test]
fn an_older_checkpoint_than_one_that_was_verified_is_refused() {
    let fixture = Fixture::new();
    let session = fixture.start(RUN);
    let (one, two) = (fixture.path("1.pt"), fixture.path("2.pt"));
    save(&session, &one);
    save(&session, &two);
    let state = tempfile::tempdir().unwrap();
    let last_seen = LastSeen::new(state.path().join("seen.json"));
    look(&last_seen, &one).unwrap();
    look(&last_seen, &two).unwrap();
    look(&last_seen, &two).unwrap();
    let refused = look(&last_seen, &one).unwrap_err();
    assert!(
        matches!(fault(&refused), AnnotationFault::RolledBack { run, last, found } if run == "tune-7" && last > found)
    );
    // What is refused, and what is tampered with, is not remembered.
    look(&last_seen, &two).unwrap();
    let three = fixture.path("3.pt");
    save(&session, &three);
    std::fs::write(&three, b"tampered").unwrap();
    look(&last_seen, &three).unwrap_err();
    look(&last_seen, &two).unwrap();
    // Of another run nothing is known.
    let other = fixture.path("other.pt");
    save(&fixture.start(&[]), &other);
    look(&last_seen, &other).unwrap();
}

#[test]
fn the_files_of_one_step_are_verified_again_in_any_order() {
    let fixture = Fixture::new();
    let session = fixture.start(RUN);
    let [old, model, optim, next] =
        ["old.pt", "model.pt", "optim.pt", "next.pt"].map(|name| fixture.path(name));
    for (path, step) in [(&old, 5), (&model, 10), (&optim, 10), (&next, 20)] {
        session.set_step(Some(step));
        save(&session, path);
    }
    let state = tempfile::tempdir().unwrap();
    let last_seen = LastSeen::new(state.path().join("seen.json"));
    for path in [&model, &optim, &model, &optim] {
        look(&last_seen, path).unwrap();
    }
    let newest = std::fs::read(state.path().join("seen.json")).unwrap();
    look(&last_seen, &model).unwrap();
    assert_eq!(
        std::fs::read(state.path().join("seen.json")).unwrap(),
        newest
    );
    look(&last_seen, &old).unwrap_err();
    look(&last_seen, &next).unwrap();
    let refused = look(&last_seen, &optim).unwrap_err();
    assert!(matches!(
        fault(&refused),
        AnnotationFault::RolledBack { .. }
    ));

    // What names no step is of none.
    session.set_step(None);
    let [one, two] = ["one.pt", "two.pt"].map(|name| fixture.path(name));
    save(&session, &one);
    save(&session, &two);
    look(&last_seen, &two).unwrap();
    look(&last_seen, &one).unwrap_err();
}

#[test]
fn another_signer_has_no_say_over_a_run() {
    let fixture = Fixture::new();
    let by_hand = |name: &str, signer: &str, said: Annotations| {
        let model = fixture.write(name, b"weights");
        let mut statement =
            state(Dialect::Oms, &model, &Ignore::default(), Hashing::default()).unwrap();
        statement.annotate(said);
        let signer = KeySigner::read(&key(signer), None).unwrap();
        let bundle = seal(&statement, &signer).unwrap();
        publish(&signature_path(&model), &bundle, Manner::Plain).unwrap();
        model
    };
    let place = |run: &str, sequence| Annotations {
        run: Some(run.to_owned()),
        sequence: Some(sequence),
        ..Annotations::default()
    };
    let other = by_hand("other.pt", "p384.pem", place("tune-7", u64::MAX));
    let own = by_hand("own.pt", "p256.pem", place("tune-7", 5));
    let folder = tempfile::tempdir().unwrap();
    let last_seen = LastSeen::new(folder.path().join("seen.json"));
    look_by("p384.pub.pem", &last_seen, &other).unwrap();
    look(&last_seen, &own).unwrap();
    let older = by_hand("older.pt", "p256.pem", place("tune-7", 4));
    look(&last_seen, &older).unwrap_err();
}

#[test]
fn a_memory_that_others_can_change_is_none() {
    let fixture = Fixture::new();
    let model = fixture.path("1.pt");
    save(&fixture.start(RUN), &model);
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join("seen.json");
    let last_seen = LastSeen::new(path.clone());
    look(&last_seen, &model).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    let refused = look(&last_seen, &model).unwrap_err();
    assert!(
        matches!(
            &refused,
            autosign_session::Error::Signing(SigningError::TrustWritable { .. })
        ),
        "{refused}"
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, b"{").unwrap();
    let refused = look(&last_seen, &model).unwrap_err();
    assert!(
        matches!(refused, autosign_session::Error::LastSeen { .. }),
        "{refused}"
    );
    assert!(refused.hint().contains("begin anew"));

    let folder = fixture.path("folder");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("weights"), b"1").unwrap();
    let inside = LastSeen::new(folder.join("seen.json"));
    let refused = look(&inside, &folder).unwrap_err();
    assert!(
        matches!(
            &refused,
            autosign_session::Error::Signing(SigningError::TrustInModel { path }) if path.ends_with("folder/seen.json")
        ),
        "{refused}"
    );
    // Beside a model of one file, which is not in it.
    look(&LastSeen::new(fixture.path("seen.json")), &model).unwrap();
}
