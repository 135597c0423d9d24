//! Who may sign which models: the first rule that names one decides, and without one nothing is taken.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use autosign_session::{Config, Environment, Error, Keyless, Settings, TrustPolicy, saved};
use autosign_signing::{
    AnnotationFault, CertificateSigner, Dialect, Error as SigningError, ErrorKind, Hashing, Ignore,
    KeySigner, Manner, Signer, Symlinks, VerifiedModel, publish, seal, signature_path, state,
};
use common::key;
use rcgen::{CertificateParams, DnType, KeyPair, KeyUsagePurpose, SanType};
use tempfile::TempDir;

struct Place {
    models: TempDir,
    etc: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            models: tempfile::tempdir().unwrap(),
            etc: tempfile::tempdir().unwrap(),
        };
        for name in ["p256.pub.pem", "p384.pub.pem"] {
            std::fs::copy(key(name), place.etc.path().join(name)).unwrap();
        }
        place
    }

    /// A signed model of this name.
    fn model(&self, name: &str, signer: &dyn Signer) -> PathBuf {
        let model = self.models.path().join(name);
        std::fs::create_dir_all(model.parent().unwrap()).unwrap();
        std::fs::write(&model, b"weights").unwrap();
        Self::sign(&model, &[], signer);
        model
    }

    fn sign(model: &Path, left_out: &[PathBuf], signer: &dyn Signer) {
        let signature = signature_path(model);
        let ignore = Ignore::new(model, Some(&signature), left_out, true).unwrap();
        let mut statement = state(Dialect::Oms, model, &ignore, Hashing::default()).unwrap();
        statement.annotate(saved("tune-7".to_owned(), Some(5), SystemTime::now()));
        publish(
            &signature,
            &seal(&statement, signer).unwrap(),
            Manner::Plain,
        )
        .unwrap();
    }

    fn policy(&self, text: &str) -> Result<TrustPolicy, Error> {
        let path = self.etc.path().join("policy.toml");
        std::fs::write(&path, text).unwrap();
        TrustPolicy::read(&path)
    }

    fn verify(&self, policy: &str, model: &Path) -> Result<VerifiedModel, Error> {
        self.verify_at(policy, model, SystemTime::now())
    }

    fn verify_at(
        &self,
        policy: &str,
        model: &Path,
        now: SystemTime,
    ) -> Result<VerifiedModel, Error> {
        let policy = self.policy(policy)?;
        policy.judge(model)?.verify(
            None,
            &Settings::default(),
            &keyless(),
            now,
            Hashing::default(),
        )
    }
}

fn keyless() -> Keyless {
    Config::read(&Environment::default().into()).0.keyless
}

fn signer(name: &str) -> KeySigner {
    KeySigner::read(&key(name), None).unwrap()
}

fn signing(error: Error) -> SigningError {
    match error {
        Error::Signing(error) => error,
        other => panic!("{other}"),
    }
}

const RULES: &str = "
[[allow]]
models = ['*.bin', '**/release/*']
public_key = 'p384.pub.pem'

[[allow]]
models = ['*.pt']
public_key = 'p256.pub.pem'
";

#[test]
fn the_first_rule_that_names_a_model_decides() {
    let place = Place::new();
    let (one, other) = (signer("p256.pem"), signer("p384.pem"));
    place.verify(RULES, &place.model("a.pt", &one)).unwrap();
    place.verify(RULES, &place.model("a.bin", &other)).unwrap();
    place
        .verify(RULES, &place.model("release/a.pt", &other))
        .unwrap();
    for (name, signer) in [("b.bin", &one), ("release/b.pt", &one), ("b.pt", &other)] {
        let refused = signing(place.verify(RULES, &place.model(name, signer)).unwrap_err());
        assert_eq!(refused.kind(), ErrorKind::Signer, "{name}: {refused}");
    }
    let refused = place
        .verify(RULES, &place.model("a.gguf", &one))
        .unwrap_err();
    assert!(
        matches!(&refused, Error::NoRule { model, .. } if model.ends_with("a.gguf")),
        "{refused}"
    );
    let unsigned = place.models.path().join("c.pt");
    std::fs::write(&unsigned, b"weights").unwrap();
    let refused = signing(place.verify(RULES, &unsigned).unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::Unsigned);
}

#[test]
fn a_link_is_the_model_that_it_leads_to() {
    let place = Place::new();
    let (one, other) = (signer("p256.pem"), signer("p384.pem"));
    let at = |name: &str| place.models.path().join(name);
    let real = place.model("step-1000.pt", &one);
    for link in ["latest", "latest.pt"] {
        symlink(&real, at(link)).unwrap();
        place.verify(RULES, &at(link)).unwrap();
    }
    // By the link's name the second rule, by what it leads to the first: both would be good.
    place.model("a.bin", &other);
    symlink("a.bin", at("a.pt")).unwrap();
    // Whichever part of the path the link is, and whoever leads there.
    place.model("elsewhere/b.bin", &other);
    symlink("elsewhere/../elsewhere", at("release")).unwrap();
    symlink(at("release/b.bin"), at("now")).unwrap();
    place.model("elsewhere/c.pt", &one);
    symlink(at("a.pt"), at("served")).unwrap();
    for (asked, name) in [
        ("a.pt", "a.pt"),
        ("served", "a.pt"),
        ("release/c.pt", "release/c.pt"),
        ("elsewhere/../a.pt", "a.pt"),
    ] {
        let refused = place.verify(RULES, &at(asked)).unwrap_err();
        let Error::TwoRules { name: found, .. } = &refused else {
            panic!("{asked}: {refused}")
        };
        assert!(found.ends_with(name), "{asked}: {refused}");
    }
    place.verify(RULES, &at("now")).unwrap();
}

#[test]
fn a_signer_leaves_nothing_out_that_a_policy_asks_for() {
    let place = Place::new();
    let folder = place.models.path().join("m.pt");
    std::fs::create_dir_all(folder.join("code")).unwrap();
    std::fs::write(folder.join("weights"), b"1").unwrap();
    std::fs::write(folder.join("code/load.py"), b"2").unwrap();
    Place::sign(&folder, &[folder.join("code")], &signer("p256.pem"));
    let refused = signing(place.verify(RULES, &folder).unwrap_err());
    let SigningError::Differs(difference) = refused.root() else {
        panic!("{refused}")
    };
    assert_eq!(difference.added.len(), 1);
}

#[test]
fn a_rule_asks_for_the_newest_of_a_run() {
    let place = Place::new();
    let model = place.model("a.pt", &signer("p256.pem"));
    let rule =
        |more: &str| format!("[[allow]]\nmodels = ['*.pt']\npublic_key = 'p256.pub.pem'\n{more}\n");
    let good = "run = 'tune-7'\nmin_step = 5\nmax_age = '1h'\nexpect_name = 'a.pt'\nlast_seen = 'seen.json'";
    place.verify(&rule(good), &model).unwrap();
    assert!(
        place.etc.path().join("seen.json").exists(),
        "beside the policy"
    );
    for more in ["run = 'tune-8'", "min_step = 6"] {
        let refused = signing(place.verify(&rule(more), &model).unwrap_err());
        assert_eq!(refused.kind(), ErrorKind::Stale, "{more}");
    }
    let later = SystemTime::now() + Duration::from_secs(2 * 3600);
    let refused = signing(
        place
            .verify_at(&rule("max_age = '1h'"), &model, later)
            .unwrap_err(),
    );
    assert!(matches!(
        refused.root(),
        SigningError::Annotation(AnnotationFault::Created { .. })
    ));
    let refused = signing(
        place
            .verify(&rule("expect_name = 'b.pt'"), &model)
            .unwrap_err(),
    );
    assert!(matches!(refused.root(), SigningError::ModelName { .. }));
}

#[test]
fn certificates_name_their_signer() {
    let place = Place::new();
    let write = |name: &str, text: &str| {
        let path = place.etc.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "Alice");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let alice = "alice@example.com".try_into().unwrap();
    params.subject_alt_names = vec![SanType::Rfc822Name(alice)];
    let leaf = write("leaf.pem", &params.self_signed(&pair).unwrap().pem());
    let private = write("key.pem", &pair.serialize_pem());
    let signer = CertificateSigner::read::<PathBuf>(&private, None, &leaf, &[]).unwrap();
    let model = place.model("a.pt", &signer);
    let rule = |identity: &str| {
        format!(
            "[[allow]]\nmodels = ['*']\ncertificate_chain = ['leaf.pem']\ncertificate_identity = '{identity}'\n"
        )
    };
    place.verify(&rule("alice@example.com"), &model).unwrap();
    let refused = signing(place.verify(&rule("bob@example.com"), &model).unwrap_err());
    assert_eq!(refused.kind(), ErrorKind::Signer);
}

#[test]
fn half_a_policy_is_none() {
    let place = Place::new();
    let model = place.model("a.pt", &signer("p256.pem"));
    let one_of = "it must have one of";
    let sigstore = "identity = 'a'\nidentity_provider = 'https://b'";
    let chain = "certificate_chain = ['a.pem']";
    for (rule, told) in [
        (String::new(), one_of),
        ("identity = 'a'".to_owned(), one_of),
        (
            "identity = 're:('\nidentity_provider = 'https://b'".to_owned(),
            "no pattern",
        ),
        (
            "identity = 'a'\nidentity_provider = 'not a url'".to_owned(),
            "not a URL",
        ),
        (
            "identity = 'a'\nidentity_provider = 'https://'".to_owned(),
            "not a URL",
        ),
        (
            format!("{sigstore}\ntrust_config = ''"),
            "`trust_config` is empty",
        ),
        (chain.to_owned(), one_of),
        (
            format!("{chain}\ncertificate_identity = 're:('"),
            "no pattern",
        ),
        (format!("{chain}\ncertificate_identity = ''"), "no pattern"),
        (
            "certificate_chain = []\ncertificate_identity = 'b'".to_owned(),
            "`certificate_chain` is empty",
        ),
        (
            "certificate_chain = ['']\ncertificate_identity = 'b'".to_owned(),
            "`certificate_chain` is empty",
        ),
        (
            format!("{chain}\ncertificate_identity = 'b'\nrevocation_list = []"),
            "`revocation_list` is empty",
        ),
        (format!("public_key = 'a'\n{sigstore}"), one_of),
        ("public_key = ''".to_owned(), "`public_key` is empty"),
    ]
    .into_iter()
    .chain(
        [
            (
                "timestamp_certificate_chain = []",
                "`timestamp_certificate_chain` is empty",
            ),
            ("max_age = 'soon'", "`max_age` is \"soon\""),
            ("run = ''", "`run` is empty"),
            ("expect_name = ''", "`expect_name` is empty"),
            ("expect_name = 1", "neither true or false nor a text"),
            ("last_seen = ''", "`last_seen` is empty"),
            (
                "symlinks = 'maybe'",
                "`symlinks` is \"maybe\", not one of: false, true, hf-cache",
            ),
            ("ignore_paths = ['/a']", "`ignore_paths` has \"/a\""),
            ("ignore_paths = ['a/../..']", "`ignore_paths` has"),
            ("ignore_paths = ['.']", "`ignore_paths` has"),
            ("min_steps = 1", "unknown field"),
        ]
        .map(|(more, told)| (format!("public_key = 'a'\n{more}"), told)),
    ) {
        // It is not the one for this model, and yet.
        let text = format!("{RULES}\n[[allow]]\nmodels = ['other']\n{rule}\n");
        let refused = place.verify(&text, &model).unwrap_err();
        assert!(
            matches!(refused, Error::TrustPolicy { .. }),
            "{rule}: {refused}"
        );
        let refused = refused.to_string();
        assert!(refused.contains(told), "{rule}: {refused}");
        assert!(
            refused.contains("rule 3: ") || refused.contains("line "),
            "{refused}"
        );
        assert_eq!(refused.lines().count(), 1, "{refused}");
    }
    for (models, told) in [
        ("[]", "`models` is empty"),
        ("['[']", "`models` has \"[\""),
        ("['']", "no path is so"),
        ("['models/*']", "no path is so"),
    ] {
        let text = format!("[[allow]]\nmodels = {models}\npublic_key = 'a'\n");
        let refused = place.policy(&text).unwrap_err().to_string();
        assert!(
            refused.contains(told) && refused.contains("rule 1: "),
            "{refused}"
        );
    }
    let refused = place.policy("allow = 1").unwrap_err().to_string();
    assert!(refused.contains("line 1"), "{refused}");
    place.verify(RULES, &model).unwrap();
}

#[test]
fn a_snapshot_of_a_hugging_face_cache_and_a_folder_from_there_are_models() {
    let place = Place::new();
    let repository = place.models.path().join("models--a--b");
    let snapshot = repository.join("snapshots/r1");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir(repository.join("blobs")).unwrap();
    std::fs::write(repository.join("blobs/abc"), b"weights").unwrap();
    symlink("../../blobs/abc", snapshot.join("model.safetensors")).unwrap();
    let signature = repository.join("blobs/def");
    let hashing = Hashing {
        symlinks: Symlinks::HfCache,
        ..Hashing::default()
    };
    let statement = state(Dialect::Oms, &snapshot, &Ignore::git(), hashing).unwrap();
    let bundle = seal(&statement, &signer("p256.pem")).unwrap();
    publish(&signature, &bundle, Manner::Plain).unwrap();
    symlink("../../blobs/def", snapshot.join("model.sig")).unwrap();
    let rule =
        |more: &str| format!("[[allow]]\nmodels = ['*']\npublic_key = 'p256.pub.pem'\n{more}\n");
    let refused = signing(place.verify(&rule(""), &snapshot).unwrap_err());
    assert!(refused.hint().contains("`symlinks`"), "{refused}");
    place
        .verify(&rule("symlinks = 'hf-cache'"), &snapshot)
        .unwrap();
    place
        .verify(&rule("symlinks = true"), &snapshot)
        .unwrap_err();

    let folder = place.models.path().join("local");
    std::fs::create_dir_all(folder.join(".cache/huggingface")).unwrap();
    std::fs::write(folder.join("weights"), b"1").unwrap();
    Place::sign(&folder, &[folder.join(".cache")], &signer("p256.pem"));
    std::fs::write(folder.join(".cache/huggingface/.gitignore"), b"*").unwrap();
    place.verify(&rule(""), &folder).unwrap_err();
    let spared = rule("ignore_paths = ['.cache/']");
    place.verify(&spared, &folder).unwrap();
    std::fs::write(folder.join("code.py"), b"2").unwrap();
    place.verify(&spared, &folder).unwrap_err();
}

#[test]
fn a_model_is_what_its_signer_called_it_where_a_rule_asks_for_it() {
    let place = Place::new();
    let model = place.models.path().join("granite-8b.pt");
    std::fs::create_dir(&model).unwrap();
    std::fs::write(model.join("weights"), b"1").unwrap();
    Place::sign(&model, &[], &signer("p256.pem"));
    let own = "[[allow]]\nmodels = ['*.pt']\npublic_key = 'p256.pub.pem'\nexpect_name = true\n";
    place.verify(own, &model).unwrap();
    let other = place.models.path().join("granite-3b.pt");
    let refused = |path: &Path| {
        let refused = signing(place.verify(own, path).unwrap_err());
        assert!(
            matches!(refused.root(), SigningError::ModelName { .. }),
            "{refused}"
        );
    };
    symlink(&model, &other).unwrap();
    refused(&other);
    std::fs::remove_file(&other).unwrap();
    std::fs::rename(&model, &other).unwrap();
    refused(&other);
    place.verify(&own.replace("true", "false"), &other).unwrap();
}

#[test]
fn nobody_says_by_the_model_who_may_sign_it() {
    let place = Place::new();
    let folder = place.models.path().join("m.pt");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("weights"), b"1").unwrap();
    Place::sign(&folder, &[], &signer("p256.pem"));
    let verify = |path: &Path| {
        let (policy, now) = (TrustPolicy::read(path)?, SystemTime::now());
        policy.judge(&folder)?.verify(
            None,
            &Settings::default(),
            &keyless(),
            now,
            Hashing::default(),
        )
    };
    let inside = folder.join("policy.toml");
    std::fs::write(&inside, RULES).unwrap();
    let refused = signing(verify(&inside).unwrap_err());
    assert!(
        matches!(refused, SigningError::TrustInModel { .. }),
        "{refused}"
    );
    std::fs::remove_file(&inside).unwrap();
    let policy = place.etc.path().join("policy.toml");
    std::fs::write(&policy, RULES).unwrap();
    verify(&policy).unwrap();
    let refused = |path: &Path, mode: u32, told: &str| {
        let before = path.metadata().unwrap().permissions();
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let refused = signing(verify(&policy).unwrap_err());
        std::fs::set_permissions(path, before).unwrap();
        let refused = format!("{refused:?}");
        assert!(refused.starts_with(told), "{refused}");
    };
    let key = place.etc.path().join("p256.pub.pem");
    for path in [&policy, &key] {
        refused(path, 0o666, "TrustWritable");
        refused(path, 0o664, "TrustWritable");
    }
    // As Kubernetes mounts a ConfigMap.
    std::fs::set_permissions(place.etc.path(), PermissionsExt::from_mode(0o777)).unwrap();
    verify(&policy).unwrap();
}

#[test]
fn a_rule_does_not_leave_an_instance_that_is_locked() {
    let place = Place::new();
    let model = place.model("a.pt", &signer("p256.pem"));
    let config = place.etc.path().join("theirs.json");
    std::fs::write(&config, "{}").unwrap();
    let policy = place
        .policy(
            "[[allow]]\nmodels = [\"**\"]\nidentity = \"a@b.example\"\n\
             identity_provider = \"https://b.example\"\ntrust_config = \"theirs.json\"\n",
        )
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    let administrator = root.path().join("etc/model-signing");
    std::fs::create_dir_all(&administrator).unwrap();
    let locked = |text: &str| {
        std::fs::write(administrator.join("config.toml"), text).unwrap();
        let settings = Settings::read(Environment::default(), root.path());
        let keyless = Config::read(&settings).0.keyless;
        let judged = policy.judge(&model).unwrap();
        let now = SystemTime::now();
        judged.verify(None, &settings, &keyless, now, Hashing::default())
    };
    let refused = locked("[locked]\ninstance = \"production\"\n").unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    // The same one is none other.
    let same = format!("[locked]\ntrust_config = {config:?}\n");
    for text in [same.as_str(), "instance = \"production\"\n"] {
        let refused = locked(text).unwrap_err();
        assert!(!matches!(refused, Error::Locked { .. }), "{refused}");
    }
}
