//! `sign certificate` and `verify certificate`.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_cli::{BAD, GOOD, UNSIGNED, USAGE};
use common::Place;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

const SIGN: &str = "sign certificate @last.pt --signature @last.pt.sig --private_key @key.pem --signing_certificate @leaf.pem";
const VERIFY: &str = "verify certificate @last.pt --signature @last.pt.sig";

/// Root, and leaf with its key, as files.
fn place(edit: impl FnOnce(&mut CertificateParams)) -> Place {
    let place = Place::new();
    let named = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let mut root = named("Root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pair = KeyPair::generate().unwrap();
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).unwrap();
    write("root.pem", &root.self_signed(&pair).unwrap().pem());
    let issuer = Issuer::new(root, pair);
    let mut leaf = named("Alice");
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    edit(&mut leaf);
    let pair = KeyPair::generate().unwrap();
    write("leaf.pem", &leaf.signed_by(&pair, &issuer).unwrap().pem());
    write("key.pem", &pair.serialize_pem());
    let other = named("Other").self_signed(&pair).unwrap();
    write("other.pem", &other.pem());
    place
}

#[test]
fn the_signer_is_told_and_can_be_required() {
    let place = place(|_| ());
    let good = format!("{VERIFY} --certificate_chain @root.pem");
    assert_eq!(place.run(&good).code, UNSIGNED);
    let said = place.run(&format!("{SIGN} --certificate-chain @root.pem"));
    assert_eq!(
        (said.code, said.out.as_str()),
        (GOOD, "Signing succeeded\n")
    );
    let told = "Signed by CN=Alice (by CN=Root)\nVerification succeeded\n";
    for command in [
        good.clone(),
        format!("{good} --certificate-chain @other.pem"),
        format!("{good} --certificate-identity CN=Alice"),
        format!("{good} --certificate_identity=glob:CN=A*"),
    ] {
        let said = place.run(&command);
        assert_eq!(
            (said.code, said.out.as_str(), said.err.as_str()),
            (GOOD, told, "")
        );
    }
    place.refuses(
        &format!("{good} --certificate-identity Bob"),
        &["Bob", "CN=Alice"],
    );
}

#[test]
fn nobody_is_believed_who_was_not_given() {
    let place = place(|_| ());
    place.run(&format!("{SIGN} --certificate-chain @root.pem"));
    let said = place.run(VERIFY);
    assert!(
        said.code == USAGE && said.err.contains("--certificate-chain"),
        "{}",
        said.err
    );
    place.refuses(
        &format!("{VERIFY} --certificate-chain @other.pem"),
        &["CN=Root", "neither a given root", "do not trust the model"],
    );
    place.refuses(
        &format!("{VERIFY} --certificate-chain @leaf.pem"),
        &["none of the 1 given certificates is a root"],
    );
    let list = "--revocation-list @root.pem";
    place.refuses(
        &format!("{VERIFY} --certificate-chain @root.pem {list}"),
        &["no list of revoked certificates in PEM form, but CERTIFICATE"],
    );
    // Nor who wrote the model.
    std::fs::create_dir(place.path("m")).unwrap();
    std::fs::copy(place.path("root.pem"), place.path("m/root.pem")).unwrap();
    place.refuses(
        "verify certificate @m --certificate-chain @m/root.pem",
        &["lies in the model"],
    );
}

#[test]
fn fingerprints() {
    let place = place(|_| ());
    place.run(SIGN);
    for code in [GOOD, BAD] {
        let said = place.run(&format!(
            "{VERIFY} --certificate-chain @root.pem --log_fingerprints"
        ));
        assert_eq!(said.code, code);
        let lines: Vec<_> = said.err.lines().collect();
        assert!(
            lines[0].starts_with("[  init  ] sha256 Fingerprint: "),
            "{}",
            said.err
        );
        assert!(
            lines[1].starts_with("[ verify ] sha256 Fingerprint: "),
            "{}",
            said.err
        );
        assert_eq!(lines[1].split(':').count(), 33);
        std::fs::write(place.path("last.pt"), b"other").unwrap();
    }
}

#[test]
fn a_certificate_that_ended() {
    let place = place(|leaf| leaf.not_after = rcgen::date_time_ymd(2020, 1, 1));
    place.refuses(SIGN, &["\"CN=Alice\" ended at 2020-01-01T00:00:00Z"]);
}

#[test]
fn the_time_is_told_where_it_is_not_now() {
    let mut place = place(|leaf| leaf.not_before = rcgen::date_time_ymd(2020, 1, 1));
    place.run(SIGN);
    let said = place.run(&format!("{VERIFY} --certificate-chain @root.pem --legacy"));
    assert_eq!(said.code, GOOD);
    let line = "Certificates are judged as of 2020-01-01T00:00:00Z, when the signer's begins: nothing proves the time of signing\n";
    assert_eq!(said.err, line);
    let verify = format!("{VERIFY} --certificate-chain @root.pem --at");
    let said = place.run(&format!("{verify} 2021-05-01T02:00:00+02:00"));
    assert_eq!(said.code, GOOD);
    let line = "Certificates are judged as of 2021-05-01T00:00:00Z, as was asked for: nothing proves the time of signing\n";
    assert_eq!(said.err, line);
    place.refuses(
        &format!("{verify} 2019-05-01T00:00:00Z"),
        &["begins at 2020-01-01T00:00:00Z", "after 2019-05-01"],
    );
    for wrong in ["yesterday", "2021-05-01", "2021-05-01T00:00:00Z --legacy"] {
        assert_eq!(place.run(&format!("{verify} {wrong}")).code, USAGE);
    }
    let stamped = format!("{SIGN} --timestamp_url http://127.0.0.1:1/");
    place
        .settings
        .push(("MODEL_SIGNING_RETRIES".into(), "0".into()));
    place.refuses(&stamped, &["the timestamp authority", "127.0.0.1:1"]);
}
