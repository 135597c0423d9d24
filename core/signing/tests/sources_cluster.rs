//! Tokens of clusters, Kubernetes and Vault: from what each shows a job, through the real Fulcio, to the name in the
//! certificate.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod authority;
mod platform;
mod stack;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use autosign_signing::{Connection, Error, Surroundings};
use platform::{
    Platform, Reply, Request, SHORT, certified, fetched, fetched_within, machine, serve,
};
use rustls::{ServerConnection, StreamOwned};
use serde_json::{Value, json};
use stack::{Hurried, STACK};
use tempfile::TempDir;

const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";

fn put(root: &Path, path: &str, content: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn token_of(account: &str) -> String {
    let claims = json!({
        "sub": format!("system:serviceaccount:ml:{account}"),
        "kubernetes.io": { "namespace": "ml", "serviceaccount": { "name": account, "uid": "1" } },
    });
    STACK.token("kubernetes", &claims, "")
}

fn signs_as(account: &str) -> String {
    let identity = format!("https://kubernetes.io/namespaces/ml/serviceaccounts/{account}");
    format!("{identity} ({})", STACK.provider("kubernetes"))
}

/// A server behind TLS for 127.0.0.1: its port, its CA in PEM, and what it was asked.
fn tls(
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> (u16, String, Arc<Mutex<Vec<Request>>>) {
    let (config, root) = authority::server("127.0.0.1", |_| ());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            serve(StreamOwned::new(tls, stream.unwrap()), &seen, "", &answer);
        }
    });
    (port, root, requests)
}

/// A pod of the service account ml/trainer, as Kubernetes makes it without a word in its manifest.
struct Pod {
    root: TempDir,
    own: String,
}

impl Pod {
    fn new(authorities: &str) -> Self {
        let claims = json!({ "aud": ["https://kubernetes.default.svc"] });
        Self::with_claims(authorities, &claims)
    }

    fn with_claims(authorities: &str, claims: &Value) -> Self {
        let root = tempfile::tempdir().unwrap();
        let own = STACK.token("kubernetes", claims, "");
        put(root.path(), &format!("{ACCOUNT}/token"), &own);
        put(root.path(), &format!("{ACCOUNT}/namespace"), "ml");
        put(root.path(), &format!("{ACCOUNT}/ca.crt"), authorities);
        Self { root, own }
    }

    fn machine(&self, port: u16) -> Surroundings {
        let port = port.to_string();
        let variables = [
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
            ("KUBERNETES_SERVICE_PORT", "1"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", &port),
        ];
        machine(&variables, self.root.path())
    }
}

#[test]
fn a_projected_token_is_read_anew() {
    let root = tempfile::tempdir().unwrap();
    let here = machine(&[], root.path());
    put(
        root.path(),
        "var/run/sigstore/cosign/oidc-token",
        &token_of("cosign"),
    );
    assert_eq!(certified(here.clone()).unwrap(), signs_as("cosign"));
    let ours = "var/run/secrets/model-signing/token";
    for account in ["trainer", "evaluator"] {
        put(root.path(), ours, &format!("{}\n", token_of(account)));
        assert_eq!(certified(here.clone()).unwrap(), signs_as(account));
    }
    put(
        root.path(),
        ours,
        &STACK.token("kubernetes", &json!({}), "ttl=-60"),
    );
    let error = certified(here.clone()).unwrap_err().to_string();
    assert!(error.contains("expired"), "{error}");
    put(root.path(), ours, "no token");
    let error = certified(here).unwrap_err().to_string();
    assert!(error.contains("model-signing/token"), "{error}");
}

#[test]
fn the_default_token_of_a_pod_is_no_identity_token() {
    let claims = json!({ "aud": ["sigstore"] });
    let pod = Pod::with_claims("no CA", &claims);
    let error = certified(machine(&[], pod.root.path())).unwrap_err();
    assert!(
        matches!(&error, Error::NoToken { attempts, .. } if attempts.is_empty()),
        "{error}"
    );
}

#[test]
fn the_api_server_makes_a_token_for_our_audience() {
    let (port, root, requests) = tls(|_| {
        let token = token_of("trainer");
        let answer = json!({
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": { "name": "trainer", "namespace": "ml" },
            "spec": { "audiences": ["sigstore"], "expirationSeconds": 600 },
            "status": { "token": token, "expirationTimestamp": "2030-01-01T00:00:00Z" },
        });
        (201, answer.to_string())
    });
    let pod = Pod::new(&root);
    assert_eq!(certified(pod.machine(port)).unwrap(), signs_as("trainer"));
    let asked = requests.lock().unwrap()[0].clone();
    assert_eq!(asked.method, "POST");
    let path = "/api/v1/namespaces/ml/serviceaccounts/trainer/token";
    assert_eq!(asked.target, path);
    assert_eq!(asked.header("content-type"), "application/json");
    let bearer = format!("Bearer {}", pod.own);
    assert_eq!(asked.header("authorization"), bearer);
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    let expected = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "audiences": ["sigstore"], "expirationSeconds": 600 },
    });
    assert_eq!(body, expected);

    // Another claim, and the other name of the port.
    let claims = json!({ "kubernetes.io": null, "sub": "system:serviceaccount:ml:sub.ject" });
    let pod = Pod::with_claims(&root, &claims);
    let port = port.to_string();
    let variables = [
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", &port),
    ];
    certified(machine(&variables, pod.root.path())).unwrap();
    let path = "/api/v1/namespaces/ml/serviceaccounts/sub.ject/token";
    assert_eq!(requests.lock().unwrap().last().unwrap().target, path);
}

#[test]
fn what_rbac_refuses_is_told_with_the_rule_that_allows_it() {
    let (port, root, requests) = tls(|request| {
        let message = "serviceaccounts \"trainer\" is forbidden: User \"system:serviceaccount:ml:trainer\" cannot \
             create resource \"serviceaccounts/token\" in API group \"\" in the namespace \"ml\"";
        let status = json!({ "kind": "Status", "status": "Failure", "message": message, "reason": "Forbidden",
            "code": 403, "z": request.header("authorization") });
        (403, status.to_string())
    });
    let pod = Pod::new(&root);
    let error = certified(pod.machine(port)).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Service {
                status: Some(403),
                ..
            }
        ),
        "{error}"
    );
    let error = error.to_string();
    assert!(error.contains("the verb `create`"), "{error}");
    assert!(error.contains("resourceNames: [trainer]"), "{error}");
    assert!(error.contains("is forbidden"), "{error}");
    assert!(error.contains("Bearer [token]"), "{error}");
    assert!(!error.contains("eyJ"), "{error}");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[test]
fn the_own_token_goes_to_nobody_but_the_api_server_of_the_mounted_ca() {
    let (port, root, requests) = tls(|_| (201, String::new()));
    let (_, other, _) = tls(|_| (201, String::new()));
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "root.pem", &root);
    for authorities in [other.as_str(), "", "-----BEGIN CERTIFICATE-----"] {
        let pod = Pod::new(authorities);
        let mut here = pod.machine(port);
        // Neither the web's CAs nor those of the settings stand for a cluster.
        let trusting = folder.path().join("root.pem");
        here.connection = Connection::new(Some(&trusting), Arc::new(Hurried::default())).unwrap();
        let error = certified(here).unwrap_err().to_string();
        assert!(!error.contains(&pod.own), "{error}");
    }
    assert!(requests.lock().unwrap().is_empty());
}

#[test]
fn names_that_lead_elsewhere_are_not_asked_for() {
    let (port, root, requests) = tls(|_| (201, String::new()));
    let named = |name: &str| json!({ "kubernetes.io": { "serviceaccount": { "name": name } } });
    for claims in [
        named("../../kube-system/serviceaccounts/admin"),
        named("a/b"),
        named("a..b"),
        named(""),
        named("a?b"),
        json!({ "kubernetes.io": null, "sub": "system:serviceaccount:other:trainer" }),
        json!({ "kubernetes.io": null, "sub": "trainer" }),
    ] {
        let error = certified(Pod::with_claims(&root, &claims).machine(port)).unwrap_err();
        assert!(matches!(&error, Error::Token { .. }), "{claims} {error}");
    }
    let pod = Pod::new(&root);
    put(pod.root.path(), &format!("{ACCOUNT}/namespace"), "../ml");
    let error = certified(pod.machine(port)).unwrap_err();
    assert!(error.to_string().contains("namespace"), "{error}");
    assert!(requests.lock().unwrap().is_empty());
}

#[test]
fn what_the_api_server_should_not_say_is_no_token() {
    let token = token_of("trainer");
    for (status, answer, expected) in [
        (201, "<html>".to_owned(), "not JSON"),
        (201, r#"{"status":{}}"#.to_owned(), "/status/token"),
        (201, r#"{"status":{"token":"a.b"}}"#.to_owned(), "JWT"),
        (200, format!(r#"{{"status":{{"token":"{token}"}}}}"#), "200"),
        (401, r#"{"message":"Unauthorized"}"#.to_owned(), "401"),
    ] {
        let (port, root, _) = tls(move |_| (status, answer.clone()));
        let error = certified(Pod::new(&root).machine(port)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains(&token), "{error}");
    }
}

#[test]
fn a_pod_without_the_pieces_is_not_asked() {
    let (port, root, requests) = tls(|_| (201, String::new()));
    for piece in ["token", "namespace", "ca.crt"] {
        let pod = Pod::new(&root);
        fs::remove_file(pod.root.path().join(ACCOUNT).join(piece)).unwrap();
        let error = certified(pod.machine(port)).unwrap_err();
        let expected = ["automountServiceAccountToken", "projected volume", piece];
        let told = error.to_string();
        assert!(expected.iter().all(|text| told.contains(text)), "{told}");
        assert!(
            matches!(&error, Error::NoToken { attempts, .. } if attempts.is_empty()),
            "{error}"
        );
    }
    assert!(requests.lock().unwrap().is_empty());
}

/// One that accepts and never answers: its address.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn nobody_waits_longer_than_the_deadline() {
    let (listener, address) = silent();
    let (_, root, _) = tls(|_| (201, String::new()));
    let folder = tempfile::tempdir().unwrap();
    let vault = [
        ("VAULT_ADDR", &*format!("http://{address}")),
        ("MODEL_SIGNING_VAULT_ROLE", "trainer"),
        ("VAULT_TOKEN", "hvs.secret"),
    ];
    let pod = Pod::new(&root);
    for here in [
        pod.machine(listener.local_addr().unwrap().port()),
        machine(&vault, folder.path()),
    ] {
        let start = Instant::now();
        let error = fetched_within(here, SHORT).unwrap_err();
        assert!(matches!(&error, Error::Service { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(5), "{error}");
    }
}

fn vault_signs_as() -> String {
    format!("http://127.0.0.1/trainer ({})", STACK.provider("uri"))
}

fn vault_answer() -> Reply {
    let token = STACK.token("uri", &json!({}), "");
    let data = json!({ "client_id": "sigstore", "token": token, "ttl": 3600 });
    (
        200,
        json!({ "request_id": "1", "data": data, "auth": null }).to_string(),
    )
}

#[test]
fn vault_signs_a_token_for_a_role() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Platform::new(|_| vault_answer());
    let variables = [
        ("VAULT_ADDR", &*vault.url("/")),
        ("VAULT_TOKEN", "hvs.first"),
        ("VAULT_NAMESPACE", "ml/research"),
        ("MODEL_SIGNING_VAULT_ROLE", "model trainer/1"),
        ("HOME", folder.path().to_str().unwrap()),
    ];
    assert_eq!(
        certified(machine(&variables, folder.path())).unwrap(),
        vault_signs_as()
    );
    let asked = &vault.seen()[0];
    assert_eq!(asked.method, "GET");
    assert_eq!(asked.target, "/v1/identity/oidc/token/model%20trainer%2F1");
    assert_eq!(asked.header("x-vault-token"), "hvs.first");
    assert_eq!(asked.header("x-vault-namespace"), "ml/research");
    assert_eq!(asked.header("x-vault-request"), "true");

    // What `vault login` wrote, where the variable is not set.
    put(folder.path(), ".vault-token", "hvs.second\n");
    let variables = [variables[0], variables[3], variables[4]];
    assert_eq!(
        certified(machine(&variables, folder.path())).unwrap(),
        vault_signs_as()
    );
    let asked = &vault.seen()[1];
    assert_eq!(asked.header("x-vault-token"), "hvs.second");
    assert!(!asked.headers.contains_key("x-vault-namespace"));
}

#[test]
fn a_vault_of_a_private_ca() {
    let (port, root, requests) = tls(|_| vault_answer());
    let (_, other, _) = tls(|_| vault_answer());
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "root.pem", &root);
    put(folder.path(), "other.pem", &other);
    let address = format!("https://127.0.0.1:{port}");
    let with = |authorities: &str| {
        let path = folder.path().join(authorities);
        let variables = [
            ("VAULT_ADDR", &*address),
            ("VAULT_TOKEN", "hvs.secret"),
            ("VAULT_CACERT", path.to_str().unwrap()),
            ("MODEL_SIGNING_VAULT_ROLE", "trainer"),
        ];
        certified(machine(&variables, folder.path()))
    };
    assert_eq!(with("root.pem").unwrap(), vault_signs_as());
    for wrong in ["other.pem", "none.pem"] {
        let error = with(wrong).unwrap_err().to_string();
        assert!(!error.contains("hvs.secret"), "{error}");
    }
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[test]
fn what_vault_refuses_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let no_entity = r#"{"errors":["no entity associated with the request's token"]}"#;
    for (status, answer, expected) in [
        (
            403,
            r#"{"errors":["permission denied"]}"#,
            "`read` on identity/oidc/token/trainer",
        ),
        (400, no_entity, "no entity"),
        (200, "<html>", "not JSON"),
        (200, r#"{"data":null}"#, "/data/token"),
        (307, "", "307"),
    ] {
        let vault = Platform::new(move |_| (status, answer.to_owned()));
        let variables = [
            ("VAULT_ADDR", &*vault.url("")),
            ("VAULT_TOKEN", "hvs.secret"),
            ("MODEL_SIGNING_VAULT_ROLE", "trainer"),
        ];
        let error = certified(machine(&variables, folder.path())).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("hvs.secret"), "{error}");
        assert_eq!(vault.seen().len(), 1);
    }
}

#[test]
fn vault_is_asked_where_all_of_it_is_there_and_never_in_the_clear() {
    let folder = tempfile::tempdir().unwrap();
    let vault = Platform::new(|_| vault_answer());
    let url = vault.url("");
    let all = [
        ("VAULT_ADDR", &*url),
        ("VAULT_TOKEN", "hvs.secret"),
        ("MODEL_SIGNING_VAULT_ROLE", "trainer"),
        ("HOME", folder.path().to_str().unwrap()),
    ];
    for missing in ["VAULT_ADDR", "VAULT_TOKEN", "MODEL_SIGNING_VAULT_ROLE"] {
        let some: Vec<_> = all
            .into_iter()
            .filter(|(name, _)| *name != missing)
            .collect();
        let error = fetched(machine(&some, folder.path())).unwrap_err();
        assert!(
            matches!(&error, Error::NoToken { attempts, .. } if attempts.is_empty()),
            "{error}"
        );
        assert!(error.to_string().contains(missing), "{error}");
    }
    assert!(vault.seen().is_empty());
    let mut abroad = all;
    abroad[0].1 = "http://192.0.2.1:8200";
    let error = fetched(machine(&abroad, folder.path()))
        .unwrap_err()
        .to_string();
    assert!(error.contains("only https"), "{error}");
    assert!(!error.contains("hvs.secret"), "{error}");
}
