//! Tokens of CI systems: from what each shows a job, through the real Fulcio, to the name in the certificate.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod platform;
mod stack;

use autosign_signing::Error;
use platform::{Platform, certified, fetched, machine, program};
use serde_json::json;
use stack::STACK;

const WORKFLOW: &str = "https://github.com/acme/train/.github/workflows/t.yml@refs/heads/main";

#[test]
fn github_mints_a_token_for_our_audience() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!(
        "{}/github/runner/token?api-version=2.0",
        STACK.told("issuer")
    );
    let here = machine(
        &[
            ("GITHUB_ACTIONS", "true"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &url),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "RUNNER"),
        ],
        folder.path(),
    );
    let expected = format!("{WORKFLOW} ({})", STACK.provider("github"));
    assert_eq!(certified(here).unwrap(), expected);
}

#[test]
fn github_without_the_permission_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let here = machine(&[("GITHUB_ACTIONS", "true")], folder.path());
    let error = certified(here).unwrap_err();
    assert!(matches!(error, Error::NoToken { .. }), "{error}");
    assert!(error.to_string().contains("id-token: write"), "{error}");
}

#[test]
fn what_a_runner_refuses_is_told_without_its_secret() {
    let folder = tempfile::tempdir().unwrap();
    let runner = Platform::new(|request| (401, format!("no: {}", request.header("authorization"))));
    let secret = STACK.token("github", &json!({}), "");
    let here = machine(
        &[
            ("GITHUB_ACTIONS", "true"),
            ("ACTIONS_ID_TOKEN_REQUEST_URL", &runner.url("/token?a=b")),
            ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", &secret),
        ],
        folder.path(),
    );
    let error = certified(here).unwrap_err().to_string();
    assert!(error.contains("401") && !error.contains(&secret), "{error}");
    assert_eq!(runner.seen()[0].target, "/token?a=b&audience=sigstore");
}

const PIPELINE: &str = "https://gitlab.com/acme/train//.gitlab-ci.yml@refs/heads/main";

#[test]
fn gitlab_has_a_variable_for_our_audience() {
    let folder = tempfile::tempdir().unwrap();
    let expected = format!("{PIPELINE} ({})", STACK.provider("gitlab"));
    for aud in [json!("sigstore"), json!(["vault", "sigstore"])] {
        let token = STACK.token("gitlab", &json!({ "aud": aud }), "");
        let variables = [("GITLAB_CI", "true"), ("SIGSTORE_ID_TOKEN", &token)];
        let here = machine(&variables, folder.path());
        assert_eq!(certified(here).unwrap(), expected, "{aud}");
    }
}

#[test]
fn gitlab_is_where_it_says_true() {
    let folder = tempfile::tempdir().unwrap();
    let token = STACK.token("gitlab", &json!({}), "");
    let variables = [("GITLAB_CI", "false"), ("SIGSTORE_ID_TOKEN", &token)];
    let error = fetched(machine(&variables, folder.path())).unwrap_err();
    assert!(
        error.to_string().contains("GITLAB_CI is not true"),
        "{error}"
    );
    let error = fetched(machine(&[("GITLAB_CI", "true")], folder.path())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("id_tokens: {SIGSTORE_ID_TOKEN: {aud: sigstore}}"),
        "{error}"
    );
    let expired = STACK.token("gitlab", &json!({}), "ttl=-60");
    let variables = [("GITLAB_CI", "true"), ("SIGSTORE_ID_TOKEN", &expired)];
    let error = fetched(machine(&variables, folder.path())).unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
}

#[test]
fn a_broken_platform_does_not_stop_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let runner = Platform::new(|_| (500, "down".to_owned()));
    let token = STACK.token("gitlab", &json!({}), "");
    let url = runner.url("/token");
    let variables = [
        ("GITHUB_ACTIONS", "true"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", url.as_str()),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "RUNNER"),
        ("GITLAB_CI", "true"),
        ("SIGSTORE_ID_TOKEN", &token),
    ];
    let signer = certified(machine(&variables, folder.path())).unwrap();
    assert!(signer.starts_with(PIPELINE), "{signer}");
    assert!(!runner.seen().is_empty());
}

fn uri_token(claims: &serde_json::Value) -> String {
    STACK.token("uri", claims, "")
}

fn signed_as_uri() -> String {
    format!("http://127.0.0.1/trainer ({})", STACK.provider("uri"))
}

#[test]
fn buildkite_mints_a_token_over_its_api() {
    let folder = tempfile::tempdir().unwrap();
    let api = Platform::new(|request| {
        let asked: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        let token = uri_token(&json!({"aud": asked["audience"]}));
        (200, json!({ "token": token }).to_string())
    });
    let url = api.url("/v3/");
    let variables = [
        ("BUILDKITE_JOB_ID", "0190-a4"),
        ("BUILDKITE_AGENT_ENDPOINT", url.as_str()),
        ("BUILDKITE_AGENT_ACCESS_TOKEN", "agent-secret"),
    ];
    assert_eq!(
        certified(machine(&variables, folder.path())).unwrap(),
        signed_as_uri()
    );
    let [request] = &api.seen()[..] else {
        panic!("one request")
    };
    assert_eq!(request.method, "POST");
    assert_eq!(request.target, "/v3/jobs/0190-a4/oidc/tokens");
    assert_eq!(request.header("authorization"), "Token agent-secret");
}

#[test]
fn buildkite_s_agent_stands_in_for_its_api() {
    let folder = tempfile::tempdir().unwrap();
    let api = Platform::new(|request| (403, request.header("authorization").to_owned()));
    let url = api.url("/v3");
    let mut variables = vec![
        ("BUILDKITE_JOB_ID", "0190-a4"),
        ("BUILDKITE_AGENT_ENDPOINT", url.as_str()),
    ];
    let error = fetched(machine(&variables, folder.path())).unwrap_err();
    assert!(error.to_string().contains("mount the agent"), "{error}");

    variables.push(("BUILDKITE_AGENT_ACCESS_TOKEN", "agent-secret"));
    let error = fetched(machine(&variables, folder.path())).unwrap_err();
    assert!(error.to_string().contains("403"), "{error}");
    assert!(!error.to_string().contains("agent-secret"), "{error}");

    let token = uri_token(&json!({}));
    program(
        folder.path(),
        "buildkite-agent",
        &format!("[ \"$*\" = 'oidc request-token --audience sigstore' ] && echo {token}"),
    );
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    variables.push(("PATH", &path));
    assert_eq!(
        certified(machine(&variables, folder.path())).unwrap(),
        signed_as_uri()
    );

    variables[0].1 = "../../secrets";
    let asked = api.seen().len();
    fetched(machine(&variables[..3], folder.path())).unwrap_err();
    assert_eq!(api.seen().len(), asked, "that is no job");
}

#[test]
fn circleci_s_tool_mints_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let unused = uri_token(&json!({}));
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let variables = [
        ("CIRCLECI", "true"),
        ("CIRCLE_OIDC_TOKEN", unused.as_str()),
        ("CIRCLE_OIDC_TOKEN_V2", unused.as_str()),
        ("PATH", &path),
    ];
    let error = fetched(machine(&variables, folder.path())).unwrap_err();
    assert!(error.to_string().contains("not on the PATH"), "{error}");

    let token = uri_token(&json!({"nonce": "of the tool"}));
    let expected = r#"run oidc get --root-issuer --claims {"aud":"sigstore"}"#;
    program(
        folder.path(),
        "circleci",
        &format!("[ \"$*\" = '{expected}' ] && echo {token}"),
    );
    assert_eq!(
        certified(machine(&variables, folder.path())).unwrap(),
        signed_as_uri()
    );
}
