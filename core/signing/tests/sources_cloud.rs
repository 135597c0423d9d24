//! Tokens of Google Cloud and Azure: from what each shows a machine, through the real Fulcio, to the name in the certificate; and what
//! each refuses.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod platform;
mod stack;

use std::path::Path;
use std::time::Duration;

use autosign_signing::{Error, Surroundings};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform::{
    NONE, Platform, Reply, Request, SHORT, at_once, certified, fetched, field, is_refused_soon,
    machine, put, silent, trainer,
};
use serde_json::{Value, json};
use stack::STACK;
use tempfile::tempdir;

const TRAINER: &str = "trainer@proj.iam.gserviceaccount.com";
const FLAVOR: &str = "Metadata-Flavor: Google\r\n";

// Google Cloud

const IDENTITY: &str =
    "/computeMetadata/v1/instance/service-accounts/default/identity?audience=sigstore&format=full";
const ACCESS: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

fn google(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Platform {
    Platform::with_headers(FLAVOR, move |request| {
        match request.header("metadata-flavor") {
            "Google" => answer(request),
            _ => NONE,
        }
    })
}

fn gcp_error(server: &Platform) -> Error {
    let root = tempdir().unwrap();
    certified(machine(
        &[("GCE_METADATA_HOST", &server.address)],
        root.path(),
    ))
    .unwrap_err()
}

#[test]
fn gcp_gives_the_token_of_the_machine_s_account() {
    let root = tempdir().unwrap();
    let token = STACK.token("gcp", &json!({}), "");
    let server = google(move |_| (200, format!("{token}\n")));
    for name in ["GCE_METADATA_HOST", "GCE_METADATA_IP"] {
        let here = machine(&[(name, &server.address)], root.path());
        let expected = format!("{TRAINER} ({})", STACK.provider("gcp"));
        assert_eq!(certified(here).unwrap(), expected);
    }
    let asked = server.seen();
    assert_eq!(asked.len(), 2);
    assert!(
        asked.iter().all(|request| request.target == IDENTITY),
        "{asked:?}"
    );
    assert!(
        asked.iter().all(|request| request.method == "GET"),
        "{asked:?}"
    );

    let stack = STACK.told("issuer").trim_start_matches("http://");
    let here = machine(&[("GCE_METADATA_HOST", stack)], root.path());
    assert!(certified(here).unwrap().starts_with(TRAINER));
}

#[test]
fn gcp_without_a_service_account_says_so() {
    let error = gcp_error(&google(|_| (404, "<html>no</html>".to_owned()))).to_string();
    assert!(error.contains("attach one"), "{error}");
}

#[test]
fn gcp_believes_google_s_server_only() {
    let token = STACK.token("gcp", &json!({}), "");
    let error = gcp_error(&Platform::new(move |_| (200, token.clone())));
    assert!(matches!(error, Error::ServiceMisbehaved { .. }), "{error}");
    assert!(error.to_string().contains("Metadata-Flavor"), "{error}");
}

#[test]
fn gcp_wants_a_token_that_names_the_account() {
    let token = STACK.token("gcp", &json!({"email": null}), "");
    let error = gcp_error(&google(move |_| (200, token.clone()))).to_string();
    assert!(error.contains("format=full"), "{error}");
    for body in ["", "{\"access_token\":\"SECRET\"}", "a.SECRET.c"] {
        let error = gcp_error(&google(move |_| (200, body.to_owned())));
        assert!(matches!(error, Error::Token { .. }), "{error}");
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}

#[test]
fn gcp_is_asked_where_it_is_only() {
    let root = tempdir().unwrap();
    let server = google(|_| NONE);
    let off = [
        ("GCE_METADATA_HOST", server.address.as_str()),
        ("NO_GCE_CHECK", "true"),
    ];
    let error = certified(machine(&off, root.path())).unwrap_err();
    assert!(error.to_string().contains("NO_GCE_CHECK is set"), "{error}");
    assert!(server.seen().is_empty());

    let error = at_once(machine(&[], root.path()));
    assert!(error.contains("does not say Google"), "{error}");
    for name in ["K_SERVICE", "CLOUD_RUN_JOB", "CLOUD_ML_PROJECT_ID"] {
        let error = at_once(machine(&[(name, "x")], root.path()));
        assert!(error.contains("metadata.google.internal"), "{error}");
    }
    let product = "/sys/class/dmi/id/product_name";
    put(root.path(), product, "Google Compute Engine\n");
    let error = at_once(machine(&[], root.path()));
    assert!(error.contains("metadata.google.internal"), "{error}");
}

#[test]
fn gcp_that_hangs_holds_nothing_up() {
    let root = tempdir().unwrap();
    let (_listener, address) = silent();
    let here = machine(&[("GCE_METADATA_HOST", &address)], root.path());
    // The metadata server's own limit: two tries of a second.
    is_refused_soon(here, Duration::from_secs(60));
}

// Google Cloud, as another account

const OWN: &str = "ya29.own-access-token";
const BOT: &str = "signer@proj.iam.gserviceaccount.com";

/// IAM Credentials and the metadata server, one behind the other.
fn iam(token: String) -> Platform {
    google_api(move |request| {
        let target = format!("/v1/projects/-/serviceAccounts/{BOT}:generateIdToken");
        assert_eq!(
            (request.method.as_str(), &request.target),
            ("POST", &target)
        );
        assert_eq!(request.header("authorization"), format!("Bearer {OWN}"));
        assert_eq!(request.header("content-type"), "application/json");
        let body: Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body, json!({"audience": "sigstore", "includeEmail": true}));
        (200, json!({"token": token}).to_string())
    })
}

fn google_api(other: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Platform {
    Platform::with_headers(FLAVOR, move |request| match request.target.as_str() {
        ACCESS => (
            200,
            json!({"access_token": OWN, "expires_in": 3599}).to_string(),
        ),
        _ => other(request),
    })
}

fn bot_token() -> String {
    STACK.token("gcp", &json!({"email": BOT}), "")
}

fn impersonating(server: &Platform, account: &str, root: &Path) -> Surroundings {
    machine(
        &[
            ("GOOGLE_SERVICE_ACCOUNT_NAME", account),
            ("GCE_METADATA_HOST", &server.address),
            (
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS",
                &server.url("/"),
            ),
        ],
        root,
    )
}

#[test]
fn gcp_impersonation_is_certified_as_the_account_that_was_named() {
    let root = tempdir().unwrap();
    let server = iam(bot_token());
    let signer = certified(impersonating(&server, BOT, root.path())).unwrap();
    assert_eq!(signer, format!("{BOT} ({})", STACK.provider("gcp")));
    assert_eq!(server.seen()[0].header("metadata-flavor"), "Google");
}

/// IAM Credentials behind a token endpoint that takes `assertion`s as `check` says.
fn by_file(file: &str, check: impl Fn(&[(String, String)]) + Send + Sync + 'static) {
    let root = tempdir().unwrap();
    let api = iam(bot_token());
    let tokens = Platform::new(move |request| {
        assert_eq!(request.target, "/token");
        assert_eq!(
            request.header("content-type"),
            "application/x-www-form-urlencoded"
        );
        let fields = form_urlencoded::parse(request.body.as_bytes());
        check(&fields.into_owned().collect::<Vec<_>>());
        (200, json!({"access_token": OWN}).to_string())
    });
    let file = file.replace("TOKENS", &tokens.url("/token"));
    let path = put(root.path(), "/key.json", &file);
    let here = machine(
        &[
            ("GOOGLE_SERVICE_ACCOUNT_NAME", BOT),
            ("GOOGLE_APPLICATION_CREDENTIALS", &path),
            ("CLOUDSDK_AUTH_TOKEN_HOST", &tokens.url("/token")),
            (
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS",
                &api.url(""),
            ),
        ],
        root.path(),
    );
    let expected = format!("{BOT} ({})", STACK.provider("gcp"));
    assert_eq!(certified(here).unwrap(), expected);
}

#[test]
fn gcp_impersonation_off_google_cloud_by_a_user_s_refresh_token() {
    let file = json!({"type": "authorized_user", "client_id": "id", "client_secret": "s&",
        "refresh_token": "1//r", "universe_domain": "googleapis.com"});
    by_file(&file.to_string(), |fields| {
        assert_eq!(field(fields, "grant_type"), "refresh_token");
        assert_eq!(field(fields, "client_id"), "id");
        assert_eq!(field(fields, "client_secret"), "s&");
        assert_eq!(field(fields, "refresh_token"), "1//r");
    });
}

#[test]
fn gcp_impersonation_off_google_cloud_by_a_service_account_s_key() {
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = AsDer::<aws_lc_rs::encoding::Pkcs8V1Der<'_>>::as_der(&key).unwrap();
    let pem = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
    let public = key.public_key().as_ref().to_owned();
    let file = json!({"type": "service_account", "client_email": "ci@proj.iam.gserviceaccount.com",
        "private_key_id": "k1", "private_key": pem, "token_uri": "TOKENS"});
    by_file(&file.to_string(), move |fields| {
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        assert_eq!(field(fields, "grant_type"), grant);
        let (message, signature) = field(fields, "assertion").rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public);
        public.verify(message.as_bytes(), &signature).unwrap();
        let part = |text| URL_SAFE_NO_PAD.decode(text).unwrap();
        let (header, claims) = message.split_once('.').unwrap();
        let header: Value = serde_json::from_slice(&part(header)).unwrap();
        assert_eq!(header, json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
        let claims: Value = serde_json::from_slice(&part(claims)).unwrap();
        assert_eq!(claims["iss"], "ci@proj.iam.gserviceaccount.com");
        assert!(
            claims["aud"].as_str().unwrap().ends_with("/token"),
            "{claims}"
        );
        let scope = "https://www.googleapis.com/auth/cloud-platform";
        assert_eq!(claims["scope"], scope);
        let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
        assert!((60..=3600).contains(&life), "{claims}");
    });
}

#[test]
fn gcp_impersonation_that_is_refused_says_which_role_is_missing_and_signs_as_nobody() {
    let root = tempdir().unwrap();
    let server = google_api(|request| {
        let quoted = request.header("authorization").to_owned();
        (
            403,
            json!({"error": {"code": 403, "message": quoted}}).to_string(),
        )
    });
    let error = certified(impersonating(&server, BOT, root.path())).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("OpenIdTokenCreator"), "{text}");
    assert!(text.contains(BOT) && !text.contains("ya29"), "{text}");
    // Not for a token of the machine's own account.
    assert!(
        server
            .seen()
            .iter()
            .all(|request| request.target != IDENTITY)
    );
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn gcp_impersonation_asks_nobody_for_what_is_no_account() {
    let root = tempdir().unwrap();
    let server = google_api(|_| NONE);
    let account = "../x@proj.example";
    let error = certified(impersonating(&server, account, root.path())).unwrap_err();
    assert!(error.to_string().contains("mail address"), "{error}");
    assert!(server.seen().is_empty());
}

#[test]
fn gcp_impersonation_needs_an_account_to_ask_with() {
    let root = tempdir().unwrap();
    let named = ("GOOGLE_SERVICE_ACCOUNT_NAME", BOT);
    let error = at_once(machine(&[named], root.path()));
    assert!(
        error.contains("GOOGLE_APPLICATION_CREDENTIALS is not set"),
        "{error}"
    );
    let key = r#"{"type":"service_account","client_email":"a","private_key":"SECRET"}"#;
    for (file, why) in [
        (
            r#"{"type":"external_account","token":"SECRET"}"#,
            "authorized_user",
        ),
        (
            r#"{"type":"authorized_user","client_id":"SECRET"}"#,
            "no credentials file",
        ),
        (key, "no RSA key"),
        ("SECRET", "no credentials file"),
    ] {
        let path = put(root.path(), "/key.json", file);
        let file = ("GOOGLE_APPLICATION_CREDENTIALS", path.as_str());
        let error = at_once(machine(&[named, file], root.path()));
        assert!(error.contains(why) && !error.contains("SECRET"), "{error}");
    }
}
// Azure

const MARK: &str = "/sys/class/dmi/id/chassis_asset_tag";
const AZURE: &str = "7783-7084-3265-9085-8269-3286-77\n";

fn azure(path: &'static str, header: &'static str, value: &'static str) -> Platform {
    let token = STACK.token("uri", &json!({}), "");
    Platform::new(move |request| {
        if request.target != path || request.header(header) != value {
            return NONE;
        }
        let answer = json!({"access_token": token, "token_type": "Bearer", "expires_on": "1"});
        (200, answer.to_string())
    })
}

#[test]
fn azure_asks_the_metadata_server_of_its_machines() {
    let root = tempdir().unwrap();
    let path = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=sigstore";
    let server = azure(path, "metadata", "true");
    let host = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*server.url("/"));
    let error = certified(machine(&[host], root.path())).unwrap_err();
    assert!(error.to_string().contains("does not say Azure"), "{error}");
    assert!(server.seen().is_empty());

    put(root.path(), MARK, "7783-7084-3265-9085-8269-3286-78\n");
    assert!(certified(machine(&[host], root.path())).is_err());
    assert!(server.seen().is_empty());

    put(root.path(), MARK, AZURE);
    assert_eq!(certified(machine(&[host], root.path())).unwrap(), trainer());

    let path =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=sigstore&client_id=c1";
    let server = azure(path, "metadata", "true");
    let host = ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*server.url(""));
    let here = machine(&[host, ("AZURE_CLIENT_ID", "c1")], root.path());
    assert_eq!(certified(here).unwrap(), trainer());
    assert!(at_once(machine(&[], root.path())).contains("http://169.254.169.254/metadata/"));
}

#[test]
fn azure_ml_asks_the_server_of_the_job() {
    let root = tempdir().unwrap();
    let path = "/MSI/auth?api-version=2017-09-01&resource=sigstore&clientid=c1";
    let server = azure(path, "secret", "ML-secret-0123456789");
    let here = machine(
        &[
            ("MSI_ENDPOINT", &server.url("/MSI/auth")),
            ("MSI_SECRET", "ML-secret-0123456789"),
            ("DEFAULT_IDENTITY_CLIENT_ID", "c1"),
        ],
        root.path(),
    );
    assert_eq!(certified(here).unwrap(), trainer());
}

#[test]
fn azure_app_service_asks_its_own_server() {
    let root = tempdir().unwrap();
    let path = "/msi/token?api-version=2019-08-01&resource=sigstore";
    let server = azure(path, "x-identity-header", "app-secret-0123456789");
    let here = machine(
        &[
            ("IDENTITY_ENDPOINT", &server.url("/msi/token")),
            ("IDENTITY_HEADER", "app-secret-0123456789"),
        ],
        root.path(),
    );
    assert_eq!(certified(here).unwrap(), trainer());

    let half = [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/")];
    let error = at_once(machine(&half, root.path()));
    assert!(error.contains("but not IDENTITY_HEADER"), "{error}");
}

fn azure_job(endpoint: &str, root: &Path) -> Surroundings {
    machine(
        &[
            ("MSI_ENDPOINT", endpoint),
            ("MSI_SECRET", "ML-secret-0123456789"),
        ],
        root,
    )
}

#[test]
fn azure_s_secret_stays_near() {
    let root = tempdir().unwrap();
    for far in [
        "http://192.0.2.1/",
        "http://localhost.example/",
        "ftp://127.0.0.1/",
    ] {
        let error = certified(azure_job(far, root.path()))
            .unwrap_err()
            .to_string();
        assert!(!error.contains("ML-secret"), "{error}");
        assert!(error.contains("its secret is not sent"), "{error}");
    }
    for near in [
        "http://169.254.100.1/",
        "http://[fe80::1]/",
        "https://ml.example/",
    ] {
        let error = at_once(azure_job(near, root.path()));
        assert!(error.contains("no time is left"), "{error}");
    }
}

#[test]
fn azure_says_that_the_audience_must_be_registered() {
    let root = tempdir().unwrap();
    for (body, advice) in [
        (
            json!({"error": "invalid_resource", "error_description": "AADSTS500011: The resource \
                principal named sigstore was not found in the tenant named Acme."}),
            "register an application with the URI \"sigstore\"",
        ),
        (
            json!({"error": "invalid_request", "error_description": "Identity not found"}),
            "assign a managed identity",
        ),
    ] {
        let server = Platform::new(move |_| (400, body.to_string()));
        let error = certified(azure_job(&server.url("/"), root.path()))
            .unwrap_err()
            .to_string();
        assert!(error.contains(advice), "{error}");
    }
}

#[test]
fn azure_answers_that_are_none_give_no_secret_away() {
    let root = tempdir().unwrap();
    let token = STACK.token("uri", &json!({}), "");
    for (status, body) in [
        (200, String::new()),
        (200, token.clone()),
        (200, json!({"token": token}).to_string()),
        (200, json!({"access_token": "opaque-SECRET"}).to_string()),
        (400, json!({"access_token": token}).to_string()),
    ] {
        let server = Platform::new(move |request| {
            let quoted = if status == 400 {
                request.header("secret")
            } else {
                ""
            };
            (status, format!("{body}{quoted}"))
        });
        let error = certified(azure_job(&server.url("/"), root.path()))
            .unwrap_err()
            .to_string();
        for secret in ["eyJ", "SECRET", "ML-secret"] {
            assert!(!error.contains(secret), "{error}");
        }
    }
}

#[test]
fn azure_that_hangs_holds_nothing_up() {
    let root = tempdir().unwrap();
    let (_listener, address) = silent();
    is_refused_soon(azure_job(&format!("http://{address}/"), root.path()), SHORT);
}

#[test]
fn a_federated_token_of_azure_is_nobody_s_identity() {
    let root = tempdir().unwrap();
    // Fulcio would take it.
    let path = put(
        root.path(),
        "/token",
        &STACK.token("kubernetes", &json!({}), ""),
    );
    let here = machine(&[("AZURE_FEDERATED_TOKEN_FILE", &path)], root.path());
    let error = certified(here).unwrap_err();
    assert!(
        matches!(error, Error::NoToken { ref attempts, .. } if attempts.is_empty()),
        "{error}"
    );
}

#[test]
fn a_server_nearby_is_asked_twice_at_most() {
    for (retries, tries) in [(0, 1), (1, 2), (4, 2)] {
        let server = google(|_| (503, String::new()));
        let mut here = machine(
            &[("GCE_METADATA_HOST", &server.address)],
            Path::new("/nowhere"),
        );
        here.connection = here.connection.with_retries(retries);
        assert!(fetched(here).is_err());
        assert_eq!(server.seen().len(), tries);
    }
}
