//! What a person sees of settings.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;

use autosign_cli::{BAD, GOOD, USAGE};

mod common;

use common::Place;

#[test]
fn settings_are_shown_but_no_secret() {
    let mut place = Place::new();
    place
        .settings
        .push(("MODEL_SIGNING_PASSWORD".into(), "hunter2".into()));
    place
        .settings
        .push(("MODEL_SIGNING_MODE".into(), "inline".into()));
    let said = place.run("env");
    assert_eq!(said.code, GOOD);
    assert!(
        said.out.contains("MODEL_SIGNING_MODE=inline\n")
            && said.out.contains("# MODEL_SIGNING_ON_ERROR=warn\n")
    );
    assert!(said.out.contains("MODEL_SIGNING_PASSWORD=***\n") && !said.out.contains("hunter2"));
    place
        .settings
        .push(("MODEL_SIGNING_THREADS".into(), "many".into()));
    let said = place.run("env");
    assert!(
        said.code == USAGE && said.err.contains("MODEL_SIGNING_THREADS is \"many\""),
        "{}",
        said.err
    );
}

#[test]
fn where_each_setting_came_from_can_be_asked() {
    let mut place = Place::new();
    let file = place.path("etc/model-signing/config.toml");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, "threads = 2\n[locked]\ninstance = \"staging\"\n").unwrap();
    place
        .settings
        .push(("MODEL_SIGNING_MODE".into(), "inline".into()));
    let said = place.run("env --origin");
    let file = file.display();
    for line in [
        "MODEL_SIGNING_MODE=inline  (environment)\n".to_owned(),
        format!("MODEL_SIGNING_THREADS=2  ({file})\n"),
        format!("MODEL_SIGNING_INSTANCE=staging  ({file}, locked)\n"),
        "# MODEL_SIGNING_ON_ERROR=warn  (default)\n".to_owned(),
    ] {
        assert!(said.out.contains(&line), "{line}{}", said.out);
    }
    for command in [
        "sign @last.pt --trust-config /evil.json --identity-token x",
        "verify @last.pt --instance production --identity a --identity-provider b",
        "trust show --use-staging",
    ] {
        place.refuses(command, &["MODEL_SIGNING_INSTANCE is locked by"]);
    }
}

#[test]
fn the_doctor_says_where_it_is_and_what_is_hooked() {
    let mut place = Place::new();
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem");
    for (name, value) in [
        ("MODEL_SIGNING_PRIVATE_KEY", key.as_os_str()),
        ("MODEL_SIGNING_HOOKS", "torch".as_ref()),
        ("SLURM_PROCID", "3".as_ref()),
        ("SLURM_NTASKS", "8".as_ref()),
    ] {
        place.settings.push((name.into(), value.into()));
    }
    let said = place.run("doctor");
    for line in [
        "rank     3 of 8\n",
        "hooked   torch 2.13.0\n",
        "left out safetensors 0.8.0\n",
        "setting  MODEL_SIGNING_HOOKS=torch (environment)\n",
        "0 unsigned, ",
        " free\n",
        "verdict  ready to sign\n",
    ] {
        assert!(said.out.contains(line), "{line}{}", said.out);
    }
    assert_eq!(said.code, GOOD);
    place
        .settings
        .push(("MODEL_SIGNING_MODE".into(), "disabled".into()));
    let said = place.run("doctor");
    assert!(
        said.code == BAD && !said.out.contains("hooked") && said.out.contains("obstacle"),
        "{}",
        said.out
    );
}

#[test]
fn of_what_may_hold_a_secret_a_part_is_shown() {
    let mut place = Place::new();
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem");
    for (name, value) in [
        (
            "IDENTITY_TOKEN_URL",
            "https://me:sesame@a.example/b?k=sesame",
        ),
        ("IDENTITY_TOKEN_COMMAND", "/bin/token --password sesame"),
        ("IDENTITY_TOKEN_HEADERS", "X: sesame"),
        ("TOKEN_EXCHANGE_URL", "https://a.example/c?k=sesame"),
        ("TIMESTAMP_URL", "https://a.example/d?k=sesame"),
        ("PRIVATE_KEY", key.to_str().unwrap()),
    ] {
        let name = format!("MODEL_SIGNING_{name}");
        place.settings.push((name, value.into()));
    }
    for command in ["env", "doctor", "doctor --json"] {
        let said = place.run(command);
        for shown in [
            "https://…@a.example/b?…",
            "/bin/token (2 arguments)",
            "***",
            "https://a.example/c?…",
            "https://a.example/d?…",
        ] {
            assert!(said.out.contains(shown), "{command}: {}", said.out);
        }
        assert!(!said.out.contains("sesame"), "{command}: {}", said.out);
    }
}

#[test]
fn the_reference_page_is_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/environment.md");
    let written = std::fs::read_to_string(page).unwrap();
    assert_eq!(
        written,
        Place::new().run("env --markdown").out,
        "run `make docs`"
    );
}
