//! What a person sees: output, and the exit code behind it.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::Path;

use autosign_cli::{BAD, GOOD, UNSIGNED, USAGE};

mod common;

use common::{Place, SIGN, VERIFY};

#[test]
fn sign_verify_tamper() {
    let place = Place::new();
    let said = place.run(VERIFY);
    assert_eq!(said.code, UNSIGNED);
    assert!(
        said.err.contains("last.pt.sig") && said.err.contains("unsigned"),
        "{}",
        said.err
    );

    let said = place.run(SIGN);
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (GOOD, "Signing succeeded\n", "")
    );
    let said = place.run(VERIFY);
    assert_eq!(
        (said.code, said.out.as_str(), said.err.as_str()),
        (GOOD, "Verification succeeded\n", "")
    );

    std::fs::write(place.path("last.pt"), b"weighty").unwrap();
    let said = place.run(VERIFY);
    assert_eq!((said.code, said.out.as_str()), (BAD, ""));
    assert!(
        said.err.contains("changed: \"last.pt\"") && said.err.lines().count() == 1,
        "{}",
        said.err
    );
}

#[test]
fn underscores_and_switches() {
    let place = Place::new();
    std::fs::create_dir_all(place.path("m/.git")).unwrap();
    std::fs::write(place.path("m/.git/config"), b"").unwrap();
    std::fs::write(place.path("m/a"), b"1").unwrap();
    std::fs::write(place.path("m/log"), b"2").unwrap();
    let sign = "sign key @m --signature @m.sig --private_key %p256.pem --ignore_paths @m/log";
    assert_eq!(place.run(sign).code, GOOD);
    let said = place.run("verify key @m --signature @m.sig --public_key %p256.pub.pem");
    assert_eq!(said.code, GOOD);
    assert_eq!(
        said.err,
        "Not covered by the signature, 2 in all: \".git/config\", \"log\"\n"
    );
    let said = place.run("verify key @m --signature @m.sig --public_key %p256.pub.pem --strict");
    assert!(
        said.code == BAD && said.err.contains("added: \"log\""),
        "{}",
        said.err
    );
    let strict = "verify key @m --signature @m.sig --public-key %p256.pub.pem --no-ignore-git-paths --ignore-paths @m/x";
    let said = place.run(strict);
    assert!(
        said.code == BAD && said.err.contains("added: \".git/config\", \"log\""),
        "{}",
        said.err
    );
    assert_eq!(
        place.run(&format!("{strict} --ignore_unsigned_files")).code,
        GOOD
    );
}

#[test]
fn digest_is_over_the_raw_digests() {
    let place = Place::new();
    let said = place.run("digest @last.pt");
    // printf weights | openssl dgst -sha256 -binary | sha256sum
    assert_eq!(
        said.out,
        "sha256:59f3d85be3f9f90be09b43a08eb32a38a952135242e650039e4c4ccefd93d0a3\n"
    );
}

#[test]
fn bad_input_is_one_line_with_the_path_and_what_to_do() {
    let place = Place::new();
    for (command, words) in [
        (
            "sign key @none --signature @s --private-key %p256.pem",
            ["none\"", "check that"],
        ),
        (
            "sign key @last.pt --signature @s --private-key @none.pem",
            ["none.pem\"", "check that"],
        ),
        (
            "sign key @last.pt --signature @s --private-key @last.pt",
            ["last.pt\"", "PEM"],
        ),
        (
            "sign key @last.pt --signature @s --private-key %p256.encrypted.pem",
            ["p256.encrypted.pem\"", "--password"],
        ),
        (
            "sign key @last.pt --signature @last.pt --private-key %p256.pem",
            ["is not a signature", "--signature"],
        ),
        (
            "sign key @last.pt --signature @ --private-key %p256.pem",
            ["folder", "--ignore-paths"],
        ),
        (
            "verify key @last.pt --signature @last.pt --public-key %p256.pub.pem",
            ["last.pt\"", "damaged"],
        ),
        ("digest @none", ["none\"", "check that"]),
        (
            "verify key @none --public-key %p256.pub.pem",
            ["cannot open", "check that"],
        ),
    ] {
        place.refuses(command, &words);
    }
    assert_eq!(std::fs::read(place.path("last.pt")).unwrap(), b"weights");
    assert!(!place.path("s").exists());
}

#[test]
fn odd_models_and_signatures_are_one_line_too() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let file = |name: &str| std::fs::write(place.path(name), b"1").unwrap();
    for folder in ["empty", "link", "fifo", "odd", "other"] {
        std::fs::create_dir(place.path(folder)).unwrap();
    }
    file("link/a");
    std::os::unix::fs::symlink("a", place.path("link/b")).unwrap();
    let fifo = place.path("fifo/pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RUSR).unwrap();
    std::fs::write(
        place.path("odd").join(std::ffi::OsStr::from_bytes(b"\xff")),
        b"1",
    )
    .unwrap();
    file("other/a");
    assert_eq!(place.run(SIGN).code, GOOD);
    let whole = std::fs::read(place.path("last.pt.sig")).unwrap();
    std::fs::write(place.path("cut.sig"), &whole[..whole.len() / 2]).unwrap();

    let sign = |model: &str| format!("sign key @{model} --signature @s --private-key %p256.pem");
    let verify = |model: &str, signature: &str, key: &str| {
        format!("verify key @{model} --signature @{signature} --public-key %{key}.pub.pem")
    };
    for (command, words) in [
        (sign("empty"), ["empty\"", "holds no file"]),
        (sign("link"), ["link/b\"", "symbolic link to \"a\""]),
        (sign("fifo"), ["fifo/pipe\"", "is a FIFO"]),
        (sign("odd"), ["\\xFF\"", "not UTF-8"]),
        (
            verify("last.pt", "cut.sig", "p256"),
            ["cut.sig\"", "damaged"],
        ),
        (
            verify("last.pt", "last.pt.sig", "p384"),
            ["last.pt.sig\"", "not made by this key"],
        ),
        (
            verify("other", "last.pt.sig", "p256"),
            ["missing: \"last.pt\"", "added: \"a\""],
        ),
    ] {
        place.refuses(&command, &words);
    }
    assert!(!place.path("s").exists());
}

/// Root reads everything, so this one is run as somebody else where the tests are run by root.
#[test]
fn a_file_that_may_not_be_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let place = Place::new();
    let open = |path: &Path, mode: u32| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let command = place.path("model-signing");
    std::fs::copy(env!("CARGO_BIN_EXE_model-signing"), &command).unwrap();
    open(place.folder.path(), 0o755);
    open(&place.path("last.pt"), 0o000);
    let mut run = std::process::Command::new(command);
    run.arg("digest").arg(place.path("last.pt"));
    if rustix::process::geteuid().is_root() {
        run.uid(65534);
    }
    let said = run.output().unwrap();
    let err = String::from_utf8(said.stderr).unwrap();
    assert_eq!(
        (said.status.code(), err.lines().count()),
        (Some(i32::from(BAD)), 1),
        "{err}"
    );
    assert!(
        err.contains("cannot open") && err.contains("last.pt\"") && err.contains("you may use it"),
        "{err}"
    );
}

#[test]
fn usage_errors_are_told_from_bad_models() {
    let place = Place::new();
    for command in [
        "",
        "sing",
        "sign key",
        "verify key @last.pt",
        "sign key @last.pt --private-key x --nonsense",
    ] {
        let said = place.run(command);
        assert!(
            said.code == USAGE && !said.err.is_empty() && said.out.is_empty(),
            "{command}"
        );
    }
    let said = place.run("--help");
    assert!(said.code == GOOD && said.out.contains("verify") && said.err.is_empty());
    assert!(place.run("--version").out.starts_with("model-signing 0."));
}

#[test]
fn what_a_program_left_is_listed_and_flushed() {
    let mut place = Place::new();
    let key = place.path("late.pem");
    place
        .settings
        .push(("MODEL_SIGNING_PRIVATE_KEY".into(), key.clone().into()));
    assert_eq!(
        place
            .run("status")
            .out
            .lines()
            .last()
            .unwrap()
            .split(' ')
            .next(),
        Some("0")
    );
    let session = place.session();
    session
        .saved(&place.path("last.pt"), "test")
        .unwrap()
        .wait()
        .unwrap();
    session.flush(None);
    drop(session);

    let said = place.run("status");
    assert!(
        said.out.contains("last.pt\"") && said.out.contains("waits for a flush: cannot read"),
        "{}",
        said.out
    );
    let said = place.run("flush");
    assert_eq!((said.code, said.out.as_str()), (BAD, "0 signed, 1 left\n"));
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem"),
        key,
    )
    .unwrap();
    let said = place.run("flush");
    assert_eq!((said.code, said.out.as_str()), (GOOD, "1 signed, 0 left\n"));
    assert_eq!(place.run(VERIFY).code, GOOD);
    assert_eq!(place.run("flush").out, "0 signed, 0 left\n");
}

#[test]
fn what_another_was_to_sign_is_signed_only_where_that_is_asked_for() {
    let mut place = Place::new();
    let mut good = place.settings.clone();
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem");
    good.push(("MODEL_SIGNING_PRIVATE_KEY".into(), key.into()));
    let wrong = place.path("kpem");
    let wrong = wrong.to_str().unwrap();
    place
        .settings
        .push(("MODEL_SIGNING_PRIVATE_KEY".into(), wrong.into()));
    let session = place.session();
    session
        .saved(&place.path("last.pt"), "test")
        .unwrap()
        .wait()
        .unwrap();
    session.flush(None);
    drop(session);

    place.settings = good;
    let said = place.run("flush");
    assert_eq!((said.code, said.out.as_str()), (BAD, "0 signed, 1 left\n"));
    let told = format!(
        "1 left for \"key:{wrong}\": set MODEL_SIGNING_PRIVATE_KEY to {wrong:?}, or flush with --any-signer\n"
    );
    assert!(said.err.ends_with(&told), "{}", said.err);
    let said = place.run("flush --any-signer");
    assert_eq!((said.code, said.out.as_str()), (GOOD, "1 signed, 0 left\n"));
    assert_eq!(place.run(VERIFY).code, GOOD);
    assert_eq!(place.run("status --json").out, "[]\n");
}

#[test]
fn what_nobody_wants_signed_is_forgotten() {
    let mut place = Place::new();
    let wrong = place.path("kpem");
    place
        .settings
        .push(("MODEL_SIGNING_PRIVATE_KEY".into(), wrong.into()));
    let session = place.session();
    let model = place.path("last.pt");
    session.saved(&model, "test").unwrap().wait().unwrap();
    session.flush(None);
    drop(session);

    let said = place.run(&format!("forget {} other.pt", model.display()));
    assert_eq!(said.code, BAD);
    assert_eq!(said.out, format!("{model:?}: forgotten, and unsigned\n"));
    assert_eq!(said.err, "\"other.pt\": the spool has no record of it\n");
    assert_eq!(place.run("status --json").out, "[]\n");
    assert!(model.exists());
}

#[test]
fn a_spool_that_is_named_must_be_there() {
    let place = Place::new();
    let missing = place.path("spol");
    for command in ["flush", "status", "status --json", "forget last.pt --spool"] {
        let said = place.run(&format!("{command} {}", missing.display()));
        assert_eq!((said.code, said.out.as_str()), (USAGE, ""), "{command}");
        assert_eq!(said.err, format!("There is no spool {missing:?}\n"));
    }
}

/// What the nodes of a cluster do, and then the login node.
#[test]
fn what_was_hashed_offline_is_signed_by_a_flush_in_any_mode() {
    let mut place = Place::new();
    let set = |place: &mut Place, name: &str, value: &str| {
        place.settings.push((name.into(), value.into()));
    };
    set(&mut place, "MODEL_SIGNING_MODE", "offline");
    let said = place.run("doctor");
    assert_eq!(said.code, GOOD, "{}", said.out);
    assert!(said.out.contains("ready to hash"), "{}", said.out);

    std::fs::write(place.path("altered.pt"), b"weights").unwrap();
    std::fs::write(place.path("replaced.pt"), b"weights").unwrap();
    let session = place.session();
    for name in ["last.pt", "altered.pt", "replaced.pt"] {
        session
            .saved(&place.path(name), "test")
            .unwrap()
            .wait()
            .unwrap();
    }
    assert_eq!(session.flush(None).spooled, 3);
    drop(session);
    let said = place.run("status");
    assert_eq!(
        said.out.matches("waits for a flush: hashed").count(),
        3,
        "{}",
        said.out
    );
    let listed: serde_json::Value = serde_json::from_str(&place.run("status --json").out).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(listed[0]["digest"].as_str().unwrap().len(), 64);
    assert_eq!(listed[0]["signer"], serde_json::Value::Null);

    let altered = place.path("altered.pt");
    let modified = std::fs::metadata(&altered).unwrap().modified().unwrap();
    std::fs::write(&altered, b"WEIGHTS").unwrap();
    let file = std::fs::File::options().write(true).open(&altered).unwrap();
    file.set_modified(modified).unwrap();
    std::fs::write(place.path("replaced.pt"), b"something else").unwrap();

    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys/p256.pem");
    set(
        &mut place,
        "MODEL_SIGNING_PRIVATE_KEY",
        key.to_str().unwrap(),
    );
    let said = place.run("flush");
    assert_eq!(
        (said.code, said.out.as_str()),
        (BAD, "1 signed, 1 left, 1 replaced or removed before\n")
    );
    assert_eq!(place.run(VERIFY).code, GOOD);
    for name in ["altered.pt.sig", "replaced.pt.sig"] {
        assert!(!place.path(name).exists(), "{name}");
    }
    assert_eq!(place.run("status --json").out, "[]\n");
}

#[test]
fn a_new_key_signs_and_is_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    assert_eq!(place.run("keygen @key").code, GOOD);
    assert_eq!(
        std::fs::metadata(place.path("key.pem"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    assert_eq!(
        place
            .run("sign key @last.pt --signature @s --private-key @key.pem")
            .code,
        GOOD
    );
    assert_eq!(
        place
            .run("verify key @last.pt --signature @s --public-key @key.pub.pem")
            .code,
        GOOD
    );
    let before = std::fs::read(place.path("key.pem")).unwrap();
    let said = place.run("keygen @key");
    assert!(
        said.code == BAD && said.err.contains("key.pem\""),
        "{}",
        said.err
    );
    assert_eq!(std::fs::read(place.path("key.pem")).unwrap(), before);
}

/// A program of its own: this one's standard input may well be a terminal.
#[test]
fn without_a_terminal_nobody_is_asked_to_log_in() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let (browser, opened) = (place.path("browser"), place.path("opened"));
    std::fs::write(&browser, format!("#!/bin/sh\n: > '{}'\n", opened.display())).unwrap();
    std::fs::set_permissions(&browser, PermissionsExt::from_mode(0o755)).unwrap();
    for flags in [
        "",
        "--oauth-force-oob",
        "--client_id x --client_secret y",
        "--use-ambient-credentials --oidc-issuer http://127.0.0.1:1",
    ] {
        let said = std::process::Command::new(env!("CARGO_BIN_EXE_model-signing"))
            .args(["sign", "last.pt"])
            .args(flags.split_whitespace())
            .current_dir(place.folder.path())
            .env_clear()
            .env("HOME", place.folder.path())
            .env("BROWSER", &browser)
            // Whatever this machine is, a cloud's or a cluster's, its own identity is not asked for.
            .env("MODEL_SIGNING_CREDENTIALS", "file,env")
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let err = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(BAD.into()), "{flags}: {err}");
        assert!(
            err.contains("there is no identity token to sign with, and no key"),
            "{flags}: {err}"
        );
        assert_eq!(err.lines().count(), 1, "{flags}: {err}");
        assert!(!opened.exists() && !place.path("model.sig").exists());
    }
}

#[test]
fn a_signature_that_is_passed_over_is_named_where_the_other_does_not_fit() {
    let place = Place::new();
    assert_eq!(place.run(SIGN).code, GOOD);
    std::fs::write(place.path("next.pt"), b"more").unwrap();
    let sign = "sign key @next.pt --signature @model.sig --private-key %p256.pem";
    assert_eq!(place.run(sign).code, GOOD);
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../signing/tests/keys");
    let verify = |signature: &[&str]| {
        let said = std::process::Command::new(env!("CARGO_BIN_EXE_model-signing"))
            .args(["verify", "key", "last.pt", "--public-key"])
            .arg(keys.join("p256.pub.pem"))
            .args(signature)
            .current_dir(place.folder.path())
            .env_clear()
            .output()
            .unwrap();
        (
            said.status.code().unwrap(),
            String::from_utf8(said.stderr).unwrap(),
        )
    };
    let (code, err) = verify(&[]);
    let told = "That was by \"model.sig\"; --signature takes another, such as \"last.pt.sig\"\n";
    assert!(code == i32::from(BAD) && err.ends_with(told), "{err}");
    let (code, err) = verify(&["--signature", "model.sig"]);
    assert!(code == i32::from(BAD) && !err.contains("That was"), "{err}");
    assert_eq!(verify(&["--signature", "last.pt.sig"]).0, i32::from(GOOD));
}

#[test]
fn output_that_cannot_be_written_is_no_success() {
    let place = Place::new();
    let full = std::fs::File::create("/dev/full").unwrap();
    let said = std::process::Command::new(env!("CARGO_BIN_EXE_model-signing"))
        .arg("digest")
        .arg(place.path("last.pt"))
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(said.status.code(), Some(BAD.into()));
    assert_eq!(
        String::from_utf8(said.stderr).unwrap(),
        "The output could not be written: no storage space\n"
    );
}

#[test]
fn run_says_why_it_does_not_try() {
    let mut place = Place::new();
    let said = place.run("run -- no-such-program --private_key");
    assert_eq!((said.code, said.out.as_str()), (125, ""));
    assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    assert!(
        said.err
            .contains("install the Python package model-signing-autosign")
    );

    place.settings.extend([
        ("MODEL_SIGNING_MODE".to_owned(), "fast".into()),
        ("MODEL_SIGNING_ON_ERROR".to_owned(), "raise".into()),
    ]);
    let said = place.run("run no-such-program");
    assert_eq!(said.code, 125);
    assert!(
        said.err
            .starts_with("Starting failed with error: MODEL_SIGNING_MODE")
    );

    for wrong in ["run", "run --", "run --fast python"] {
        assert_eq!(place.run(wrong).code, USAGE, "{wrong}");
    }
    assert_eq!(place.run("run --help").code, GOOD);
}
