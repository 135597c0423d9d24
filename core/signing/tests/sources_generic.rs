//! Tokens from what the settings name: a program, a web service, an exchange; through the real Fulcio.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod platform;
mod stack;

use std::path::Path;
use std::time::{Duration, Instant};

use autosign_signing::{
    Credentials, Deadline, Error, IdentityToken, Sources, SubjectType, TokenCommand, TokenExchange,
    TokenRequest, TokenSource, TokenText,
};
use platform::{Platform, machine, program, signed};
use serde_json::json;
use stack::STACK;
use zeroize::Zeroizing;

const PATIENCE: Duration = Duration::from_secs(20);

fn token() -> String {
    STACK.token("email", &json!({}), "")
}

fn alice() -> String {
    format!("alice@example.test ({})", STACK.provider("email"))
}

fn sources(source: impl TokenSource + 'static, variables: &[(&str, &str)]) -> Sources {
    let here = machine(variables, Path::new("/nowhere"));
    Sources::new(here, vec![Box::new(source)], &Credentials::default())
}

fn fetched(source: impl TokenSource + 'static, limit: Duration) -> Result<IdentityToken, Error> {
    sources(source, &[("PATH", "/usr/bin:/bin")]).fetch("sigstore", Deadline::within(limit))
}

fn command(script: &str) -> (tempfile::TempDir, TokenCommand) {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "token", script);
    let text = format!("'{}/token' \"an argument\"", folder.path().display());
    let command = TokenCommand::parse(&text).unwrap();
    (folder, command)
}

fn why(result: Result<IdentityToken, Error>) -> String {
    result.err().expect("a token").to_string()
}

#[test]
fn a_program_prints_a_token_or_json_with_one() {
    let json = json!({"version": 1, "token": token(), "expires_at": "2030-01-01T00:00:00Z"});
    for printed in [token(), json.to_string()] {
        let script = format!("[ \"$1\" = 'an argument' ] && echo ' {printed}'");
        let (_folder, command) = command(&script);
        let sources = sources(command, &[("PATH", "/usr/bin:/bin")]);
        assert_eq!(signed(sources).unwrap(), alice());
    }
}

#[test]
fn a_program_gets_the_audience_and_no_secret_of_ours() {
    let (_folder, command) = command("env >&2; exit 3");
    let variables = [
        ("PATH", "/usr/bin:/bin"),
        ("SITE", "of the job"),
        ("MODEL_SIGNING_PASSWORD", "sesame"),
        ("MODEL_SIGNING_IDENTITY_TOKEN", "sesame"),
        ("MODEL_SIGNING_IDENTITY_TOKEN_HEADERS", "X: sesame"),
        (
            "MODEL_SIGNING_IDENTITY_TOKEN_URL",
            "https://a.example/?key=sesame",
        ),
    ];
    let sources = sources(command, &variables);
    let error = why(sources.fetch("sigstore", Deadline::within(PATIENCE)));
    for told in [
        "exit status: 3",
        "MODEL_SIGNING_AUDIENCE=sigstore",
        "SITE=of the job",
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
    assert!(!error.contains("sesame"), "{error}");
}

#[test]
fn what_a_program_prints_is_never_told() {
    let jwt = token();
    for (script, reason) in [
        (
            format!("echo {jwt}; echo no: {jwt} >&2; exit 1"),
            "exit status: 1: no: [token]",
        ),
        ("echo sesame".to_owned(), "three parts"),
        (
            "echo '{\"token\": 1, \"other\": \"sesame\"}'".to_owned(),
            "no text at /token",
        ),
        ("echo '{\"token\": sesame'".to_owned(), "not JSON"),
        ("kill -9 $$".to_owned(), "signal: 9"),
        (String::new(), "it is empty"),
    ] {
        let (_folder, command) = command(&script);
        let error = why(fetched(command, PATIENCE));
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(
            !error.contains("sesame") && !error.contains("eyJ"),
            "{error}"
        );
    }
    let error = why(fetched(
        TokenCommand::parse("/no/such/program").unwrap(),
        PATIENCE,
    ));
    assert!(error.contains("cannot be started"), "{error}");
    for text in ["", "  ", "a 'b"] {
        assert!(TokenCommand::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_program_that_does_not_end_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let alive = folder.path().join("alive");
    let script = format!("(sleep 2; touch '{}') & sleep 60", alive.display());
    let (_folder, command) = command(&script);
    let start = Instant::now();
    let error = why(fetched(command, Duration::from_millis(300)));
    assert!(error.contains("took too long"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
    std::thread::sleep(Duration::from_millis(2300));
    assert!(!alive.exists(), "its child went on");
}

#[test]
fn a_program_is_not_looked_for_in_the_working_folder() {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), "token", &format!("echo {}", token()));
    let absolute = folder.path().to_str().unwrap();
    let up = "../".repeat(std::env::current_dir().unwrap().components().count() - 1);
    let relative = format!("{up}{}", absolute.trim_start_matches('/'));
    assert!(Path::new(&relative).join("token").is_file());
    let fetch = |path: &str| {
        let command = TokenCommand::parse("token").unwrap();
        let sources = sources(command, &[("PATH", path)]);
        sources.fetch("sigstore", Deadline::within(PATIENCE))
    };
    assert!(why(fetch(&relative)).contains("not on the PATH"));
    fetch(absolute).unwrap();
}

#[test]
fn a_program_that_floods_is_ended() {
    let (_folder, command) = command("exec cat /dev/zero");
    let error = why(fetched(command, PATIENCE));
    assert!(error.contains("printed too much"), "{error}");
}

#[test]
fn a_daemon_that_keeps_the_output_open_is_not_waited_for() {
    let jwt = token();
    let (_folder, command) = command(&format!("sleep 5 & echo {jwt}"));
    let start = Instant::now();
    fetched(command, PATIENCE).unwrap();
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_web_service_gives_a_token() {
    for (field, answer) in [
        (None, token()),
        (Some("value"), json!({"value": token()}).to_string()),
        (
            Some("/data/0/a~1b"),
            json!({"data": [{"a/b": token()}]}).to_string(),
        ),
        (Some("a/b"), json!({"a/b": token()}).to_string()),
    ] {
        let service = Platform::new(move |_| (200, answer.clone()));
        let url = service.url("/token?aud={audience}");
        let headers = Some("X-Secret: open sesame; Accept: application/json;");
        let request = TokenRequest::new(url, headers, field).unwrap();
        assert_eq!(signed(sources(request, &[])).unwrap(), alice(), "{field:?}");
        let [asked] = &service.seen()[..] else {
            panic!("one request")
        };
        assert_eq!(asked.target, "/token?aud=sigstore");
        assert_eq!(asked.header("x-secret"), "open sesame");
    }
}

#[test]
fn the_headers_of_a_request_may_be_in_a_file_that_is_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headers");
    let jwt = token();
    let service = Platform::new(move |_| (200, jwt.clone()));
    let request = TokenRequest::new(service.url("/"), Some("X-Secret: stale"), None).unwrap();
    let sources = sources(request.with_headers_file(path.clone()), &[]);
    let fetch = || sources.fetch("sigstore", Deadline::within(PATIENCE));
    for (text, secret, other) in [
        ("X-Secret: open sesame\n", "open sesame", ""),
        ("X-Secret: new; X-Other: one\n", "new", "one"),
        ("X-Secret: newer\r\nX-Other: two;\n\n", "newer", "two"),
        ("\n", "", ""),
    ] {
        std::fs::write(&path, text).unwrap();
        fetch().unwrap();
        let seen = service.seen();
        let asked = seen.last().unwrap();
        let sent = (asked.header("x-secret"), asked.header("x-other"));
        assert_eq!(sent, (secret, other), "{text:?}");
    }
    let asked = service.seen().len();
    for text in ["X-Secret: a\nsesame", "sesame", "X: \u{7}"] {
        std::fs::write(&path, text).unwrap();
        let error = why(fetch());
        assert!(
            error.contains("NAME: VALUE") && error.contains(path.to_str().unwrap()),
            "{error}"
        );
        assert!(!error.contains("sesame"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
    let error = why(fetch());
    assert!(
        error.contains(path.parent().unwrap().to_str().unwrap()),
        "{error}"
    );
    assert!(
        !error.contains(path.to_str().unwrap()),
        "it may be the header itself: {error}"
    );
    assert_eq!(service.seen().len(), asked, "nobody is asked without them");
}

#[test]
fn a_web_service_that_fails_is_told_without_secrets() {
    let jwt = token();
    for (status, body, reason) in [
        (403, format!("no: {jwt}"), "403"),
        (302, String::new(), "302"),
        (200, json!({"other": jwt}).to_string(), "no text at /token"),
        (200, "<html>".to_owned(), "three parts"),
    ] {
        let service = Platform::new(move |_| (status, body.clone()));
        let request = TokenRequest::new(service.url("/"), Some("X: sesame"), Some("token"));
        let error = why(fetched(request.unwrap(), PATIENCE));
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(
            !error.contains("eyJ") && !error.contains("sesame"),
            "{error}"
        );
    }
    let plain = TokenRequest::new("http://token.example/".to_owned(), None, None).unwrap();
    let error = why(fetched(plain, PATIENCE));
    assert!(error.contains("only https"), "{error}");
    let user = "https://me:sesame@127.0.0.1:1/".to_owned();
    let error = why(fetched(
        TokenRequest::new(user, None, None).unwrap(),
        PATIENCE,
    ));
    assert!(
        error.contains("has a user in it") && !error.contains("sesame"),
        "{error}"
    );
    for headers in ["X", ": x", "X\nY: z", "X: a\nb"] {
        let request = TokenRequest::new(String::new(), Some(headers), None);
        assert!(request.is_err(), "{headers:?}");
    }
}

fn exchange(provider: &Platform, subject: String, secret: Option<&str>) -> TokenExchange {
    TokenExchange {
        url: provider.url("/token"),
        client_id: Some("trainer+1".to_owned()),
        client_secret: secret.map(|secret| Zeroizing::new(secret.to_owned())),
        connector: Some("aws".to_owned()),
        subject_type: SubjectType::default(),
        subject_audience: "trainer+1".to_owned(),
        subject: sources(TokenText::new(subject), &[]),
    }
}

#[test]
fn another_token_is_exchanged() {
    let subject = STACK.token("uri", &json!({"aud": "trainer+1"}), "");
    for (secret, field) in [(Some("open & shut"), "access_token"), (None, "id_token")] {
        let provider = Platform::new(move |_| {
            let mut answer = json!({"token_type": "bearer", "access_token": "opaque"});
            answer[field] = json!(token());
            (200, answer.to_string())
        });
        let source = exchange(&provider, subject.clone(), secret);
        assert_eq!(signed(sources(source, &[])).unwrap(), alice());
        let [asked] = &provider.seen()[..] else {
            panic!("one request")
        };
        for part in [
            "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
            "subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token",
            "requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aid_token",
            "audience=sigstore",
            "connector_id=aws",
            &format!("subject_token={subject}"),
        ] {
            assert!(asked.body.split('&').any(|one| one == part), "{part}");
        }
        if secret.is_some() {
            // base64 of "trainer%2B1:open+%26+shut"
            let basic = "Basic dHJhaW5lciUyQjE6b3BlbislMjYrc2h1dA==";
            assert_eq!(asked.header("authorization"), basic);
            assert!(!asked.body.contains("client_id"));
        } else {
            assert!(asked.body.contains("client_id=trainer%2B1"));
        }
    }
}

#[test]
fn the_token_to_exchange_is_called_what_the_provider_takes() {
    let subject = STACK.token("uri", &json!({"aud": "trainer+1"}), "");
    for (subject_type, name) in [
        (SubjectType::AccessToken, "access_token"),
        (SubjectType::IdToken, "id_token"),
        (SubjectType::Jwt, "jwt"),
    ] {
        // As Keycloak answers: an ID token by the name of an access token.
        let issued = "urn:ietf:params:oauth:token-type:id_token";
        let answer = json!({"access_token": token(), "issued_token_type": issued}).to_string();
        let provider = Platform::new(move |_| (200, answer.clone()));
        let mut source = exchange(&provider, subject.clone(), None);
        source.subject_type = subject_type;
        fetched(source, PATIENCE).unwrap();
        let expected = format!("urn:ietf:params:oauth:token-type:{name}");
        let body = provider.seen()[0].body.clone();
        let fields: Vec<_> = form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect();
        assert_eq!(platform::field(&fields, "subject_token_type"), expected);
        assert_eq!(platform::field(&fields, "requested_token_type"), issued);
    }
}

#[test]
fn a_token_for_another_audience_is_not_exchanged() {
    let provider = Platform::new(|_| (200, "{}".to_owned()));
    let wrong = STACK.token("uri", &json!({"aud": "sts.amazonaws.com"}), "");
    let error = why(fetched(exchange(&provider, wrong, None), PATIENCE));
    assert!(error.contains("sts.amazonaws.com"), "{error}");
    assert!(provider.seen().is_empty());
}

#[test]
fn an_exchange_that_is_refused_says_why_and_no_more() {
    let subject = STACK.token("uri", &json!({"aud": "trainer+1"}), "");
    for (status, body, reason) in [
        (
            400,
            json!({"error": "invalid_target", "error_description": "sesame"}),
            "invalid_target",
        ),
        (401, json!({"error": "sesame <b>"}), "without a reason"),
        (200, json!({"access_token": "sesame"}), "three parts"),
        (
            200,
            json!({"access_token": token(), "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"}),
            "without a reason",
        ),
        (
            200,
            json!({"error": "slow_down", "id_token": token()}),
            "slow_down",
        ),
        (500, json!({}), "500"),
    ] {
        let body = body.to_string();
        let provider = Platform::new(move |_| (status, body.clone()));
        let error = why(fetched(
            exchange(&provider, subject.clone(), Some("sesame")),
            PATIENCE,
        ));
        assert!(error.contains(reason), "{reason}: {error}");
        assert!(
            !error.contains("sesame") && !error.contains("eyJ"),
            "{error}"
        );
    }
}
