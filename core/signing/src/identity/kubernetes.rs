//! Kubernetes: a token for our audience from a file that kubelet keeps fresh, or from the API server, which makes one for
//! any audience where RBAC lets a service account ask for its own. The default token of a pod is for the API server: it
//! is sent there only, and never as an identity token.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::file::{read_secret, read_token};
use super::sources::{explained, token_at};
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

/// Ours, and the one that cosign reads.
const PROJECTED: [&str; 2] = [
    "/var/run/secrets/model-signing/token",
    "/var/run/sigstore/cosign/oidc-token",
];
const HOST: &str = "KUBERNETES_SERVICE_HOST";
const PORT: &str = "KUBERNETES_SERVICE_PORT";
const PORT_HTTPS: &str = "KUBERNETES_SERVICE_PORT_HTTPS";
/// Where every pod finds what it needs to speak to the API server, unless its manifest says that it shall not.
const OWN_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
const AUTHORITIES: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
/// Seconds; the API server grants no less.
const LIFE: u32 = 600;

/// A projected volume with a `serviceAccountToken`.
pub(super) struct Kubernetes;

/// The API server's `TokenRequest` (`authentication.k8s.io/v1`).
pub(super) struct KubernetesApi;

impl Kubernetes {
    fn file(here: &Surroundings) -> Option<PathBuf> {
        let paths = PROJECTED.map(|path| here.path(path));
        paths.into_iter().find(|path| path.is_file())
    }
}

impl TokenSource for Kubernetes {
    fn name(&self) -> &'static str {
        "kubernetes"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        if let Some(path) = Self::file(here) {
            return Detection::by_file(&path);
        }
        let [ours, cosign] = PROJECTED;
        let missing = format!("neither {ours} nor {cosign} is there");
        Detection::NotHere(match here.environment.get(HOST) {
            None => missing,
            Some(_) => format!(
                "{missing}: give the pod a projected volume with a serviceAccountToken of Fulcio's audience at {ours}"
            ),
        })
    }

    fn fetch(
        &self,
        here: &Surroundings,
        _audience: &str,
        _deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let [ours, _] = PROJECTED;
        read_token(&Self::file(here).unwrap_or_else(|| here.path(ours)))
    }
}

impl TokenSource for KubernetesApi {
    fn name(&self) -> &'static str {
        "kubernetes-api"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        let host = Detection::by_variable(here, HOST);
        if !host.is_here() {
            return host;
        }
        if port(here).is_none() {
            return Detection::NotHere(format!("{PORT_HTTPS} is not set"));
        }
        for path in [OWN_TOKEN, NAMESPACE, AUTHORITIES] {
            if let Detection::NotHere(reason) = Detection::by_file(&here.path(path)) {
                return Detection::NotHere(format!(
                    "{reason}: the pod or its service account has automountServiceAccountToken: false"
                ));
            }
        }
        host
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let server = server(here.variable(HOST)?, port(here).unwrap_or_default())?;
        let own = read_token(&here.path(OWN_TOKEN))?;
        let namespace = read_secret(&here.path(NAMESPACE))?;
        let namespace = dns_label("namespace", namespace.trim())?;
        let account = account(&own, namespace)?;

        // The API server is inside the cluster, where no proxy is needed, and NO_PROXY seldom names it.
        let connection = here.connection.with_authorities(&here.path(AUTHORITIES))?;
        let http = connection
            .to("the Kubernetes API server", deadline)
            .direct();
        let http = http.with_header("authorization", format!("Bearer {}", own.expose()));
        let url = format!(
            "https://{server}/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        );
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": { "audiences": [audience], "expirationSeconds": LIFE },
        });
        let answer = http.post(
            &url,
            "application/json",
            body.to_string().as_bytes(),
            &[201],
        );
        let answer = answer.map_err(|error| {
            let rule = format!(
                "bind the service account {account} of the namespace {namespace} to a Role with the verb `create` on \
                 the resource `serviceaccounts/token` (resourceNames: [{account}])"
            );
            explained(error, 403, &rule)
        })?;
        token_at(&answer, "/status/token")
    }
}

fn port(here: &Surroundings) -> Option<&str> {
    here.environment.first(&[PORT_HTTPS, PORT])
}

/// `HOST:PORT` of a URL.
fn server(host: &str, port: &str) -> Result<String, Error> {
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    let host = match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("[{host}]"),
        Err(_) if host.chars().all(name) => host.to_owned(),
        Err(_) => {
            return Err(Error::Token {
                reason: format!("{HOST} is no address: {host:?}"),
            });
        }
    };
    let port: u16 = port.parse().map_err(|_| Error::Token {
        reason: format!("{PORT_HTTPS} is no port: {port:?}"),
    })?;
    Ok(format!("{host}:{port}"))
}

/// Whose token `own` is: a claim, which the API server compares with the path.
fn account<'a>(own: &'a IdentityToken, namespace: &str) -> Result<&'a str, Error> {
    let bound = own.claim("kubernetes.io");
    let bound = bound.and_then(|claim| claim.pointer("/serviceaccount/name"));
    let subject = format!("system:serviceaccount:{namespace}:");
    let name = bound
        .and_then(Value::as_str)
        .or_else(|| own.subject().strip_prefix(&subject))
        .ok_or_else(|| Error::Token {
            reason: format!("{OWN_TOKEN} names no service account"),
        })?;
    for label in name.split('.') {
        dns_label("service account", label)?;
    }
    Ok(name)
}

/// `name` where it may stand in a path: a label as RFC 1123 has it.
fn dns_label<'a>(what: &str, name: &'a str) -> Result<&'a str, Error> {
    let within = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = !name.is_empty()
        && name.len() <= 253
        && name.chars().all(within)
        && !name.starts_with('-')
        && !name.ends_with('-');
    good.then_some(name).ok_or_else(|| Error::Token {
        reason: format!("{name:?} is no name of a {what}"),
    })
}

#[cfg(test)]
mod tests {
    use super::{dns_label, server};

    #[test]
    fn an_ipv6_address_stands_in_brackets() {
        for (host, expected) in [
            ("10.0.0.1", "10.0.0.1:443"),
            ("fd00::1", "[fd00::1]:443"),
            ("api.cluster.example", "api.cluster.example:443"),
        ] {
            assert_eq!(server(host, "443").unwrap(), expected);
        }
        for (host, port) in [
            ("evil.example/", "443"),
            ("a@evil.example", "443"),
            ("a:1", "443"),
            ("10.0.0.1", "tcp://10.0.0.1:443"),
            ("10.0.0.1", ""),
        ] {
            assert!(server(host, port).is_err(), "{host} {port}");
        }
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_a_path() {
        for good in ["ml", "a-1", "0"] {
            assert_eq!(dns_label("namespace", good).unwrap(), good);
        }
        for bad in ["", "-a", "a-", "A", "a/b", "..", "a.b", "a%2f", "a?", "ä"] {
            assert!(dns_label("namespace", bad).is_err(), "{bad}");
        }
    }
}
