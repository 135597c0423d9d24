//! Which checkpoint of which run: asked for by `verify`, and looked at as a whole by `log verify`.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use autosign_cli::{BAD, GOOD, UNSIGNED, USAGE};
use common::{Place, SIGN, VERIFY};
use serde_json::Value;

const AUDIT: &str = "log verify key @runs --public-key %p256.pub.pem";

/// Signs `runs/NAME`.
fn sign(place: &Place, name: &str, more: &str) {
    let key = "--private-key %p256.pem";
    std::fs::create_dir_all(place.path("runs")).unwrap();
    std::fs::write(place.path("runs").join(name), name).unwrap();
    let said = place.run(&format!(
        "sign key @runs/{name} --signature @runs/{name}.sig {key} {more}"
    ));
    assert_eq!(said.code, GOOD, "{}", said.err);
}

#[test]
fn another_or_an_older_one_is_refused() {
    let place = Place::new();
    // Before anything is hashed.
    let said = place.run(&format!(
        "sign key @nowhere --private-key x --run {}",
        "x".repeat(257)
    ));
    assert!(
        said.code == USAGE && said.err.contains("1 to 256 bytes"),
        "{}",
        said.err
    );
    let said = place.run(&format!("{SIGN} --run tune-7 --step 1500"));
    assert_eq!(said.code, GOOD, "{}", said.err);
    let good = "--run tune-7 --min-step 1500 --max-age 1h --last-seen @seen.json";
    // The model is a file: what lies beside it is not in it.
    assert_eq!(place.run(&format!("{VERIFY} {good}")).code, GOOD);
    for (asked, words) in [
        ("--run tune-8", ["tune-7", "tune-8"]),
        ("--min-step 1501", ["1500", "1501"]),
        ("--max-age 0s", ["signed time", "earliest"]),
    ] {
        place.refuses(&format!("{VERIFY} {asked}"), &words);
        let said = place.run(&format!("{VERIFY} {asked} --json"));
        let verdict: Value = serde_json::from_str(&said.out).unwrap();
        assert_eq!(verdict["error"]["kind"], "stale");
    }
    let said = place.run(&format!("{VERIFY} --json"));
    let verdict: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(verdict["annotations"]["run"], "tune-7");
    assert_eq!(verdict["annotations"]["step"], 1500);
    assert_eq!(verdict["annotations"]["parent"], Value::Null);
    let said = place.run("show @last.pt.sig");
    assert!(
        said.out.contains("run           \"tune-7\"") && said.out.contains("step          1500")
    );
}

#[test]
fn a_signature_that_says_nothing_is_refused_where_it_is_asked() {
    let place = Place::new();
    assert_eq!(place.run(SIGN).code, GOOD);
    for asked in [
        "--run a",
        "--min-step 0",
        "--max-age 9d",
        "--last-seen @seen.json",
    ] {
        place.refuses(&format!("{VERIFY} {asked}"), &["sign --run"]);
    }
    assert_eq!(place.run(&format!("{VERIFY} --max-age soon")).code, USAGE);
    assert_eq!(place.run(&format!("{SIGN} --step 5")).code, USAGE);
}

#[test]
fn a_policy_says_who_may_sign_what() {
    let place = Place::new();
    let public = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../signing/tests/keys/p256.pub.pem"
    ));
    std::fs::create_dir(place.path("etc")).unwrap();
    std::fs::write(place.path("etc/key.pem"), public.unwrap()).unwrap();
    let policy = |text: &str| std::fs::write(place.path("etc/policy.toml"), text).unwrap();
    policy("[[allow]]\nmodels = ['*.pt']\npublic_key = 'key.pem'\n");
    let verify = "verify policy @last.pt --policy @etc/policy.toml";
    assert_eq!(place.run(verify).code, UNSIGNED);
    assert_eq!(place.run(SIGN).code, GOOD);
    let said = place.run(verify);
    assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
    assert!(
        said.out.starts_with("Signed by key ") && said.out.ends_with("Verification succeeded\n")
    );
    policy("[[allow]]\nmodels = ['*.bin']\npublic_key = 'key.pem'\n");
    place.refuses(verify, &["says of nobody", "last.pt"]);
    let said = place.run(&format!("{verify} --json"));
    let verdict: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (said.code, &verdict["error"]["kind"]),
        (BAD, &Value::from("trust"))
    );
    policy("[[allow]]\nmodels = ['*.bin']\n");
    place.refuses(verify, &["rule 1: it must have one of"]);
}

#[test]
fn an_audit_finds_what_is_wrong_in_a_run() {
    let mut place = Place::new();
    assert_eq!(
        place
            .run("log verify key @ --public-key %p256.pub.pem")
            .code,
        UNSIGNED
    );
    let key = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../signing/tests/keys/p256.pem"
    );
    let setting = |name: &str, value: &str| (name.to_owned(), value.into());
    place.settings.push(setting("MODEL_SIGNING_RUN", "tune-7"));
    place
        .settings
        .push(setting("MODEL_SIGNING_PRIVATE_KEY", key));
    place.settings.push(setting(
        "XDG_STATE_HOME",
        place.path("state").to_str().unwrap(),
    ));
    std::fs::create_dir(place.path("runs")).unwrap();
    let session = place.session();
    for step in 1..=3 {
        let model = place.path(&format!("runs/{step}.pt"));
        std::fs::write(&model, [step]).unwrap();
        session.set_step(Some(step.into()));
        session.saved(&model, "test").unwrap().wait().unwrap();
        session.flush(None);
    }
    sign(&place, "by-hand.pt", "");

    let said = place.run(&format!("{AUDIT} --complete"));
    assert_eq!((said.code, said.err.as_str()), (GOOD, ""));
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines[0], "run \"tune-7\": 3 signatures");
    assert!(lines[1].contains("step 1, \"1.pt\" in"), "{}", lines[1]);
    assert!(lines[3].contains("step 3, \"3.pt\" in"), "{}", lines[3]);
    assert_eq!(
        lines[4..],
        ["1 signature names no run", "Verification succeeded"]
    );

    sign(&place, "rogue.pt", "--run tune-7");
    let said = place.run(&format!("{AUDIT} --complete"));
    assert!(
        said.code == GOOD
            && said
                .out
                .starts_with("run \"tune-7\": 4 signatures, 2 follow on none\n"),
        "{}",
        said.out
    );
    std::fs::remove_file(place.path("runs/rogue.pt.sig")).unwrap();

    std::fs::remove_file(place.path("runs/2.pt.sig")).unwrap();
    let said = place.run(AUDIT);
    assert_eq!(said.code, GOOD);
    assert!(
        said.out
            .starts_with("run \"tune-7\": 2 signatures, 1 is missing\n"),
        "{}",
        said.out
    );
    let said = place.run(&format!("{AUDIT} --complete --json"));
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &found["verified"]), (BAD, &Value::Bool(false)));
    assert!(said.err.contains("1 signature is missing"), "{}", said.err);
    let page = place.run("reference").out;
    let (_, page) = page.split_once("\n## `log verify --json`\n").unwrap();
    for (object, prefix) in [(&found, ""), (&found["runs"][0], "runs[].")] {
        for field in object.as_object().unwrap().keys() {
            assert!(page.contains(&format!("| `{prefix}{field}")), "{field}");
        }
    }
    let (run, last) = (&found["runs"][0], &found["runs"][0]["signatures"][1]);
    let first = &run["signatures"][0]["payload_digest"];
    assert_eq!(run["beginnings"], serde_json::json!([first]));
    assert_eq!(run["missing"][0], last["annotations"]["parent"]);

    let bundle = std::fs::read_to_string(place.path("runs/3.pt.sig")).unwrap();
    std::fs::write(
        place.path("runs/3.pt.sig"),
        bundle.replace("publicKey", "publicKeys"),
    )
    .unwrap();
    let said = place.run(AUDIT);
    assert_eq!((said.code, said.err.lines().count()), (BAD, 1));
    assert!(said.err.contains("3.pt.sig"), "{}", said.err);
    assert!(!said.out.contains("succeeded"));
}

#[test]
fn an_audit_takes_the_word_of_the_named_signer_only() {
    let place = Place::new();
    sign(&place, "1.pt", "--run tune-7");
    let said = place.run("log verify key @runs --public-key %p384.pub.pem --json");
    let found: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &found["runs"]), (BAD, &serde_json::json!([])));
    assert_eq!(found["refused"][0]["error"]["kind"], "signer");
    std::fs::copy(
        concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../signing/tests/keys/p256.pub.pem"
        ),
        place.path("runs/key.pem"),
    )
    .unwrap();
    place.refuses(
        "log verify certificate @runs --certificate-chain @runs/key.pem",
        &["lies in the model"],
    );
}
