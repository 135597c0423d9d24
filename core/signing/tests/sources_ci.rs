//! Tokens of CI systems: from what each shows a job, through the real Fulcio, to the name in the certificate.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod platform;
mod stack;

use autosign_signing::Error;
use platform::{Platform, certified, machine};
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
