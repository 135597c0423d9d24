//! A secret in any setting is nowhere to be read: neither in what a command or a session says, nor in a file.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autosign_cli::GOOD;
use autosign_session::{Config, Session, every_setting};

mod common;

use common::Place;

const COMMANDS: [&str; 7] = [
    "env",
    "env --origin",
    "status --json",
    "doctor",
    "doctor --json --fetch",
    "flush",
    "sign @last.pt --signature @hand.sig --use-ambient-credentials",
];
const OPAQUE: &str = "sesame-open-73550608";
const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ0cmFpbmVyIn0.c2lnbmF0dXJlLW9mLXRoYXQ";

fn key(name: &str) -> String {
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys");
    fs::read_to_string(keys.join(name)).unwrap()
}

/// What may stand in `variable` by mistake, or rightly, and must not be repeated.
fn secrets(variable: &str, values: &str) -> Vec<String> {
    let pem = key("p256.pem");
    let body: String = pem.lines().filter(|line| !line.contains("--")).collect();
    let mut all = vec![format!("my key:\n{pem}thanks"), TOKEN.to_owned()];
    if values.contains("path") {
        all.extend([
            pem.replace('\n', "\\n"),
            key("p384.encrypted.pem"),
            pem,
            body,
        ]);
    }
    let holds_one = [
        "HEADERS",
        "HEADERS_FILE",
        "IDENTITY_TOKEN",
        "PASSWORD",
        "SECRET_FILE",
        "TOKEN_FILE",
        "PASSWORD_FILE",
    ];
    if holds_one.iter().any(|name| variable.ends_with(name)) {
        all.extend([OPAQUE.to_owned(), format!("Authorization: Bearer {OPAQUE}")]);
    }
    if values.contains("URL") {
        for hidden in [
            "me:SECRET@127.0.0.1:9/b",
            "me:%53SECRET%40@127.0.0.1:9/b",
            "127.0.0.1:9/b?key=SECRET",
        ] {
            let url = format!("http://{hidden}");
            all.push(url.replace("SECRET", OPAQUE));
            all.push(url.replace("SECRET", TOKEN));
        }
        all.push(format!("http://127.0.0.1:9/{TOKEN}/x"));
    }
    if values.contains("words") {
        all.push(format!("/bin/false --password '{OPAQUE}' {TOKEN}"));
        all.push(format!("{TOKEN} a"));
    }
    all
}

/// What must not be repeated of `secret`.
fn parts(secret: &str) -> Vec<&str> {
    let parts = secret.split(['\n', '\\', '.', '/', ' ', '\'', '@', '=', ':']);
    let shared = [
        "a",
        "Authorization",
        "127",
        "my key",
        "thanks",
        "example",
        "example/b",
        "--password",
    ];
    parts
        .filter(|part| part.len() > 12 && !part.contains("---") && !shared.contains(part))
        .collect()
}

fn assert_hidden(secret: &str, said: &str, where_: &str) {
    for part in parts(secret) {
        assert!(!said.contains(part), "{where_}: {part} in {said}");
    }
}

/// The names and the content of everything below `folder`.
fn all_files(folder: &Path) -> String {
    let mut all = String::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let _ = writeln!(all, "{}", path.display());
        if path.is_dir() {
            all.push_str(&all_files(&path));
        } else {
            all.push_str(&String::from_utf8_lossy(
                &fs::read(&path).unwrap_or_default(),
            ));
        }
    }
    all
}

/// A place with an instance whose services nobody runs, and which has a token to send.
fn keyless() -> Place {
    let mut place = Place::new();
    let root =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/bundles/trusted_root.json");
    fs::copy(root, place.path("root.json")).unwrap();
    let service = |version: u32| {
        format!(
            r#"[{{"url": "http://127.0.0.1:9", "majorApiVersion": {version}, "validFor": {{"start": "2020-01-01T00:00:00Z"}}, "operator": "x"}}]"#
        )
    };
    let config = format!(
        r#"{{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json", "caUrls": {one}, "oidcUrls": {one},
            "rekorTlogUrls": {one}, "tsaUrls": {one}, "rekorTlogConfig": {{"selector": "ANY"}}, "tsaConfig": {{"selector": "ANY"}}}}"#,
        one = service(1)
    );
    fs::write(place.path("signing.json"), config).unwrap();
    fs::write(place.path("token"), TOKEN).unwrap();
    for (name, value) in [
        ("METHOD", "sigstore".to_owned()),
        ("RETRIES", "0".to_owned()),
        ("CREDENTIALS", "file,env,exec,http".to_owned()),
        ("TIMEOUT", "2s".to_owned()),
        (
            "TRUSTED_ROOT",
            place.path("root.json").display().to_string(),
        ),
        (
            "SIGNING_CONFIG",
            place.path("signing.json").display().to_string(),
        ),
        (
            "IDENTITY_TOKEN_FILE",
            place.path("token").display().to_string(),
        ),
        ("EVENTS", place.path("events").display().to_string()),
    ] {
        place
            .settings
            .push((format!("MODEL_SIGNING_{name}"), value.into()));
    }
    place
}

fn with_key() -> Place {
    let mut place = keyless();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys");
    let own = keys.join("p256.encrypted.pem").into_os_string();
    place
        .settings
        .retain(|(name, _)| name != "MODEL_SIGNING_METHOD");
    place
        .settings
        .push(("MODEL_SIGNING_PRIVATE_KEY".to_owned(), own));
    place
}

/// What a session says and returns that is told of a save.
fn trained(place: &Place) -> String {
    let settings = place.settings();
    let (config, errors) = Config::read(&settings);
    let lines = Arc::new(Mutex::new(String::new()));
    for error in settings.warnings().iter().chain(&errors) {
        let mut lines = lines.lock().unwrap();
        let _ = writeln!(lines, "{error} {error:?} {}", error.hint());
    }
    let said = Arc::clone(&lines);
    let (own, other) = (autosign_session::listener(&config), config.signer());
    let listener = move |event: &autosign_session::Event| {
        own(event);
        let mut said = said.lock().unwrap();
        let _ = writeln!(said, "{} {}", event.line().1, event.json());
    };
    let session = Session::start(config, Box::new(listener));
    let saved = session.saved(&place.path("last.pt"), "plain");
    let ended = saved.and_then(autosign_session::Ticket::wait);
    session.flush(Some(Duration::from_secs(20)));
    let signature = session.signature_within(&place.path("last.pt"), Duration::ZERO);
    session.report_left();
    let lines = lines.lock().unwrap();
    format!("{lines} {ended:?} {signature:?} {other:?} {session:?}")
}

/// A place where `variable` is set to `secret`; nothing where that would ask the public instance.
fn set(variable: &str, secret: &str, by_key: bool) -> Option<Place> {
    let mut place = if by_key { with_key() } else { keyless() };
    let mut others = vec![variable];
    if variable == "MODEL_SIGNING_INSTANCE" {
        if !secret.contains("127.0.0.1") {
            return None;
        }
        others.extend(["MODEL_SIGNING_TRUSTED_ROOT", "MODEL_SIGNING_SIGNING_CONFIG"]);
    }
    if variable.contains("IDENTITY_TOKEN") {
        // No other token is in its way.
        others.push("MODEL_SIGNING_IDENTITY_TOKEN_FILE");
    }
    place
        .settings
        .retain(|(name, _)| !others.contains(&name.as_str()));
    place.settings.push((variable.to_owned(), secret.into()));
    Some(place)
}

#[test]
fn no_setting_is_repeated_where_a_token_signs() {
    no_setting_is_repeated(false);
}

#[test]
fn no_setting_is_repeated_where_a_key_signs() {
    no_setting_is_repeated(true);
}

fn no_setting_is_repeated(by_key: bool) {
    let mut looked_at = 0;
    for setting in every_setting() {
        for secret in secrets(setting.variable, setting.values) {
            let Some(place) = set(setting.variable, &secret, by_key) else {
                continue;
            };
            let where_ = format!("{}={secret:?}", setting.variable);
            assert_hidden(&secret, &trained(&place), &where_);
            for command in COMMANDS {
                let said = place.run(command);
                let said = format!("{}{}", said.out, said.err);
                assert_hidden(&secret, &said, &format!("{where_}: {command}"));
                looked_at += 1;
            }
            fs::remove_file(place.path("token")).unwrap();
            assert_hidden(&secret, &all_files(place.folder.path()), &where_);
        }
    }
    assert!(looked_at > 1000, "{looked_at}");
    let here = fs::read_dir(".").unwrap();
    let made = here.filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .path()
            .display()
            .to_string()
            .contains('[')
    });
    assert_eq!(made.count(), 0, "nothing is made in the place of a secret");
}

#[test]
fn a_record_of_a_version_that_wrote_a_key_down_is_not_repeated() {
    let mut place = Place::new();
    let gone = ("MODEL_SIGNING_PRIVATE_KEY".to_owned(), "/gone.pem".into());
    place.settings.push(gone);
    trained(&place);
    let pem = key("p256.pem");
    let spool = place.path(".local/state/model-signing/spool");
    let records = fs::read_dir(spool)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    for record in records.filter(|path| path.extension().is_some_and(|kind| kind == "json")) {
        let text = fs::read_to_string(&record).unwrap();
        let text = text.replace("/gone.pem", &pem.replace('\n', "\\n"));
        assert!(text.contains("BEGIN"));
        fs::write(record, text).unwrap();
    }
    for command in ["status", "status --json", "flush", "doctor"] {
        let said = place.run(command);
        let said = format!("{}{}", said.out, said.err);
        assert_hidden(&pem, &said, command);
    }
    assert!(place.run("status").out.contains("[private key]"));
}

#[test]
fn a_key_in_the_environment_signs_and_is_named_by_its_public_half() {
    let mut place = Place::new();
    let pem = key("p256.pem");
    place.settings.push((
        "MODEL_SIGNING_PRIVATE_KEY".into(),
        pem.replace('\n', "\\n").into(),
    ));
    place
        .settings
        .push(("MODEL_SIGNING_MODE".into(), "offline".into()));
    let said = trained(&place);
    assert_hidden(&pem, &said, "offline");
    let listed = place.run("status --json").out;
    let public = place.run("keygen @other");
    assert_eq!(public.code, GOOD);
    assert!(listed.contains("\"signer\": \"key:sha256:"), "{listed}");
    // Another key takes nothing; the same one does, be it in a file.
    for (value, taken) in [("@other.pem", false), ("%p256.pem", true)] {
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem");
        let path = if taken { keys } else { place.path("other.pem") };
        place
            .settings
            .retain(|(name, _)| name != "MODEL_SIGNING_PRIVATE_KEY");
        place
            .settings
            .push(("MODEL_SIGNING_PRIVATE_KEY".into(), path.into()));
        let said = place.run("flush");
        assert_eq!(
            said.code == GOOD,
            taken,
            "{value}: {}{}",
            said.out,
            said.err
        );
    }
    let said = place.run("verify key @last.pt --public-key %p256.pub.pem");
    assert_eq!(said.code, GOOD, "{}", said.err);
}
