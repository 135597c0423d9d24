//! Tokens of SPIFFE agents: from the Workload API, through the real Fulcio, to the name in the certificate.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod platform;
mod stack;
mod workload_api;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use autosign_signing::{Clock, Connection, Error, Surroundings};
use platform::{SHORT, certified, fetched, fetched_within, machine};
use serde_json::json;
use stack::{Hurried, STACK};
use workload_api::{Reply, WorkloadApi, field, response};

const TRAINER: &str = "spiffe://example.test/ns/ml/sa/trainer";
const OTHER: &str = "spiffe://example.test/ns/ml/sa/other";

fn svid(id: &str) -> String {
    STACK.token("spiffe", &json!({ "sub": id }), "")
}

fn spiffe_signs_as(id: &str) -> String {
    format!("{id} ({})", STACK.provider("spiffe"))
}

fn workload(api: &WorkloadApi) -> Surroundings {
    machine(
        &[("SPIFFE_ENDPOINT_SOCKET", &api.socket)],
        Path::new("/none"),
    )
}

#[test]
fn an_agent_gives_a_token_for_our_audience() {
    let folder = tempfile::tempdir().unwrap();
    let answer = |_: usize, _: &_| Reply::svids(&[(TRAINER, &svid(TRAINER))]);
    let path = folder.path().join("agent.sock");
    for api in [WorkloadApi::tcp(answer), WorkloadApi::unix(&path, answer)] {
        assert_eq!(certified(workload(&api)).unwrap(), spiffe_signs_as(TRAINER));
        let asked = api.seen()[0].clone();
        assert_eq!(
            (&*asked.audience, &*asked.spiffe_id),
            (&["sigstore".to_owned()][..], "")
        );
    }
}

#[test]
fn a_thread_with_a_runtime_may_ask() {
    let token = svid(TRAINER);
    let api = WorkloadApi::tcp(move |_, _| Reply::svids(&[(TRAINER, &token)]));
    let here = workload(&api);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(async { fetched(here) }).unwrap();
}

#[test]
fn one_of_several_identities_is_chosen_by_its_id() {
    let api = WorkloadApi::tcp(|_, asked| {
        let all = [TRAINER, OTHER].map(|id| (id, svid(id)));
        let all: Vec<_> = all.iter().map(|(id, token)| (*id, &**token)).collect();
        let wanted = |(id, _): &(&str, &str)| asked.spiffe_id.is_empty() || asked.spiffe_id == *id;
        let granted: Vec<_> = all.into_iter().filter(wanted).collect();
        if granted.is_empty() {
            Reply::refusal(7, "no identity issued")
        } else {
            Reply::svids(&granted)
        }
    });
    assert_eq!(certified(workload(&api)).unwrap(), spiffe_signs_as(TRAINER));
    let as_one = |id: &str, api: &WorkloadApi| {
        let variables = [
            ("SPIFFE_ENDPOINT_SOCKET", &*api.socket),
            ("MODEL_SIGNING_SPIFFE_ID", id),
        ];
        certified(machine(&variables, Path::new("/none")))
    };
    assert_eq!(as_one(OTHER, &api).unwrap(), spiffe_signs_as(OTHER));
    let error = as_one("spiffe://example.test/nobody", &api).unwrap_err();
    assert!(
        error.to_string().contains("MODEL_SIGNING_SPIFFE_ID"),
        "{error}"
    );

    // An agent that gives all of them all the same.
    let api =
        WorkloadApi::tcp(|_, _| Reply::svids(&[(TRAINER, &svid(TRAINER)), (OTHER, &svid(OTHER))]));
    assert_eq!(as_one(OTHER, &api).unwrap(), spiffe_signs_as(OTHER));
    let error = as_one("spiffe://example.test/ns/ml/sa/oth", &api).unwrap_err();
    assert!(error.to_string().contains(TRAINER), "{error}");
}

/// `here` with a clock whose pauses can be looked at.
fn watched(mut here: Surroundings) -> (Surroundings, Arc<Hurried>) {
    let clock = Arc::new(Hurried::default());
    let shared: Arc<dyn Clock> = clock.clone();
    here.connection = Connection::new(None, shared).unwrap();
    (here, clock)
}

#[test]
fn an_agent_may_need_time_to_know_a_process() {
    let api = WorkloadApi::tcp(|number, _| match number {
        0 => Reply::refusal(7, "no identity issued"),
        1 => Reply::late_refusal(7, "no identity issued"),
        2 => Reply::refusal(14, "starting"),
        3 => Reply {
            http_status: 503,
            ..Reply::refusal(0, "")
        },
        _ => Reply::svids(&[(TRAINER, &svid(TRAINER))]),
    });
    let (here, clock) = watched(workload(&api));
    assert_eq!(certified(here).unwrap(), spiffe_signs_as(TRAINER));
    let pauses = clock.0.lock().unwrap().clone();
    assert_eq!((pauses.len(), api.seen().len()), (4, 5));
    let longest = Duration::from_secs(4);
    assert!(pauses.iter().all(|pause| *pause <= longest), "{pauses:?}");

    // But not all of the time that a signature has.
    let api = WorkloadApi::tcp(|_, _| Reply::refusal(7, "no identity issued"));
    let (here, clock) = watched(workload(&api));
    let error = certified(here).unwrap_err().to_string();
    assert!(
        error.contains("PERMISSION_DENIED: no identity issued"),
        "{error}"
    );
    assert!(error.contains("registration entry"), "{error}");
    let waited: Duration = clock.0.lock().unwrap().iter().sum();
    assert!(waited > Duration::from_secs(15), "{waited:?}");
    assert!(waited <= Duration::from_secs(30), "{waited:?}");
}

#[test]
fn an_agent_that_means_no_is_asked_once() {
    let api = |reply: Reply| WorkloadApi::tcp(move |_, _| reply.clone());
    for (reply, expected) in [
        (
            Reply::refusal(3, "security header missing from request"),
            "INVALID_ARGUMENT: security header",
        ),
        (Reply::late_refusal(12, "unknown"), "UNIMPLEMENTED: unknown"),
        (Reply::refusal(99, ""), "UNKNOWN"),
        (
            Reply {
                http_status: 404,
                headers: Vec::new(),
                ..Reply::refusal(0, "")
            },
            "HTTP status 404",
        ),
    ] {
        let api = api(reply);
        let error = certified(workload(&api)).unwrap_err();
        assert!(matches!(&error, Error::Service { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(api.seen().len(), 1, "{error}");
    }
    let svid = svid(TRAINER);
    let good = response(&[(TRAINER, &svid)]);
    let framed = Reply::message(&good);
    let cut = |message: &[u8]| Reply::message(&message[..message.len() - 1]);
    for reply in [
        Reply::message(b""),
        Reply::message(&field(2, b"no SVID")),
        Reply::message(&[0xff; 11]),
        Reply::message(&[0x0b]),
        cut(&good),
        Reply::message(&field(1, &[field(1, &[0xff]), field(2, b"a.b.c")].concat())),
        Reply::message(&[&good[..], &field(9, &vec![0; 1 << 20])].concat()),
        Reply {
            body: framed.body[1..].to_vec(),
            ..framed.clone()
        },
        Reply {
            body: [&[1], &framed.body[1..]].concat(),
            ..framed.clone()
        },
        Reply {
            body: framed.body.repeat(2),
            ..framed.clone()
        },
        Reply {
            trailers: Vec::new(),
            ..framed.clone()
        },
        Reply {
            trailers: vec![("x", String::new())],
            ..framed.clone()
        },
        Reply {
            body: Vec::new(),
            ..framed
        },
        // The SVID of another one.
        Reply::svids(&[(OTHER, &svid)]),
    ] {
        let api = api(reply);
        let error = certified(workload(&api)).unwrap_err();
        assert!(matches!(&error, Error::ServiceMisbehaved { .. }), "{error}");
        assert!(!error.to_string().contains(&svid), "{error}");
        assert_eq!(api.seen().len(), 1, "{error}");
    }
}

#[test]
fn a_message_may_have_fields_that_are_new_and_large() {
    let api = WorkloadApi::tcp(|_, _| {
        let padding = field(9, &vec![7; 1 << 19]);
        let varint_and_fixed = [&[0x50, 0xff, 0x01, 0x5d, 1, 2, 3, 4, 0x59][..], &[0; 8]].concat();
        let svids = response(&[(TRAINER, &svid(TRAINER))]);
        Reply::message(&[varint_and_fixed, padding, svids].concat())
    });
    assert_eq!(certified(workload(&api)).unwrap(), spiffe_signs_as(TRAINER));
}

#[test]
fn an_svid_without_an_issuer_says_what_spire_needs() {
    let token = STACK.token("spiffe", &json!({ "iss": null }), "");
    let api = WorkloadApi::tcp(move |_, _| Reply::svids(&[(TRAINER, &token)]));
    let error = certified(workload(&api)).unwrap_err().to_string();
    assert!(error.contains("jwt_issuer"), "{error}");
}

#[test]
fn what_is_no_agent_is_an_error_and_no_panic() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        &[0xff; 4096],
        b"",
        &[0; 64],
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = format!("tcp://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // The other side may have gone.
                let _ = std::io::Write::write_all(&mut stream.unwrap(), answer);
            }
        });
        let variables = [("SPIFFE_ENDPOINT_SOCKET", &*socket)];
        let error = fetched(machine(&variables, Path::new("/none"))).unwrap_err();
        assert!(
            matches!(
                &error,
                Error::Service { .. } | Error::ServiceMisbehaved { .. }
            ),
            "{error}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "no socket").unwrap();
    let file = format!("unix://{}", folder.path().join("file").display());
    for (socket, expected) in [
        (&*file, "cannot be used"),
        ("tcp://127.0.0.1:1", "cannot be used"),
        (
            "tcp://localhost:8081",
            "neither unix:///PATH nor tcp://IP:PORT",
        ),
        ("tcp://127.0.0.1", "neither"),
        ("tcp://127.0.0.1:8081/x", "neither"),
        ("unix://relative", "neither"),
        ("/tmp/agent.sock", "neither"),
        ("http://127.0.0.1:8081", "neither"),
    ] {
        let variables = [("SPIFFE_ENDPOINT_SOCKET", socket)];
        let error = fetched(machine(&variables, Path::new("/none"))).unwrap_err();
        assert!(error.to_string().contains(expected), "{socket} {error}");
    }
    let variables = [("SPIFFE_ENDPOINT_SOCKET", "unix:///none/agent.sock")];
    let error = fetched(machine(&variables, Path::new("/none"))).unwrap_err();
    assert!(matches!(&error, Error::NoToken { .. }), "{error}");
    assert!(
        error.to_string().contains("mount the agent's socket"),
        "{error}"
    );
}

#[test]
fn nobody_waits_longer_than_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = format!("tcp://{}", listener.local_addr().unwrap());
    let variables = [("SPIFFE_ENDPOINT_SOCKET", &*socket)];
    let start = Instant::now();
    let error = fetched_within(machine(&variables, Path::new("/none")), SHORT).unwrap_err();
    assert!(error.to_string().contains("no answer in"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5), "{error}");
}
