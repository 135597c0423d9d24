//! Who may sign which models here: a file that the operator of a machine writes, for whoever verifies on it.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use autosign_signing::{
    CertificateVerifier, Error as SigningError, ExpectedSigner, Freshness, Hashing, KeyVerifier,
    KeylessVerifier, Policy, RelPath, Symlinks, VerifiedModel, Verifier, find_signature,
    read_private, refuse_writable,
};
use glob::Pattern;
use serde::Deserialize;

use crate::route::route;
use crate::selection::matches;
use crate::{Error, Instance, Keyless, LastSeen, Settings, duration, refuse_trust_in, verify};

/// Rules, of which the first that names a model decides; a model that none names is refused.
///
/// ```
/// use std::time::SystemTime;
/// use autosign_session::{Config, Settings, TrustPolicy};
/// use autosign_signing::{Hashing, Ignore, KeySigner, sign, signature_path};
/// let (folder, etc) = (tempfile::tempdir()?, tempfile::tempdir()?);
/// std::fs::copy("../signing/tests/keys/p256.pub.pem", etc.path().join("team.pub.pem"))?;
/// let policy = etc.path().join("policy.toml");
/// std::fs::write(&policy, "[[allow]]\nmodels = ['*.pt']\npublic_key = 'team.pub.pem'\n")?;
/// let policy = TrustPolicy::read(&policy)?;
///
/// let signer = KeySigner::read("../signing/tests/keys/p256.pem".as_ref(), None)?;
/// let settings = Settings::default();
/// let keyless = Config::read(&settings).0.keyless;
/// for (name, good) in [("last.pt", true), ("last.bin", false)] {
///     let model = folder.path().join(name);
///     std::fs::write(&model, b"weights")?;
///     sign(&model, &signature_path(&model), &Ignore::git(), &signer, Hashing::default())?;
///     let judged = policy.judge(&model);
///     assert_eq!(judged.is_ok(), good);
///     if let Ok(judged) = judged {
///         judged.verify(None, &settings, &keyless, SystemTime::now(), Hashing::default())?;
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TrustPolicy {
    path: PathBuf,
    rules: Vec<Rule>,
}

/// Who may sign some models, and which of what they signed is wanted.
#[derive(Debug)]
struct Rule {
    models: Vec<Pattern>,
    signer: Believed,
    expect_name: Option<Name>,
    symlinks: Option<Symlinks>,
    /// Relative to the model.
    ignore: Vec<PathBuf>,
    freshness: Freshness,
    max_age: Option<Duration>,
    last_seen: Option<LastSeen>,
}

/// What the signer must have called the model.
#[derive(Debug)]
enum Name {
    Given(String),
    /// As the path that was asked for does.
    Own,
}

#[derive(Debug)]
enum Believed {
    Sigstore {
        identity: String,
        provider: String,
        trust_config: Option<PathBuf>,
    },
    Key {
        public_key: PathBuf,
        stamps: Vec<PathBuf>,
    },
    Certificate {
        chain: Vec<PathBuf>,
        identity: String,
        stamps: Vec<PathBuf>,
        lists: Vec<PathBuf>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    allow: Vec<Wire>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    models: Vec<String>,
    identity: Option<String>,
    identity_provider: Option<String>,
    trust_config: Option<PathBuf>,
    public_key: Option<PathBuf>,
    certificate_chain: Option<Vec<PathBuf>>,
    certificate_identity: Option<String>,
    timestamp_certificate_chain: Option<Vec<PathBuf>>,
    revocation_list: Option<Vec<PathBuf>>,
    symlinks: Option<Value>,
    ignore_paths: Option<Vec<String>>,
    expect_name: Option<Value>,
    run: Option<String>,
    min_step: Option<u64>,
    max_age: Option<String>,
    last_seen: Option<PathBuf>,
}

/// What has a word of its own beside yes and no.
#[derive(Deserialize)]
#[serde(untagged, expecting = "neither true or false nor a text")]
enum Value {
    Flag(bool),
    Text(String),
}

impl TrustPolicy {
    /// Reads the TOML file at `path`. Paths in it are taken from its folder.
    ///
    /// # Errors
    /// [`SigningError::Io`], those of [`refuse_writable`], [`Error::TrustPolicy`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::TrustPolicy {
            path: path.into(),
            reason,
        };
        let text = String::from_utf8(read_private(path, "trust policy")?);
        let text = text.map_err(|_| wrong("is not UTF-8".to_owned()))?;
        let File { allow } = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(0, |before| before.matches('\n').count()) + 1;
            wrong(format!("line {line}: {}", error.message()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let rules = allow.into_iter().enumerate().map(|(at, wire)| {
            let rule = wire.rule(folder);
            rule.map_err(|reason| wrong(format!("rule {}: {reason}", at + 1)))
        });
        Ok(Self {
            path: path.into(),
            rules: rules.collect::<Result<_, _>>()?,
        })
    }

    /// What the policy says of the model at `model`: the first rule decides with a glob that it matches, as
    /// `MODEL_SIGNING_INCLUDE` has them, without links on the way. A rule for a path that only leads there must be the same one:
    /// else whoever makes a link chooses the rule.
    ///
    /// # Errors
    /// [`SigningError::Io`] where there is no model, [`Error::NoRule`], [`Error::TwoRules`].
    pub fn judge(&self, model: &Path) -> Result<Judgement<'_>, Error> {
        let mut names = route(model).map_err(|source| SigningError::Io {
            action: "open",
            path: model.into(),
            source,
        })?;
        let real = names.pop().unwrap_or_default();
        let asked = names.first().and_then(|name| name.file_name());
        let name = asked.unwrap_or_default().to_string_lossy().into_owned();
        let Some((at, rule)) = self.rule_for(&real) else {
            return Err(Error::NoRule {
                policy: self.path.clone(),
                model: real,
            });
        };
        for name in names {
            if let Some((first, _)) = self.rule_for(&name).filter(|(first, _)| *first != at) {
                return Err(Error::TwoRules {
                    policy: self.path.clone(),
                    name,
                    rule: first + 1,
                    model: real,
                    other: at + 1,
                });
            }
        }
        Ok(Judgement {
            policy: self,
            rule,
            name,
            model: real,
        })
    }

    fn rule_for(&self, model: &Path) -> Option<(usize, &Rule)> {
        let named = |rule: &Rule| rule.models.iter().any(|glob| matches(glob, model));
        let mut rules = self.rules.iter().enumerate();
        rules.find(|(_, rule)| named(rule))
    }
}

/// The rule for one model.
#[derive(Debug)]
pub struct Judgement<'a> {
    policy: &'a TrustPolicy,
    rule: &'a Rule,
    /// The last name of the path that was asked for.
    name: String,
    /// Resolved once: what is verified is what the rule was found for.
    model: PathBuf,
}

impl Judgement<'_> {
    /// Verifies the model as the rule says: of what lies there all must be signed, but for git's own files, what the rule leaves
    /// out and files without a byte where shards are, whatever its signer left out, and nothing old is taken. Without `signature` it lies where
    /// [`find_signature`] finds it; where the rule names no instance of Sigstore, that of `keyless` is believed.
    ///
    /// # Errors
    /// Those of [`verify`], and of the files that the rule names; [`Error::Locked`] where it names another instance than is locked in
    /// `settings`.
    pub fn verify(
        &self,
        signature: Option<&Path>,
        settings: &Settings,
        keyless: &Keyless,
        now: SystemTime,
        hashing: Hashing<'_>,
    ) -> Result<VerifiedModel, Error> {
        let (rule, model) = (self.rule, self.model.as_path());
        refuse_trust_in(model, [self.policy.path.as_path()])?;
        let verifier = rule.verifier(model, &self.keyless(settings, keyless)?)?;
        let expect_name = rule.expect_name.as_ref().map(|expected| match expected {
            Name::Given(name) => name.clone(),
            Name::Own => self.name.clone(),
        });
        let policy = Policy {
            strict: true,
            expect_name,
            symlinks: rule.symlinks,
            ignore: rule.ignore.iter().map(|path| model.join(path)).collect(),
            freshness: rule.freshness.clone().not_older_than(rule.max_age, now),
            ..Policy::default()
        };
        let found = find_signature(model);
        let signature = signature.unwrap_or(&found);
        let last_seen = rule.last_seen.as_ref();
        verify(model, signature, &*verifier, &policy, last_seen, hashing)
    }

    /// Whether it is about who signed through Sigstore.
    #[must_use]
    pub fn is_keyless(&self) -> bool {
        matches!(self.rule.signer, Believed::Sigstore { .. })
    }

    /// `given`, with the instance that the rule names.
    ///
    /// # Errors
    /// [`Error::Locked`] where another one is locked in `settings`.
    pub fn keyless(&self, settings: &Settings, given: &Keyless) -> Result<Keyless, Error> {
        let mut keyless = given.clone();
        if let Believed::Sigstore {
            trust_config: Some(path),
            ..
        } = &self.rule.signer
        {
            keyless.instance = Instance::trust_config(path.clone());
            if keyless.instance != given.instance {
                settings.unlocked(keyless.instance.variable())?;
            }
        }
        Ok(keyless)
    }
}

impl Rule {
    fn verifier(&self, model: &Path, keyless: &Keyless) -> Result<Box<dyn Verifier>, Error> {
        let refuse = |files: &[&[PathBuf]]| {
            let files = files.iter().copied().flatten().map(PathBuf::as_path);
            refuse_trust_in(model, files.clone())?;
            files.into_iter().try_for_each(refuse_writable)
        };
        Ok(match &self.signer {
            Believed::Sigstore {
                identity, provider, ..
            } => {
                keyless.refuse_trust_in(model)?;
                let expected = ExpectedSigner::new(identity, provider)?;
                Box::new(KeylessVerifier::new(&keyless.trust()?, expected)?)
            }
            Believed::Key { public_key, stamps } => {
                refuse(&[std::slice::from_ref(public_key), stamps])?;
                Box::new(KeyVerifier::read(public_key)?.with_timestamp_authorities(stamps)?)
            }
            Believed::Certificate {
                chain,
                identity,
                stamps,
                lists,
            } => {
                refuse(&[chain, stamps, lists])?;
                let verifier = CertificateVerifier::read(chain)?
                    .with_identity(identity)?
                    .with_timestamp_authorities(stamps)?
                    .with_revocation_lists(lists)?;
                Box::new(verifier)
            }
        })
    }
}

impl Wire {
    fn rule(self, folder: &Path) -> Result<Rule, String> {
        let models = globs(&self.models)?;
        let here = |what: &str, path: PathBuf| {
            if path.as_os_str().is_empty() {
                return Err(format!("`{what}` is empty"));
            }
            Ok(folder.join(path))
        };
        let all = |what: &str, paths: Option<Vec<PathBuf>>| match paths {
            // Whoever names the list asks for something.
            Some(paths) if paths.is_empty() => Err(format!("`{what}` is empty")),
            paths => {
                let paths = paths.into_iter().flatten();
                paths.map(|path| here(what, path)).collect()
            }
        };
        let signer = match (
            (self.identity, self.identity_provider, self.trust_config),
            self.public_key,
            (self.certificate_chain, self.certificate_identity),
            (self.timestamp_certificate_chain, self.revocation_list),
        ) {
            ((Some(identity), Some(provider), trust), None, (None, None), (None, None)) => {
                ExpectedSigner::new(&identity, &provider).map_err(|error| error.to_string())?;
                if !is_url(&provider) {
                    return Err(format!("`identity_provider` is {provider:?}, not a URL"));
                }
                let trust = trust.map(|path| here("trust_config", path));
                Believed::Sigstore {
                    identity,
                    provider,
                    trust_config: trust.transpose()?,
                }
            }
            ((None, None, None), Some(public_key), (None, None), (stamps, None)) => Believed::Key {
                public_key: here("public_key", public_key)?,
                stamps: all("timestamp_certificate_chain", stamps)?,
            },
            ((None, None, None), None, (Some(chain), Some(identity)), (stamps, lists)) => {
                CertificateVerifier::check_identity(&identity)
                    .map_err(|error| error.to_string())?;
                Believed::Certificate {
                    chain: all("certificate_chain", Some(chain))?,
                    identity,
                    stamps: all("timestamp_certificate_chain", stamps)?,
                    lists: all("revocation_list", lists)?,
                }
            }
            _ => {
                return Err(
                    "it must have one of `identity` with `identity_provider`, `public_key`, and `certificate_chain` with `certificate_identity`, and what goes with that one"
                        .to_owned(),
                );
            }
        };
        let max_age = self.max_age.map(|age| {
            duration(&age)
                .ok_or_else(|| format!("`max_age` is {age:?}, not such as 90m, 12h or 7d"))
        });
        let last_seen = self.last_seen.map(|path| here("last_seen", path));
        Ok(Rule {
            models,
            signer,
            expect_name: expected(self.expect_name)?,
            symlinks: self.symlinks.map(links).transpose()?,
            ignore: inside(self.ignore_paths)?,
            freshness: Freshness {
                run: self.run.map(|run| said("run", run)).transpose()?,
                min_step: self.min_step,
                ..Freshness::default()
            },
            max_age: max_age.transpose()?,
            last_seen: last_seen.transpose()?.map(LastSeen::new),
        })
    }
}

fn globs(texts: &[String]) -> Result<Vec<Pattern>, String> {
    if texts.is_empty() {
        return Err("`models` is empty".to_owned());
    }
    let globs = texts.iter().map(|text| {
        let wrong = |reason: &str| format!("`models` has {text:?}: {reason}");
        // Paths are compared as a whole, and are absolute.
        if text.is_empty() || (text.contains('/') && !text.starts_with(['/', '*'])) {
            return Err(wrong("no path is so"));
        }
        Pattern::new(text).map_err(|error| wrong(error.msg))
    });
    globs.collect()
}

fn said(what: &str, text: String) -> Result<String, String> {
    match text.as_str() {
        "" => Err(format!("`{what}` is empty")),
        _ => Ok(text),
    }
}

fn expected(value: Option<Value>) -> Result<Option<Name>, String> {
    Ok(match value {
        None | Some(Value::Flag(false)) => None,
        Some(Value::Flag(true)) => Some(Name::Own),
        Some(Value::Text(name)) => Some(Name::Given(said("expect_name", name)?)),
    })
}

fn links(value: Value) -> Result<Symlinks, String> {
    let name = match value {
        Value::Flag(flag) => flag.to_string(),
        Value::Text(name) => name,
    };
    Symlinks::parse(&name).ok_or_else(|| {
        let names = Symlinks::NAMES.join(", ");
        format!("`symlinks` is {name:?}, not one of: {names}")
    })
}

fn inside(paths: Option<Vec<String>>) -> Result<Vec<PathBuf>, String> {
    let paths = paths.into_iter().flatten().map(|path| {
        let whole = path.strip_suffix('/').unwrap_or(&path);
        match RelPath::parse(whole) {
            Ok(inside) => Ok(inside.as_str().into()),
            Err(_) => Err(format!(
                "`ignore_paths` has {path:?}, not a path inside a model"
            )),
        }
    });
    paths.collect()
}

/// Of an issuer: it is compared as it stands, so another form names none.
fn is_url(text: &str) -> bool {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
