//! The instance that settings name by its files, and how its services are asked. No server is needed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use autosign_session::{Config, Environment, Keyless};
use autosign_signing::{Deadline, TrustConfig};
use tempfile::TempDir;

/// cosign's two files, and both in one, of the production instance.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let trust = TrustConfig::production().unwrap();
        for (name, json) in [
            ("root.json", trust.trusted_root_json()),
            ("config.json", trust.signing_config_json().unwrap()),
            ("both.json", &trust.to_json()),
        ] {
            std::fs::write(folder.path().join(name), json.to_string()).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The settings `MODEL_SIGNING_NAME`, of which the values that end with `.json` are files of this folder.
    fn settings(&self, settings: &[(&str, &str)]) -> Keyless {
        let value = |value: &str| match value.strip_suffix(".json") {
            Some(_) => self.path(value).into_os_string(),
            None => value.into(),
        };
        let settings = settings.iter();
        let settings = settings.map(|(name, text)| (format!("MODEL_SIGNING_{name}"), value(text)));
        let (config, errors) = Config::read(&settings.collect::<Environment>().into());
        assert!(errors.is_empty(), "{errors:?}");
        config.keyless
    }

    /// Why there is no signer, and what to do about it.
    fn refused(&self, settings: &[(&str, &str)]) -> (String, &'static str) {
        let keyless = self.settings(settings);
        let error = keyless.signer_with(keyless.sources().unwrap());
        let error = error.err().expect("a signer");
        (error.to_string(), error.hint())
    }
}

const ROOT: (&str, &str) = ("TRUSTED_ROOT", "root.json");
const CONFIG: (&str, &str) = ("SIGNING_CONFIG", "config.json");
const BOTH: (&str, &str) = ("TRUST_CONFIG", "both.json");

#[test]
fn two_files_are_one_instance() {
    let files = Files::new();
    let production = TrustConfig::production().unwrap().to_json();
    for settings in [
        &[ROOT, CONFIG][..],
        &[BOTH],
        &[CONFIG, ROOT, ("INSTANCE", "staging")],
    ] {
        let keyless = files.settings(settings);
        assert_eq!(keyless.trust().unwrap().to_json(), production);
        let (_, public) = keyless.signer_with(keyless.sources().unwrap()).unwrap();
        assert!(public && keyless.repository().is_none());
    }
}

#[test]
fn a_trusted_root_alone_verifies_and_does_not_sign() {
    let files = Files::new();
    let trust = files.settings(&[ROOT]).trust().unwrap();
    assert!(trust.signing_config_json().is_none());
    let choices = [
        ("REKOR_VERSION", "1"),
        ("TIMESTAMP_URL", "https://tsa.example"),
    ];
    for choice in [&[][..], &choices[..1], &choices[1..]] {
        let (error, hint) = files.refused(&[&[ROOT], choice].concat());
        assert!(error.contains("can only verify"), "{error}");
        assert!(hint.contains("MODEL_SIGNING_SIGNING_CONFIG"), "{hint}");
    }
}

#[test]
fn files_that_are_not_one_instance_sign_and_verify_nothing() {
    let files = Files::new();
    for (settings, name) in [
        (&[CONFIG][..], "MODEL_SIGNING_TRUSTED_ROOT is not"),
        (&[BOTH, ROOT], "so is MODEL_SIGNING_TRUSTED_ROOT"),
        (&[BOTH, CONFIG], "so is MODEL_SIGNING_SIGNING_CONFIG"),
        (&[BOTH, ROOT, CONFIG], "so is MODEL_SIGNING_TRUSTED_ROOT"),
    ] {
        let (error, hint) = files.refused(settings);
        assert!(error.contains(name), "{error}");
        assert!(hint.contains("MODEL_SIGNING_TRUSTED_ROOT"), "{hint}");
        assert!(files.settings(settings).trust().is_err());
    }
}

#[test]
fn a_broken_file_is_named() {
    let files = Files::new();
    for (name, other) in [("root.json", "config.json"), ("config.json", "root.json")] {
        let good = std::fs::read(files.path(name)).unwrap();
        for bad in [&b"{"[..], b"{}", &std::fs::read(files.path(other)).unwrap()] {
            std::fs::write(files.path(name), bad).unwrap();
            let (error, _) = files.refused(&[ROOT, CONFIG]);
            assert!(error.contains(name) && !error.contains(other), "{error}");
        }
        std::fs::write(files.path(name), good).unwrap();
    }
    let (error, _) = files.refused(&[("TRUSTED_ROOT", "both.json"), CONFIG]);
    assert!(error.contains("both.json"), "{error}");
}

#[test]
fn neither_file_may_lie_in_the_model_nor_be_anybody_s_to_write() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::new();
    let model = files.path("model");
    std::fs::create_dir(&model).unwrap();
    let keyless = files.settings(&[ROOT, CONFIG]);
    keyless.refuse_trust_in(&model).unwrap();
    for name in ["root.json", "config.json"] {
        let real = model.join(name);
        std::fs::rename(files.path(name), &real).unwrap();
        std::os::unix::fs::symlink(&real, files.path(name)).unwrap();
        let error = keyless.refuse_trust_in(&model).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("lies in"), "{error}");
        std::fs::rename(&real, files.path(name)).unwrap();

        std::fs::set_permissions(files.path(name), PermissionsExt::from_mode(0o666)).unwrap();
        let error = keyless.trust().err().unwrap().to_string();
        assert!(
            error.contains(name) && error.contains("other users"),
            "{error}"
        );
        std::fs::set_permissions(files.path(name), PermissionsExt::from_mode(0o600)).unwrap();
    }
}

#[test]
fn the_spool_knows_the_instance_by_its_files() {
    let files = Files::new();
    let signer = |settings: &[(&str, &str)]| {
        let mut all = vec![("MODEL_SIGNING_METHOD".to_owned(), "sigstore".to_owned())];
        for (name, file) in settings {
            let path = files.path(file).to_str().unwrap().to_owned();
            all.push((format!("MODEL_SIGNING_{name}"), path));
        }
        Config::read(&Environment::from_iter(all).into())
            .0
            .signer()
            .unwrap()
    };
    let folder = files.0.path().display();
    assert_eq!(signer(&[BOTH]), format!("sigstore:{folder}/both.json"));
    assert_eq!(
        signer(&[ROOT, CONFIG]),
        format!("sigstore:{folder}/root.json {folder}/config.json")
    );
}

#[test]
fn services_are_chosen_for_signing_and_verifying_is_left_alone() {
    let files = Files::new();
    let url = "https://tsa.example/api/v1/timestamp";
    let keyless = files.settings(&[BOTH, ("REKOR_VERSION", "1"), ("TIMESTAMP_URL", url)]);
    let trust = keyless.signing_trust().unwrap();
    let stamps = trust.addresses().into_iter();
    let stamps: Vec<_> = stamps.filter(|(kind, _)| *kind == "timestamps").collect();
    assert_eq!(stamps, [("timestamps", url)]);
    let verifying = keyless.trust().unwrap().to_json();
    assert_eq!(verifying, TrustConfig::production().unwrap().to_json());

    let mut one = verifying;
    let logs = one["signingConfig"]["rekorTlogUrls"]
        .as_array_mut()
        .unwrap();
    logs.retain(|log| log["majorApiVersion"] == 1);
    assert!(!logs.is_empty());
    std::fs::write(files.path("both.json"), one.to_string()).unwrap();
    let (error, hint) = files.refused(&[BOTH, ("REKOR_VERSION", "2")]);
    assert!(error.contains("no Rekor v2, but v1"), "{error}");
    assert!(hint.contains("MODEL_SIGNING_REKOR_VERSION"), "{hint}");
    files
        .settings(&[BOTH, ("REKOR_VERSION", "2")])
        .trust()
        .unwrap();
}

#[test]
fn values_that_cannot_be_are_told() {
    for (name, value) in [
        ("REKOR_VERSION", "3"),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "1w"),
        ("RETRIES", "-1"),
        ("RATE", "0/min"),
        ("TOKEN_EXCHANGE_SUBJECT_TYPE", "saml2"),
    ] {
        let name = format!("MODEL_SIGNING_{name}");
        let (_, errors) = Config::read(&Environment::from_iter([(&name, value)]).into());
        let [error] = &errors[..] else {
            panic!("{name}={value}")
        };
        assert!(error.to_string().starts_with(&name), "{error}");
    }
}

#[test]
fn a_request_is_tried_as_often_as_the_settings_say() {
    for (retries, expected) in [("0", 1), ("1", 2)] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream
                    .write_all(b"HTTP/1.1 503 -\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            }
        });
        let settings = [("IDENTITY_TOKEN_URL", url.as_str()), ("RETRIES", retries)];
        let sources = Files::new().settings(&settings).sources().unwrap();
        let deadline = Deadline::within(Duration::from_secs(30));
        let error = sources.fetch("sigstore", deadline).err().unwrap();
        assert!(error.to_string().contains("503"), "{error}");
        assert_eq!(asked.load(Ordering::SeqCst), expected);
    }
}

#[test]
fn a_timeout_of_ages_is_no_overflow() {
    let files = Files::new();
    let longest = u64::MAX.to_string();
    let keyless = files.settings(&[BOTH, ("TIMEOUT", &longest), ("RETRIES", "4294967295")]);
    assert_eq!(keyless.timeout, Some(Duration::from_secs(u64::MAX)));
    let _ = Deadline::within(Duration::from_secs(u64::MAX));
    let token = keyless.sources().unwrap();
    assert!(keyless.signer_with(token).is_ok());
    assert!(
        keyless
            .trust()
            .unwrap()
            .login_issuer(SystemTime::now())
            .is_ok()
    );
}
