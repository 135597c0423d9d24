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

use autosign_session::{Config, Environment, Error, Keyless, TrustPolicy, saved};
use autosign_signing::{
    AnnotationFault, CertificateSigner, Dialect, Error as SigningError, ErrorKind, Hashing, Ignore,
    KeySigner, Manner, Signer, VerifiedModel, publish, seal, signature_path, state,
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
        policy
            .judge(model)?
            .verify(None, &keyless(), now, Hashing::default())
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
    for (text, told) in [
        ("allow = 1", "line 1"),
        ("[[allow]]\nmodels = ['*']\n", "rule 1: it must have one of"),
        (
            "[[allow]]\nmodels = ['*']\nidentity = 'a'\n",
            "rule 1: it must have one of",
        ),
        (
            "[[allow]]\nmodels = ['*']\nidentity = 're:('\nidentity_provider = 'b'\n",
            "no pattern",
        ),
        (
            "[[allow]]\nmodels = ['*']\ncertificate_chain = ['a.pem']\n",
            "rule 1: it must have one of",
        ),
        (
            "[[allow]]\nmodels = ['*']\npublic_key = 'a'\nidentity = 'b'\nidentity_provider = 'c'\n",
            "rule 1: it must have one of",
        ),
        (
            "[[allow]]\nmodels = []\npublic_key = 'a'\n",
            "rule 1: `models` is empty",
        ),
        (
            "[[allow]]\nmodels = ['[']\npublic_key = 'a'\n",
            "rule 1: `models` has \"[\"",
        ),
        (
            "[[allow]]\nmodels = ['*']\npublic_key = 'a'\nmax_age = 'soon'\n",
            "rule 1: `max_age` is \"soon\"",
        ),
        (
            "[[allow]]\nmodels = ['*']\npublic_key = 'a'\nmin_steps = 1\n",
            "line 4",
        ),
    ] {
        let refused = place.policy(text).unwrap_err();
        assert!(matches!(refused, Error::TrustPolicy { .. }), "{refused}");
        assert!(refused.to_string().contains(told), "{refused}");
    }
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
        policy
            .judge(&folder)?
            .verify(None, &keyless(), now, Hashing::default())
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
    std::fs::set_permissions(&policy, std::fs::Permissions::from_mode(0o666)).unwrap();
    let refused = signing(verify(&policy).unwrap_err());
    assert!(
        matches!(refused, SigningError::TrustWritable { .. }),
        "{refused}"
    );
}
