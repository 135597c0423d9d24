//! What the administrator has locked holds whatever a command line says: every option of every command that signs.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;

use autosign_cli::{BAD, GOOD};
use autosign_session::every_setting;

mod common;

use common::Place;

/// A setting, what it is locked to, and for each command that says otherwise what it would say.
type Row = (&'static str, &'static str, &'static [&'static str]);

const KEY: &str = "sign key @last.pt --signature @hand.sig --private-key %p256.pem";
const CERTIFICATE: &str = "sign certificate @last.pt --signature @hand.sig --private-key %p256.pem --signing-certificate @leaf.pem";
const PKCS11: &str = "sign pkcs11-key @last.pt --signature @hand.sig --pkcs11-uri pkcs11:object=a?module-path=/no.so";
const PKCS11_CERTIFICATE: &str = "sign pkcs11-certificate @last.pt --signature @hand.sig --signing-certificate @leaf.pem \
     --pkcs11-uri pkcs11:object=a?module-path=/no.so";
const SIGSTORE: &str = "sign @last.pt --signature @hand.sig";

/// `KEY` and the like stand for the commands above, which end with what is written behind them.
const ROWS: &[Row] = &[
    (
        "METHOD",
        "sigstore",
        &["KEY", "CERTIFICATE", "PKCS11", "PKCS11_CERTIFICATE"],
    ),
    (
        "METHOD",
        "key",
        &["CERTIFICATE", "PKCS11_CERTIFICATE", "SIGSTORE"],
    ),
    ("METHOD", "certificate", &["KEY", "PKCS11", "SIGSTORE"]),
    ("METHOD", "pkcs11", &["KEY", "CERTIFICATE", "SIGSTORE"]),
    (
        "PRIVATE_KEY",
        "/other.pem",
        &["KEY", "CERTIFICATE", "PKCS11", "PKCS11_CERTIFICATE"],
    ),
    (
        "CERTIFICATE",
        "/other.pem",
        &["CERTIFICATE", "PKCS11", "PKCS11_CERTIFICATE"],
    ),
    (
        "CERTIFICATE_CHAIN",
        "/other.pem",
        &[
            "CERTIFICATE --certificate-chain @leaf.pem",
            "PKCS11_CERTIFICATE --certificate-chain @leaf.pem",
        ],
    ),
    (
        "PASSWORD_FILE",
        "/password",
        &[
            "KEY --password x",
            "KEY --password-file @x",
            "CERTIFICATE --password x",
            "CERTIFICATE --password-file @x",
        ],
    ),
    (
        "TIMESTAMP_URL",
        "http://127.0.0.1:9",
        &[
            "KEY --timestamp-url http://a.example",
            "CERTIFICATE --timestamp-url http://a.example",
            "PKCS11 --timestamp-url http://a.example",
            "PKCS11_CERTIFICATE --timestamp-url http://a.example",
        ],
    ),
    (
        "IDENTITY_TOKEN_FILE",
        "/token",
        &[
            "SIGSTORE --identity-token x",
            "SIGSTORE --identity-token-file @x",
        ],
    ),
    (
        "IDENTITY_TOKEN_COMMAND",
        "/bin/token",
        &["SIGSTORE --identity-token x"],
    ),
    (
        "IDENTITY_TOKEN_URL",
        "http://127.0.0.1:9",
        &["SIGSTORE --identity-token-file @x"],
    ),
    (
        "TOKEN_EXCHANGE_URL",
        "http://127.0.0.1:9",
        &[
            "SIGSTORE --identity-token x",
            "SIGSTORE --identity-token-file @x",
        ],
    ),
    (
        "CREDENTIALS",
        "github",
        &[
            "SIGSTORE --identity-token x",
            "SIGSTORE --identity-token-file @x",
        ],
    ),
    (
        "INSTANCE",
        "http://127.0.0.1:9",
        &[
            "SIGSTORE --use-staging",
            "SIGSTORE --instance production",
            "SIGSTORE --trust-config @x",
        ],
    ),
    (
        "TRUST_CONFIG",
        "/trust.json",
        &["SIGSTORE --use-staging", "SIGSTORE --trust-config @x"],
    ),
    (
        "TRUSTED_ROOT",
        "/root.json",
        &["SIGSTORE --instance staging", "SIGSTORE --trust-config @x"],
    ),
    (
        "SIGNING_CONFIG",
        "/signing.json",
        &["SIGSTORE --use-staging", "SIGSTORE --trust-config @x"],
    ),
    (
        "RUN",
        "tune-7",
        &[
            "KEY --run other",
            "CERTIFICATE --run other",
            "PKCS11 --run other",
            "PKCS11_CERTIFICATE --run other",
            "SIGSTORE --run other",
        ],
    ),
    (
        "THREADS",
        "1",
        &[
            "KEY --max-workers 2",
            "CERTIFICATE --max-workers 2",
            "SIGSTORE --max-workers 2",
        ],
    ),
    (
        "IGNORE_GIT_PATHS",
        "true",
        &[
            "KEY --no-ignore-git-paths",
            "CERTIFICATE --no-ignore-git-paths",
            "SIGSTORE --no-ignore-git-paths",
        ],
    ),
    ("SPOOL", "/spool", &["flush @."]),
    (
        "LOG_LEVEL",
        "info",
        &["--log-level debug env", "--log-level off flush"],
    ),
];

/// Settings that no option stands for: what they are is so for every command, or is of training alone.
const WITHOUT_OPTION: &[&str] = &[
    "MODE",
    "ON_ERROR",
    "HOOKS",
    "PLUGINS",
    "INCLUDE",
    "EXCLUDE",
    "MIN_SIZE",
    "EVERY",
    "SETTLE",
    "DRAIN_TIMEOUT",
    "PASSWORD",
    "IDENTITY_TOKEN",
    "IDENTITY_TOKEN_HEADERS",
    "IDENTITY_TOKEN_HEADERS_FILE",
    "IDENTITY_TOKEN_FIELD",
    "TOKEN_EXCHANGE_CLIENT_ID",
    "TOKEN_EXCHANGE_CLIENT_SECRET_FILE",
    "TOKEN_EXCHANGE_CONNECTOR",
    "TOKEN_EXCHANGE_SUBJECT_TYPE",
    "SPIFFE_ID",
    "VAULT_ROLE",
    "EXPECT_IDENTITY",
    "EXPECT_ISSUER",
    "AUDIENCE",
    "REKOR_VERSION",
    "PUBLIC_LOG",
    "RATE",
    "TIMEOUT",
    "RETRIES",
    "CA_BUNDLE",
    "LOG_FORMAT",
    "EVENTS",
    "CONFIG",
];

fn place(locked: &str) -> Place {
    let place = Place::new();
    let file = place.path("etc/model-signing/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, format!("[locked]\n{locked}\n")).unwrap();
    place
}

fn command(short: &str) -> String {
    let (first, rest) = short.split_once(' ').unwrap_or((short, ""));
    let first = match first {
        "KEY" => KEY,
        "CERTIFICATE" => CERTIFICATE,
        "PKCS11" => PKCS11,
        "PKCS11_CERTIFICATE" => PKCS11_CERTIFICATE,
        "SIGSTORE" => SIGSTORE,
        other => other,
    };
    format!("{first} {rest}")
}

#[test]
fn no_command_leaves_what_is_locked() {
    for (name, value, commands) in ROWS {
        let place = place(&format!("{} = {value:?}", name.to_lowercase()));
        for short in *commands {
            let said = place.run(&command(short));
            let locked = format!("MODEL_SIGNING_{name} is locked by");
            assert!(
                said.code == BAD && said.err.contains(&locked),
                "{name}: {short}: {}",
                said.err
            );
            assert!(!place.path("hand.sig").exists(), "{short}");
        }
    }
}

#[test]
fn every_setting_is_looked_at() {
    for setting in every_setting() {
        let name = setting.variable.trim_start_matches("MODEL_SIGNING_");
        let in_rows = ROWS.iter().any(|row| row.0 == name);
        assert!(in_rows != WITHOUT_OPTION.contains(&name), "{name}");
    }
}

#[test]
fn what_is_locked_is_used_and_may_be_said_again() {
    let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/../signing/tests/keys");
    let locked = format!(
        "method = \"key\"\nprivate_key = \"{keys}/p256.pem\"\nignore_git_paths = false\nrun = \"tune\""
    );
    let place = place(&locked);
    for (options, code) in [
        ("", GOOD),
        (" --no-ignore-git-paths --run tune", GOOD),
        (" --ignore-git-paths", BAD),
    ] {
        let said = place.run(&format!("{KEY}{options}"));
        assert_eq!(said.code, code, "{options}: {}", said.err);
    }
    // An authority that is locked is asked, though no option names it.
    let place = self::place("timestamp_url = \"http://127.0.0.1:9\"\nretries = 0");
    place.refuses(KEY, &["http://127.0.0.1:9"]);
    // Nobody signs where it is not known what is locked.
    let place = self::place("public_lock = \"deny\"");
    for command in [
        KEY,
        CERTIFICATE,
        PKCS11,
        PKCS11_CERTIFICATE,
        SIGSTORE,
        "flush",
    ] {
        let said = place.run(command);
        assert!(
            said.code != GOOD && said.err.contains("public_lock"),
            "{command}: {}",
            said.err
        );
    }
}
