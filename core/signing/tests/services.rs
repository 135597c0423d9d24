//! Services that fail, stall and lie: nothing wrong is ever published, and no token goes where it does not belong.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod stack;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use autosign_signing::{
    Connection, Error, Hashing, Ignore, KeylessSigner, Sources, TokenFile, TokenText, TrustConfig,
    seal, sign,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use stack::{Answer, Hurried, OTHER, Proxy, STACK, origin, redirected, statement};

const KINDS: [&str; 3] = ["caUrls", "tsaUrls", "rekorTlogUrls"];

/// Signs a model with `trust`; whether a signature was published, and the error.
fn attempt(trust: TrustConfig) -> (bool, Result<(), Error>) {
    attempt_with(&STACK.signer(trust))
}

fn attempt_with(signer: &KeylessSigner) -> (bool, Result<(), Error>) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.pt");
    let signature = folder.path().join("model.pt.sig");
    std::io::Write::write_all(&mut std::fs::File::create_new(&model).unwrap(), b"weights").unwrap();
    let result = sign(
        &model,
        &signature,
        &Ignore::git(),
        signer,
        Hashing::default(),
    );
    (signature.exists(), result.map(|_| ()))
}

fn instances() -> [Value; 2] {
    ["trust_config", "trust_config_v1"].map(|name| STACK.trust_json(name))
}

fn edited(answer: &Answer, edit: impl FnOnce(&mut Value)) -> Answer {
    let mut body: Value = serde_json::from_slice(&answer.body).unwrap();
    edit(&mut body);
    Answer {
        body: body.to_string().into_bytes(),
        ..answer.clone()
    }
}

/// Gives every asker but the first what the first was given.
fn repeated() -> impl Fn(usize, Answer) -> Answer + Send + Sync + 'static {
    let first: Mutex<Option<Answer>> = Mutex::default();
    move |_, honest| first.lock().unwrap().get_or_insert(honest).clone()
}

#[test]
fn an_answer_to_somebody_else_is_no_answer() {
    for trust in instances() {
        for kind in KINDS {
            let proxy = Proxy::before(&origin(&trust, kind), repeated());
            let lied = redirected(&trust, kind, &proxy);
            let (published, first) = attempt(lied.clone());
            assert!(published, "the first is honest: {kind} {first:?}");
            let (published, second) = attempt(lied);
            let error = second.expect_err(kind);
            assert!(!published, "{kind}: {error}");
            // The entry of a v1 log has a time, which may be a second before the certificate's.
            let told = matches!(
                error,
                Error::ServiceMisbehaved { .. }
                    | Error::Certificate { .. }
                    | Error::LogEntry { .. }
                    | Error::SignatureNotCertified { .. }
            );
            assert!(told, "{kind}: {error}");
        }
    }
}

fn flip(value: &mut Value) {
    let mut bytes = STANDARD.decode(value.as_str().unwrap()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    *value = json!(STANDARD.encode(bytes));
}

/// The entry in a v1 log's answer.
fn v1_entry(body: &mut Value) -> &mut Value {
    body.as_object_mut().unwrap().values_mut().next().unwrap()
}

/// What a log changes in its honest answer.
type Lie = fn(&mut Value);

#[test]
fn a_log_that_lies_is_found_out() {
    let [v2, v1] = instances();
    let lies: [(&str, &Value, Lie); 9] = [
        ("SET", &v1, |b| {
            flip(&mut v1_entry(b)["verification"]["signedEntryTimestamp"]);
        }),
        ("time", &v1, |b| {
            v1_entry(b)["integratedTime"] = json!(1_600_000_000);
        }),
        ("v1 body", &v1, |b| flip(&mut v1_entry(b)["body"])),
        ("v1 root", &v1, |b| {
            v1_entry(b)["verification"]["inclusionProof"]["rootHash"] = json!("00".repeat(32));
        }),
        ("proof", &v2, |b| flip(&mut b["inclusionProof"]["rootHash"])),
        ("log", &v2, |b| flip(&mut b["logId"]["keyId"])),
        ("v2 body", &v2, |b| flip(&mut b["canonicalizedBody"])),
        ("nothing", &v2, |b| *b = json!({})),
        ("no entry", &v1, |b| *b = json!("entry")),
    ];
    for (what, trust, lie) in lies {
        let proxy = Proxy::before(&origin(trust, "rekorTlogUrls"), move |_, honest| {
            edited(&honest, lie)
        });
        let (published, result) = attempt(redirected(trust, "rekorTlogUrls", &proxy));
        let error = result.expect_err(what);
        assert!(!published, "{what}");
        let told = matches!(
            error,
            Error::ServiceMisbehaved { .. }
                | Error::LogEntry { .. }
                | Error::SignatureNotCertified { .. }
        );
        assert!(told, "{what}: {error}");
    }
}

#[test]
fn a_service_that_recovers_is_asked_again_and_one_that_refuses_is_not() {
    let trust = STACK.trust_json("trust_config");
    for kind in KINDS {
        let shaky = Proxy::before(&origin(&trust, kind), |number, honest| match number {
            0 => Answer {
                status: 503,
                headers: String::new(),
                body: b"busy".to_vec(),
            },
            1 => Answer {
                status: 429,
                headers: "retry-after: 7\r\n".to_owned(),
                body: Vec::new(),
            },
            _ => honest,
        });
        let clock = Arc::new(Hurried::default());
        let signer = STACK.signer_at(redirected(&trust, kind, &shaky), clock.clone());
        let (published, result) = attempt_with(&signer);
        assert!(published, "{kind}: {result:?}");
        let pauses = clock.0.lock().unwrap();
        // A v2 log that took the entry, and whose answer was lost, wants another signature.
        let asked = if kind == "rekorTlogUrls" { 4 } else { 3 };
        assert_eq!((shaky.asked(), pauses.len()), (asked, 2), "{kind}");
        assert!(pauses[0] < Duration::from_secs(1) && pauses[1] >= Duration::from_secs(7));

        for (status, asked) in [(400, 1), (401, 1), (403, 1), (503, 5)] {
            let refusing = Proxy::before(&origin(&trust, kind), move |_, honest| Answer {
                status,
                body: b"no eyJhbGciOiJub25lIn0.eyJzdWIiOiJzIn0.c2ln\x1b[2J".to_vec(),
                ..honest
            });
            let (published, result) = attempt(redirected(&trust, kind, &refusing));
            let error = result.expect_err(kind);
            let Error::Service { status: told, .. } = &error else {
                panic!("{kind}: {error}")
            };
            assert_eq!(
                (published, *told, refusing.asked()),
                (false, Some(status), asked),
                "{kind}"
            );
            let text = error.to_string();
            assert!(!text.contains("eyJ") && !text.contains('\x1b'), "{text}");
        }
    }
}

#[test]
fn an_answer_that_repeats_what_was_sent_is_not_quoted() {
    let trust = STACK.trust_json("trust_config");
    let sent = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzIn0.c2ln";
    for kind in ["caUrls", "rekorTlogUrls"] {
        let echo = Proxy::before(&origin(&trust, kind), move |_, honest| Answer {
            body: json!(sent).to_string().into_bytes(),
            ..honest
        });
        let (published, result) = attempt(redirected(&trust, kind, &echo));
        let error = result.expect_err(kind);
        assert!(matches!(error, Error::ServiceMisbehaved { .. }) && !published);
        let text = error.to_string();
        assert!(text.contains("[token]") && !text.contains("eyJ"), "{text}");
    }
}

#[test]
fn a_redirect_is_not_followed() {
    let trust = STACK.trust_json("trust_config");
    let elsewhere = Proxy::before(&origin(&trust, "caUrls"), |_, honest| honest);
    let location = format!("location: {}/api/v2/signingCert\r\n", elsewhere.url);
    for status in [301, 302, 307, 308] {
        let headers = location.clone();
        let sly = Proxy::before(&origin(&trust, "caUrls"), move |_, honest| Answer {
            status,
            headers: headers.clone(),
            ..honest
        });
        let (published, result) = attempt(redirected(&trust, "caUrls", &sly));
        assert!(
            !published && matches!(result, Err(Error::Service { .. })),
            "{status}"
        );
    }
    assert_eq!(elsewhere.asked(), 0, "the token went elsewhere");
}

#[test]
fn an_endless_answer_ends() {
    let trust = STACK.trust_json("trust_config");
    for kind in KINDS {
        let flood = Proxy::before(&origin(&trust, kind), |_, honest| Answer {
            body: vec![b' '; 5 << 20],
            ..honest
        });
        let (published, result) = attempt(redirected(&trust, kind, &flood));
        assert!(
            !published && matches!(result, Err(Error::Service { .. })),
            "{kind}: {result:?}"
        );
    }
}

#[test]
fn the_token_is_sent_to_nobody_over_plain_http_beyond_this_machine() {
    let mut trust = STACK.trust_json("trust_config");
    for url in [
        "http://fulcio.example",
        "http://192.0.2.1:80",
        "ftp://127.0.0.2.example",
    ] {
        trust["signingConfig"]["caUrls"][0]["url"] = json!(url);
        let (published, result) = attempt(stack::parsed(&trust));
        let Err(Error::Service { reason, .. }) = result else {
            panic!("{url}: {result:?}")
        };
        assert!(!published && reason.contains("https"), "{url}: {reason}");
    }
}

#[test]
fn a_token_that_does_not_fit_is_not_sent() {
    let trust = STACK.trust_json("trust_config");
    let proxy = Proxy::before(&origin(&trust, "caUrls"), |_, honest| honest);
    let signer = |token: String| {
        let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
        let trust = redirected(&trust, "caUrls", &proxy);
        let tokens = Sources::only(Box::new(TokenText::new(token)), connection);
        KeylessSigner::new(trust, tokens).unwrap()
    };
    let mint = |claims: Value, query: &str| STACK.token("email", &claims, query);
    for token in [
        mint(json!({"aud": "sts.amazonaws.com"}), ""),
        mint(json!({"aud": ["a", "b"]}), ""),
        mint(json!({"aud": null}), ""),
        mint(json!({}), "ttl=-60"),
        mint(json!({}), "ttl=20"),
        String::new(),
        "no token".to_owned(),
    ] {
        let (published, result) = attempt_with(&signer(token.clone()));
        let error = result.expect_err(&token).to_string();
        assert!(!published && error.contains("identity token"), "{error}");
        assert!(token.is_empty() || !error.contains(&token), "{error}");
    }
    assert_eq!(proxy.asked(), 0);

    // Fits as far as can be seen here: Fulcio refuses it, and what it says holds no token.
    let forged = mint(json!({}), "key=unknown");
    let (published, result) = attempt_with(&signer(forged.clone()));
    let error = result.expect_err("forged");
    assert!(
        !published && matches!(error, Error::Service { .. }),
        "{error}"
    );
    assert!(!error.to_string().contains(&forged[..20]));
    attempt_with(&signer(mint(json!({"aud": ["other", "sigstore"]}), "")))
        .1
        .unwrap();
}

#[test]
fn one_certificate_for_many_signatures() {
    let trust = STACK.trust_json("trust_config");
    let proxy = Proxy::before(&origin(&trust, "caUrls"), |_, honest| honest);
    let signer = STACK.signer(redirected(&trust, "caUrls", &proxy));
    std::thread::scope(|scope| {
        for number in 0..8_u8 {
            let signer = &signer;
            scope.spawn(move || seal(&statement(&[number]), signer).unwrap());
        }
    });
    assert_eq!(proxy.asked(), 1);
}

#[test]
fn trust_files_that_others_can_write_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path: PathBuf = folder.path().join("trust.json");
    std::fs::copy(STACK.told("trust_config"), &path).unwrap();
    for (mode, good) in [(0o600, true), (0o644, true), (0o664, false), (0o646, false)] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        let read = TrustConfig::read(&path);
        assert_eq!(read.is_ok(), good, "{mode:o}");
    }
}

/// Fulcio refuses the first `refused` requests with 401, and `meanwhile` gets what the token's file is to hold by then.
fn renewed(
    refused: usize,
    meanwhile: impl Fn(usize) -> Option<String> + Send + Sync + 'static,
) -> (bool, usize, Result<(), Error>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    publish(&path, STACK.token("email", &json!({}), "").as_bytes());
    let file = path.clone();
    let trust = STACK.trust_json("trust_config_v1");
    let fulcio = Proxy::before(&origin(&trust, "caUrls"), move |number, honest| {
        if number >= refused {
            return honest;
        }
        match meanwhile(number) {
            Some(token) => publish(&file, token.as_bytes()),
            None => std::fs::remove_file(&file).unwrap(),
        }
        Answer {
            status: 401,
            body: b"no".to_vec(),
            ..honest
        }
    });
    let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
    let sources = Sources::only(Box::new(TokenFile::new(path)), connection);
    let trust = redirected(&trust, "caUrls", &fulcio);
    let (published, result) = attempt_with(&KeylessSigner::new(trust, sources).unwrap());
    (published, fulcio.asked(), result)
}

fn publish(path: &Path, content: &[u8]) {
    let file = std::fs::File::options();
    let mut file = file
        .clone()
        .create(true)
        .write(true)
        .truncate(true)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, content).unwrap();
}

fn fresh(number: usize) -> String {
    STACK.token("email", &json!({"jti": number}), "")
}

#[test]
fn a_token_that_is_refused_is_asked_for_once_more() {
    let (published, asked, result) = renewed(1, |number| Some(fresh(number)));
    assert!(published, "{result:?}");
    assert_eq!(asked, 2);

    let other = || STACK.token("email", &json!({"aud": "sts.amazonaws.com"}), "");
    for (what, expected, outcome) in [
        ("refused again", 2, renewed(9, |number| Some(fresh(number)))),
        ("gone", 1, renewed(9, |_| None)),
        ("for another", 1, renewed(9, move |_| Some(other()))),
    ] {
        let (published, asked, result) = outcome;
        let error = result.expect_err(what);
        let refused = matches!(
            error,
            Error::Service {
                status: Some(401),
                ..
            }
        );
        assert!(!published && refused, "{what}: {error}");
        assert_eq!(asked, expected, "{what}");
    }
}

#[test]
fn a_request_is_tried_again_as_often_as_it_may() {
    let trust = STACK.trust_json("trust_config");
    for (retries, tries) in [(0, 1), (1, 2), (6, 7)] {
        let busy = Proxy::before(&origin(&trust, "caUrls"), |_, honest| Answer {
            status: 503,
            ..honest
        });
        let token = TokenText::new(STACK.token("email", &json!({}), ""));
        let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
        let sources = Sources::only(Box::new(token), connection.with_retries(retries));
        let signer = KeylessSigner::new(redirected(&trust, "caUrls", &busy), sources).unwrap();
        let (published, result) = attempt_with(&signer);
        assert!(!published && result.is_err());
        assert_eq!(busy.asked(), tries);
    }
}

#[test]
fn a_signature_takes_no_longer_than_it_may() {
    // It takes connections, and is silent.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut trust = STACK.trust_json("trust_config");
    let url = format!("http://{}", silent.local_addr().unwrap());
    trust["signingConfig"]["caUrls"][0]["url"] = json!(url);
    let signer = STACK.signer(stack::parsed(&trust));
    let start = Instant::now();
    let (published, result) = attempt_with(&signer.with_timeout(Duration::from_secs(1)));
    let took = start.elapsed();
    assert!(!published && matches!(result, Err(Error::Service { .. })));
    // One try alone may take 10 s.
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(8));
}

#[test]
fn a_timestamp_authority_that_the_root_does_not_name_publishes_nothing() {
    let url = |trust: &Value| {
        let url = trust["signingConfig"]["tsaUrls"][0]["url"].as_str();
        url.unwrap().to_owned()
    };
    for trust in instances() {
        let own = stack::parsed(&trust).with_timestamp_authority(&url(&trust));
        let (published, result) = attempt(own.unwrap());
        assert!(published, "{result:?}");

        let other = OTHER.trust_json("trust_config");
        let other = stack::parsed(&trust).with_timestamp_authority(&url(&other));
        let (published, result) = attempt(other.unwrap());
        let error = result.unwrap_err();
        assert!(
            !published && matches!(error, Error::Timestamp { .. }),
            "{error}"
        );
    }
}

#[test]
fn the_log_is_of_the_version_that_is_asked_for() {
    let [mut both, v1] = instances();
    let logs = &mut both["signingConfig"]["rekorTlogUrls"];
    let log = v1["signingConfig"]["rekorTlogUrls"][0].clone();
    logs.as_array_mut().unwrap().push(log);
    for (version, kind) in [(1, "dsse"), (2, "hashedrekord")] {
        let trust = stack::parsed(&both).with_rekor_version(version).unwrap();
        let bytes = seal(&statement(b"weights"), &STACK.signer(trust)).unwrap();
        let bundle: Value = serde_json::from_slice(&bytes).unwrap();
        let entry = &bundle["verificationMaterial"]["tlogEntries"][0];
        assert_eq!(entry["kindVersion"]["kind"], kind);
    }
}
