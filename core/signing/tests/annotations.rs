//! What a signer says beside the files: read as it was written, and refused where it is not what a verifier asks for.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::time::{Duration, SystemTime};

use autosign_signing::{
    AnnotationFault, Annotations, Dialect, Digest, Error, ErrorKind, Freshness, Hashing, Ignore,
    Manner, Policy, Statement, publish, seal, state,
};
use common::{Fixture, signer};
use serde_json::json;

const CREATED: u64 = 1_764_000_000;

fn created() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(CREATED)
}

fn said() -> Annotations {
    Annotations {
        run: Some("tune 7 \u{fc}".to_owned()),
        step: Some(1500),
        sequence: Some(CREATED * 1000),
        created: Some(created()),
        parent: Some(Digest::of(b"the one before")),
    }
}

fn statement(fixture: &Fixture, dialect: Dialect) -> Statement {
    let ignore = Ignore::new(&fixture.model, Some(&fixture.signature), &[], true).unwrap();
    state(dialect, &fixture.model, &ignore, Hashing::default()).unwrap()
}

fn signed(said: Annotations) -> Fixture {
    let fixture = Fixture::unsigned(&[("a", b"1")]);
    let mut statement = statement(&fixture, Dialect::Oms);
    statement.annotate(said);
    let bytes = seal(&statement, &signer("p256.pem")).unwrap();
    publish(&fixture.signature, &bytes, Manner::Plain).unwrap();
    fixture
}

fn refused(fixture: &Fixture, freshness: Freshness) -> AnnotationFault {
    let policy = Policy {
        freshness,
        ..Policy::default()
    };
    let error = fixture.verify_with(&policy).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    let Error::Annotation(fault) = error.root() else {
        panic!("{error}")
    };
    fault.clone()
}

#[test]
fn what_is_said_is_verified_with_the_files() {
    let fixture = signed(said());
    let verified = fixture.verify().unwrap();
    assert_eq!(*verified.manifest().annotations(), said());

    let mut statement = statement(&fixture, Dialect::Oms);
    assert_ne!(
        statement.digest().unwrap(),
        verified.manifest().payload_digest()
    );
    statement.annotate(said());
    assert_eq!(
        statement.digest().unwrap(),
        verified.manifest().payload_digest()
    );
}

#[test]
fn a_statement_that_says_nothing_has_no_such_field() {
    let fixture = Fixture::unsigned(&[("a", b"1")]);
    for dialect in [Dialect::Oms, Dialect::ModelSigning1] {
        let mut statement = statement(&fixture, dialect);
        let text = String::from_utf8(statement.to_json().unwrap()).unwrap();
        assert!(!text.contains("annotations"), "{text}");
        statement.annotate(said());
        let read = Statement::parse(&statement.to_json().unwrap()).unwrap();
        assert_eq!(*read.annotations(), said());
    }
}

#[test]
fn an_older_or_another_checkpoint_is_refused_on_request() {
    let fixture = signed(said());
    let later = created() + Duration::from_secs(1);
    let wanted = Freshness {
        run: said().run,
        min_step: Some(1500),
        not_before: Some(created()),
        not_after: Some(created()),
    };
    let policy = Policy {
        freshness: wanted.clone(),
        ..Policy::default()
    };
    fixture.verify_with(&policy).unwrap();

    let run = Some("tune 8".to_owned());
    let found = refused(
        &fixture,
        Freshness {
            run,
            ..wanted.clone()
        },
    );
    assert!(matches!(found, AnnotationFault::Run { found: Some(_), .. }));
    let min_step = Some(1501);
    let found = refused(
        &fixture,
        Freshness {
            min_step,
            ..wanted.clone()
        },
    );
    assert!(matches!(
        found,
        AnnotationFault::Step {
            found: Some(1500),
            ..
        }
    ));
    let not_before = Some(later);
    let found = refused(
        &fixture,
        Freshness {
            not_before,
            ..wanted.clone()
        },
    );
    assert!(matches!(
        found,
        AnnotationFault::Created { found: Some(_), .. }
    ));

    let age = Duration::from_secs(60);
    let in_time = Freshness::default().not_older_than(Some(age), created() + age);
    assert_eq!(in_time.check(&said()), Ok(()));
    let late = Freshness::default().not_older_than(Some(age), later + age);
    assert!(late.check(&said()).is_err());
    // Older than time itself: anything is younger.
    let forever = Freshness::default().not_older_than(Some(Duration::MAX), later);
    assert_eq!(forever.check(&said()), Ok(()));
}

#[test]
fn a_time_that_is_yet_to_come_is_refused_where_the_age_is_asked_for() {
    let fixture = signed(said());
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let asked = |now| Freshness::default().not_older_than(Some(minutes(1)), now);
    // The clocks of two machines differ.
    let slow = asked(created() - minutes(5));
    assert_eq!(slow.check(&said()), Ok(()));
    let now = created() - minutes(5) - Duration::from_secs(1);
    let fault = refused(&fixture, asked(now));
    assert!(
        matches!(fault, AnnotationFault::Future { latest, found } if (latest, found) == (now, created()))
    );
    assert!(fault.to_string().contains("which is after"), "{fault}");
    // Nobody asked for it.
    fixture.verify().unwrap();
    let since = Freshness {
        not_before: Some(created()),
        ..Freshness::default()
    };
    assert_eq!(since.check(&said()), Ok(()));
}

#[test]
fn a_run_has_a_name_of_some_length_where_it_is_written_and_read() {
    let named = |bytes: usize| Annotations {
        run: Some("x".repeat(bytes)),
        ..said()
    };
    let fixture = signed(named(256));
    let mut statement = fixture.verify().unwrap().manifest().statement().clone();
    let written = String::from_utf8(statement.to_json().unwrap()).unwrap();
    let longer = written.replace(&"x".repeat(256), &"x".repeat(257));
    statement.annotate(named(257));
    let written = seal(&statement, &signer("p256.pem")).map(drop);
    for error in [written, Statement::parse(longer.as_bytes()).map(drop)] {
        let error = error.unwrap_err();
        let Error::Annotation(AnnotationFault::RunTooLong {
            found: 257,
            limit: 256,
        }) = error
        else {
            panic!("{error}")
        };
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
}

#[test]
fn what_is_not_said_fulfils_nothing() {
    let fixture = Fixture::signed(&[("a", b"1")]);
    let run = Freshness {
        run: Some("tune 7".to_owned()),
        ..Freshness::default()
    };
    let step = Freshness {
        min_step: Some(0),
        ..Freshness::default()
    };
    let time = Freshness {
        not_before: Some(SystemTime::UNIX_EPOCH),
        ..Freshness::default()
    };
    for freshness in [run, step, time] {
        let fault = refused(&fixture, freshness);
        assert!(fault.to_string().contains("is missing"), "{fault}");
    }
}

#[test]
fn what_cannot_be_read_is_refused_and_what_is_another_s_is_left_alone() {
    let fixture = signed(said());
    let payload = fixture.verify().unwrap();
    let payload = payload.manifest().statement().to_json().unwrap();
    let with = |annotations: serde_json::Value| {
        let mut value: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        value["subject"][0]["annotations"] = annotations;
        Statement::parse(&serde_json::to_vec(&value).unwrap())
    };
    let ours = "model-signing-autosign";
    for wrong in [json!({"created": "yesterday"}), json!({"parent": "00"})] {
        let error = with(json!({ ours: wrong })).unwrap_err();
        assert!(matches!(
            error,
            Error::Annotation(AnnotationFault::Form { .. })
        ));
        assert_eq!(error.kind(), ErrorKind::Malformed);
    }
    for wrong in [
        json!({"step": -1}),
        json!({"step": "1"}),
        json!({"run": 1}),
        json!([]),
    ] {
        assert!(matches!(
            with(json!({ ours: wrong })),
            Err(Error::Json { .. })
        ));
    }
    for good in [
        json!(null),
        json!({}),
        json!({"step": "theirs"}),
        json!({ ours: {"later": 1} }),
    ] {
        assert!(with(good).unwrap().annotations().is_empty());
    }
}
