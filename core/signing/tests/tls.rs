//! TLS: a service is who its certificate says, by the CA that is trusted, or it is told nothing.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod authority;
mod stack;

use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use autosign_signing::{Connection, Error, KeylessSigner, Sources, TokenText, seal};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::{ServerConnection, StreamOwned};
use serde_json::json;
use stack::{Hurried, STACK, origin, parsed, serve, statement};

/// A Fulcio behind TLS with the certificate that `edit` makes of a good one: its address, its CA in PEM, and how often it
/// was asked.
fn fulcio(edit: impl FnOnce(&mut CertificateParams)) -> (String, String, Arc<Mutex<usize>>) {
    let (config, root) = authority::server("localhost", edit);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let asked = Arc::new(Mutex::new(0));
    let upstream = origin(&STACK.trust_json("trust_config"), "caUrls");
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            // A client that breaks off is what most of these tests are about.
            let _ = serve(
                StreamOwned::new(tls, stream.unwrap()),
                &upstream,
                &count,
                &|_, a| a,
            );
        }
    });
    (url, root, asked)
}

fn attempt(url: &str, ca_bundle: Option<&Path>) -> Result<Vec<u8>, Error> {
    let mut trust = STACK.trust_json("trust_config");
    trust["signingConfig"]["caUrls"][0]["url"] = json!(url);
    let token = TokenText::new(STACK.token("email", &json!({}), ""));
    let connection = Connection::new(ca_bundle, Arc::new(Hurried::default()))?;
    let signer = KeylessSigner::new(parsed(&trust), Sources::only(Box::new(token), connection))?;
    seal(&statement(b"weights"), &signer)
}

#[test]
fn only_a_service_that_proves_its_name_is_told_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = |root: &str| {
        let file = tempfile::NamedTempFile::new_in(&folder).unwrap();
        std::io::Write::write_all(&mut file.as_file(), root.as_bytes()).unwrap();
        file
    };
    let (url, root, asked) = fulcio(|_| ());
    attempt(&url, Some(bundle(&root).path())).unwrap();
    assert_eq!(*asked.lock().unwrap(), 1);
    assert!(attempt(&url, None).is_err(), "a CA that is not the web's");
    assert_eq!(*asked.lock().unwrap(), 1);

    let (other, other_root, _) = fulcio(|_| ());
    assert!(
        attempt(&url, Some(bundle(&other_root).path())).is_err(),
        "another CA"
    );
    assert!(
        attempt(&other, Some(bundle(&root).path())).is_err(),
        "another CA"
    );
    for edit in [
        |leaf: &mut CertificateParams| leaf.not_after = date_time_ymd(2020, 1, 1),
        |leaf: &mut CertificateParams| leaf.not_before = date_time_ymd(2100, 1, 1),
        |leaf: &mut CertificateParams| {
            leaf.subject_alt_names = CertificateParams::new(vec!["other.test".to_owned()])
                .unwrap()
                .subject_alt_names;
        },
    ] {
        let (url, root, asked) = fulcio(edit);
        let refused = attempt(&url, Some(bundle(&root).path()));
        assert!(matches!(refused, Err(Error::Service { .. })), "{refused:?}");
        assert_eq!(*asked.lock().unwrap(), 0);
    }
}

#[test]
fn a_ca_bundle_holds_certificates() {
    let none = Connection::new(
        Some(Path::new("tests/keys/p256.pem")),
        Arc::new(Hurried::default()),
    );
    assert!(matches!(none.err(), Some(Error::At { .. })));
}
