//! Lines that lead on: each says what is so, and to do next what can be done.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::fs;
use std::path::Path;

use autosign_cli::{BAD, GOOD, USAGE};

mod common;

use common::{Place, SIGN};

fn with(settings: &[(&str, &str)]) -> Place {
    let mut place = Place::new();
    for (name, value) in settings {
        place.settings.push(((*name).to_owned(), value.into()));
    }
    place
}

fn administrator(text: &str) -> Place {
    let place = Place::new();
    let file = place.path("etc/model-signing/config.toml");
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
    place
}

#[test]
fn without_a_home_folder_it_is_said_that_there_is_no_spool_and_why() {
    let mut place = with(&[("MODEL_SIGNING_PRIVATE_KEY", "/no.pem")]);
    place.settings.retain(|(name, _)| name != "HOME");
    let flushed = place.run("flush");
    assert!(
        flushed.code == USAGE && flushed.err.contains("HOME is not set"),
        "{}",
        flushed.err
    );
    for command in ["status", "doctor"] {
        let said = place.run(command).out;
        assert!(
            said.contains("HOME is not set") && !said.contains("`off`:"),
            "{said}"
        );
    }
    place
        .settings
        .push(("MODEL_SIGNING_SPOOL".into(), "off".into()));
    let flushed = place.run("flush");
    assert!(
        flushed.err.contains("MODEL_SIGNING_SPOOL is `off`"),
        "{}",
        flushed.err
    );
}

#[test]
fn the_doctor_begins_with_its_verdict_and_sends_nobody_back_to_it() {
    let place = with(&[
        ("MODEL_SIGNING_CREDENTIALS", "file,env"),
        ("MODEL_SIGNING_INSTANCE", "http://127.0.0.1:9"),
    ]);
    let said = place.run("doctor").out;
    assert!(
        said.starts_with("verdict  will not sign\nobstacle "),
        "{said}"
    );
    let trusted =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/bundles/trusted_root.json");
    let trusted = trusted.to_str().unwrap();
    for settings in [
        vec![("MODEL_SIGNING_METHOD", "key")],
        vec![
            ("MODEL_SIGNING_CREDENTIALS", "file"),
            ("MODEL_SIGNING_TRUSTED_ROOT", trusted),
        ],
        vec![("MODEL_SIGNING_INSTANCE", "http://127.0.0.1:9")],
    ] {
        for command in ["doctor", "doctor --fetch", "doctor --json"] {
            let said = with(&settings).run(command);
            assert!(
                said.code == BAD && !said.out.contains("`model-signing doctor"),
                "{}",
                said.out
            );
        }
    }
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem");
    let place = with(&[("MODEL_SIGNING_PRIVATE_KEY", key.to_str().unwrap())]);
    assert!(!place.run("doctor").out.contains("a signature was made"));
    assert!(
        place
            .run("doctor --sign-test")
            .out
            .contains("a signature was made")
    );
}

#[test]
fn the_doctor_warns_of_a_spool_that_goes_with_its_container() {
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let spool = memory.path().join("spool");
    let place = with(&[
        ("MODEL_SIGNING_SPOOL", spool.to_str().unwrap()),
        ("MODEL_SIGNING_METHOD", "key"),
    ]);
    let said = place.run("doctor").out;
    assert!(said.contains("on a tmpfs, which goes with"), "{said}");
}

#[test]
fn a_path_of_a_file_is_shown_as_what_it_leads_to() {
    let place = administrator("spool = \"off\"\n[locked]\ntrust_config = \"trust_config.json\"\n");
    let said = place.run("env --origin").out;
    let file = place.path("etc/model-signing/trust_config.json");
    assert!(
        said.contains(&format!("MODEL_SIGNING_TRUST_CONFIG={}  (", file.display())),
        "{said}"
    );
    assert!(said.contains("MODEL_SIGNING_SPOOL=off  ("), "{said}");
    // And it is what is locked, however another instance is asked for.
    place.refuses(
        "sign @last.pt --use-staging",
        &["MODEL_SIGNING_INSTANCE cannot be chosen: MODEL_SIGNING_TRUST_CONFIG is locked by"],
    );
}

#[test]
fn a_broken_file_of_the_administrator_is_not_to_be_flushed_away() {
    let place = administrator("[locked]\npublic_lock = \"deny\"\n");
    let said = place.run("doctor").out;
    assert!(
        said.contains("until then nothing is signed, not by `model-signing flush` either"),
        "{said}"
    );
    let flushed = place.run("flush");
    assert!(
        flushed.code == USAGE && flushed.err.contains("public_lock"),
        "{}",
        flushed.err
    );
    assert_eq!(place.run(SIGN).code, USAGE);
}

#[test]
fn a_flush_names_the_setting_of_another_signer() {
    for (setting, value, told) in [
        (
            "MODEL_SIGNING_PRIVATE_KEY",
            "/gone.pem",
            "set MODEL_SIGNING_PRIVATE_KEY to \"/gone.pem\"",
        ),
        (
            "MODEL_SIGNING_TRUST_CONFIG",
            "/trust.json",
            "set MODEL_SIGNING_TRUST_CONFIG to \"/trust.json\"",
        ),
        (
            "MODEL_SIGNING_INSTANCE",
            "http://127.0.0.1:9",
            "set MODEL_SIGNING_INSTANCE to \"http://127.0.0.1:9\"",
        ),
    ] {
        let mut place = with(&[(setting, value), ("MODEL_SIGNING_MODE", "offline")]);
        if setting != "MODEL_SIGNING_PRIVATE_KEY" {
            place
                .settings
                .push(("MODEL_SIGNING_METHOD".into(), "sigstore".into()));
        }
        let session = place.session();
        session
            .saved(&place.path("last.pt"), "plain")
            .unwrap()
            .wait()
            .unwrap();
        session.flush(None);
        drop(session);
        place.settings.retain(|(name, _)| name == "HOME");
        let key = place.path("own").display().to_string();
        assert_eq!(place.run(&format!("keygen {key}")).code, GOOD);
        place.settings.push((
            "MODEL_SIGNING_PRIVATE_KEY".into(),
            format!("{key}.pem").into(),
        ));
        let said = place.run("flush");
        assert!(said.code == BAD && said.err.contains(told), "{}", said.err);
    }
}
