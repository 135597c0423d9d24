//! `model-signing verify`

use std::io::Write;
use std::path::{Path, PathBuf};
use std::slice::from_ref;
use std::time::{Duration, SystemTime};

use autosign_session::{Config, Error, LastSeen, Settings, TrustPolicy, duration, verify};
use autosign_signing::{
    Bundle, Digest, Freshness, JudgedAt, Policy, VerifiedModel, Verifier, find_signature,
};
use clap::{ArgMatches, Args, Subcommand};

use crate::hashing::Workers;
use crate::progress::Bar;
use crate::verdict::{Good, bad, known, say_json, tell_hard_linked, tell_unsigned};
use crate::{GOOD, Selection, USAGE, believed, default_signature, failed, freshen, say, shown};

#[derive(Subcommand)]
pub(crate) enum Verify {
    /// With the identity of the signer, who signed through Sigstore (the default).
    Sigstore(Sigstore),
    /// With the signer's public key.
    Key(Key),
    /// With a root of the signer's X.509 certificate.
    Certificate(Certificate),
    /// As a policy says for the model: who must have signed it, and which of theirs is wanted. Of what is there all must be
    /// signed, whatever the signer left out, but for git's own files.
    Policy(ByPolicy),
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "one a switch")]
struct Model {
    /// The file or folder to verify.
    model: PathBuf,
    /// The signature. Default: model.sig in the working directory if there is one, else NAME.sig beside a file or in
    /// .signatures/files there, and model.sig inside a folder.
    #[arg(long, value_name = "PATH")]
    signature: Option<PathBuf>,
    #[command(flatten)]
    selection: Selection,
    /// Accept files that are not signed.
    #[arg(long, overrides_with = "no_ignore_unsigned_files")]
    ignore_unsigned_files: bool,
    /// Refuse them (the default).
    #[arg(long)]
    no_ignore_unsigned_files: bool,
    /// Refuse them also where the signature says that its signer left them out, except for git's own; and name signed
    /// files that are hard links, which can be changed through another name.
    #[arg(long)]
    strict: bool,
    /// The name that the signer must have given the model, which is the last part of the path that was signed. Without this,
    /// a model verifies under any name, and so does an older one of the same signer.
    #[arg(long, value_name = "NAME")]
    expect_name: Option<String>,
    /// The run that must have saved it, as MODEL_SIGNING_RUN named it.
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// The least step of its training at which it must have been saved.
    #[arg(long, value_name = "STEP")]
    min_step: Option<u64>,
    /// How long ago it may have been saved, such as 90m, 12h or 7d. Of a signature that does not say, the proven time of
    /// signing counts.
    #[arg(long, value_name = "AGE", value_parser = age)]
    max_age: Option<Duration>,
    /// A file that remembers the newest checkpoint of each run that was verified with it; an older one is refused. It is made
    /// where there is none.
    #[arg(long, value_name = "PATH")]
    last_seen: Option<PathBuf>,
    /// Print JSON: who signed when, and which files; or what is wrong.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    workers: Workers,
}

#[derive(Args)]
pub(crate) struct Sigstore {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    believed: believed::Sigstore,
}

#[derive(Args)]
pub(crate) struct Key {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    believed: believed::Key,
}

#[derive(Args)]
pub(crate) struct Certificate {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    believed: believed::Certificate,
    /// Print the SHA-256 of every certificate to stderr: `init` those given, `verify` those of the signature.
    #[arg(long)]
    log_fingerprints: bool,
}

#[derive(Args)]
pub(crate) struct ByPolicy {
    /// The file or folder to verify.
    model: PathBuf,
    /// The policy, a TOML file.
    #[arg(long, value_name = "PATH")]
    policy: PathBuf,
    /// The signature. Default: NAME.sig beside a file or in .signatures/files there, and model.sig inside a folder.
    #[arg(long, value_name = "PATH")]
    signature: Option<PathBuf>,
    /// Use no network. Without this, trust that is older than a day is fetched first.
    #[arg(long)]
    offline: bool,
    /// Print JSON: who signed when, and which files; or what is wrong.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    workers: Workers,
}

impl Verify {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let tell_signer = !matches!(self, Self::Key(_));
        let tell_time = !matches!(self, Self::Sigstore(_));
        let json = self.json();
        let other = self.passed_over();
        if let Some(model) = self.model() {
            model.selection.tell_unmatched(&model.model, err);
        }
        let verified = match self {
            Self::Key(key) => key.verify(),
            Self::Certificate(certificate) => certificate.verify(err),
            Self::Sigstore(sigstore) => match known(settings, json, out, err) {
                Some(config) => sigstore.verify(config, settings, err),
                None => return USAGE,
            },
            Self::Policy(policy) => match known(settings, json, out, err) {
                Some(config) => policy.verify(settings, &config, err),
                None => return USAGE,
            },
        };
        match verified {
            Ok(verified) => {
                tell_unsigned(&verified, err);
                tell_hard_linked(&verified, err);
                if let Some(warning) = verified.manifest().format().warning() {
                    say(err, format_args!("{warning}"));
                }
                let judged = verified.manifest().judged_at().filter(|_| tell_time);
                if let Some(judged) = judged.filter(|at| !matches!(at, JudgedAt::Now(_))) {
                    let what = if tell_signer {
                        "Certificates are judged as of"
                    } else {
                        "It was signed before"
                    };
                    say(err, format_args!("{what} {judged}"));
                }
                if json {
                    say_json(out, &Good::new(&verified));
                    return GOOD;
                }
                if tell_signer {
                    say(
                        out,
                        format_args!("Signed by {}", verified.manifest().signer()),
                    );
                }
                say(out, format_args!("Verification succeeded"));
                GOOD
            }
            Err(error) => {
                if json {
                    say_json(out, &bad(&error));
                }
                let code = failed(err, "Verification", &error);
                if let Some(other) = other {
                    let (taken, other) = (shown(default_signature()), shown(other));
                    say(
                        err,
                        format_args!(
                            "That was by {taken}; --signature takes another, such as {other}"
                        ),
                    );
                }
                code
            }
        }
    }

    /// The signature at the model's side that is not looked at, because there is one in the working directory.
    fn passed_over(&self) -> Option<PathBuf> {
        let model = self.model()?;
        let other = find_signature(&model.model);
        let differs = default_signature().canonicalize().ok()? != other.canonicalize().ok()?;
        (differs && model.signature.is_none()).then_some(other)
    }

    fn model(&self) -> Option<&Model> {
        match self {
            Self::Sigstore(sigstore) => Some(&sigstore.model),
            Self::Key(key) => Some(&key.model),
            Self::Certificate(certificate) => Some(&certificate.model),
            Self::Policy(_) => None,
        }
    }

    fn json(&self) -> bool {
        match self {
            Self::Sigstore(sigstore) => sigstore.model.json,
            Self::Key(key) => key.model.json,
            Self::Certificate(certificate) => certificate.model.json,
            Self::Policy(policy) => policy.json,
        }
    }
}

impl Sigstore {
    fn verify(
        self,
        config: Config,
        settings: &Settings,
        err: &mut dyn Write,
    ) -> Result<VerifiedModel, Error> {
        let judged = from_ref(&self.model.model);
        let verifier = self.believed.verifier(judged, config, settings, err)?;
        self.model.verify(&verifier)
    }
}

impl Key {
    fn verify(self) -> Result<VerifiedModel, Error> {
        let verifier = self.believed.verifier(from_ref(&self.model.model))?;
        self.model.verify(&verifier)
    }
}

impl Certificate {
    fn verify(self, err: &mut dyn Write) -> Result<VerifiedModel, Error> {
        let verifier = self.believed.verifier(from_ref(&self.model.model))?;
        if self.log_fingerprints {
            tell_fingerprints("[  init  ]", &verifier.fingerprints(), err);
            let bundle = Bundle::read(&self.model.signature())?;
            tell_fingerprints("[ verify ]", &bundle.fingerprints(), err);
        }
        self.model.verify(&verifier)
    }
}

impl ByPolicy {
    fn verify(
        self,
        settings: &Settings,
        config: &Config,
        err: &mut dyn Write,
    ) -> Result<VerifiedModel, Error> {
        let policy = TrustPolicy::read(&self.policy)?;
        let judged = policy.judge(&self.model)?;
        let keyless = judged.keyless(settings, &config.keyless)?;
        if judged.is_keyless() && !self.offline {
            freshen(&keyless, err);
        }
        let (signature, bar) = (self.signature.as_deref(), Bar::default());
        let hashing = self.workers.hashing(&bar);
        judged.verify(signature, settings, &keyless, SystemTime::now(), hashing)
    }
}

impl Model {
    fn signature(&self) -> PathBuf {
        let named = self.signature.clone();
        named.unwrap_or_else(|| signature_of(&self.model))
    }

    fn verify(self, verifier: &dyn Verifier) -> Result<VerifiedModel, Error> {
        let signature = self.signature();
        let last_seen = self.last_seen.map(LastSeen::new);
        let freshness = Freshness {
            run: self.run,
            min_step: self.min_step,
            ..Freshness::default()
        };
        let policy = Policy {
            ignore_git: self.selection.ignores_git(),
            ignore: self.selection.ignore_paths,
            ignore_unsigned: self.ignore_unsigned_files,
            strict: self.strict,
            expect_name: self.expect_name,
            freshness: freshness.not_older_than(self.max_age, SystemTime::now()),
            portable: self.selection.portable,
            symlinks: self.selection.allow_symlinks,
        };
        let bar = Bar::default();
        let hashing = self.workers.hashing(&bar);
        let last_seen = last_seen.as_ref();
        verify(
            &self.model,
            &signature,
            verifier,
            &policy,
            last_seen,
            hashing,
        )
    }
}

/// Of a command line that lacks whom to believe: how the signature wants to be verified, where that is another method.
pub(crate) fn other_method(lenient: &ArgMatches) -> Option<String> {
    let (command, of_verify) = lenient.subcommand()?;
    let (method, given) = of_verify.subcommand().filter(|_| command == "verify")?;
    let model: &PathBuf = given.try_get_one("model").ok()??;
    let named: Option<&PathBuf> = given.try_get_one("signature").ok()?;
    let signature = named.map_or_else(|| signature_of(model), Clone::clone);
    let found = Bundle::read(&signature).ok()?.method();
    let is_other = found.to_string() != method && method != "policy";
    is_other.then(|| format!("{}: {}", shown(&signature), found.way()))
}

/// Where the signature of `model` is looked for.
fn signature_of(model: &Path) -> PathBuf {
    let upstream = default_signature();
    if upstream.exists() {
        upstream
    } else {
        find_signature(model)
    }
}

fn age(text: &str) -> Result<Duration, &'static str> {
    duration(text).ok_or("no number of seconds, or of the unit s, m, h or d")
}

/// In upstream's form.
fn tell_fingerprints(what: &str, fingerprints: &[Digest], err: &mut dyn Write) {
    for fingerprint in fingerprints {
        let bytes = fingerprint.as_bytes().iter();
        let hex: Vec<_> = bytes.map(|byte| format!("{byte:02X}")).collect();
        say(
            err,
            format_args!("{what} sha256 Fingerprint: {}", hex.join(":")),
        );
    }
}
