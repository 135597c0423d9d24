//! `model-signing verify`

use std::io::Write;
use std::path::PathBuf;

use autosign_session::{Config, Error, Settings, refuse_trust_in};
use autosign_signing::{
    Bundle, CertificateVerifier, Digest, ExpectedSigner, JudgedAt, KeyVerifier, KeylessVerifier,
    Policy, VerifiedModel, Verifier, signature_path, verify,
};
use clap::{Args, Subcommand};

use crate::hashing::Workers;
use crate::progress::Bar;
use crate::verdict::{Good, bad, say_json, tell_hard_linked, tell_unsigned};
use crate::{
    GOOD, InstanceArgs, Selection, USAGE, config, default_signature, failed, freshen, say,
};

#[derive(Subcommand)]
pub(crate) enum Verify {
    /// With the identity of the signer, who signed through Sigstore (the default).
    Sigstore(Sigstore),
    /// With the signer's public key.
    Key(Key),
    /// With a root of the signer's X.509 certificate.
    Certificate(Certificate),
}

#[derive(Args)]
#[expect(clippy::struct_excessive_bools, reason = "one a switch")]
struct Model {
    /// The file or folder to verify.
    model: PathBuf,
    /// The signature. Default: model.sig in the working directory if there is one, else NAME.sig beside a file and
    /// model.sig inside a folder.
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
    instance: InstanceArgs,
    /// Who must have signed: an email address or URI, exactly; or glob:PATTERN, where * stands for anything but / and
    /// ** for anything; or re:EXPRESSION, for the whole of it.
    #[arg(long)]
    identity: String,
    /// The OIDC issuer that vouches for the identity, a URL.
    #[arg(long, value_name = "URL")]
    identity_provider: String,
    /// The source repository that the certificate must name, a URI.
    #[arg(long, value_name = "URI")]
    repository: Option<String>,
    /// The workflow that the certificate must name, a URI.
    #[arg(long, value_name = "URI")]
    workflow: Option<String>,
    /// The source ref that the certificate must name, such as refs/heads/main.
    #[arg(long = "ref", value_name = "REF")]
    reference: Option<String>,
    /// Use no network. Without this, trust that is older than a day is fetched first.
    #[arg(long)]
    offline: bool,
    /// Also take signatures of upstream's release 0.2, which bind less: only for models that are known to be of that time.
    #[arg(long)]
    legacy: bool,
}

#[derive(Args)]
pub(crate) struct Key {
    #[command(flatten)]
    model: Model,
    /// The public key, a PEM file.
    #[arg(long, value_name = "PATH")]
    public_key: PathBuf,
    #[command(flatten)]
    stamps: Stamps,
    /// Also take signatures of upstream's release 0.2, which bind less: only for models that are known to be of that time.
    #[arg(long)]
    legacy: bool,
}

#[derive(Args)]
pub(crate) struct Certificate {
    #[command(flatten)]
    model: Model,
    /// The roots that are believed, and nobody else: a PEM file; may be given several times. It may hold certificates
    /// between them and the signer's, too.
    #[arg(long, value_name = "PATH", num_args = 1, required = true)]
    certificate_chain: Vec<PathBuf>,
    /// Who must have signed: an email address, URI or DNS name of the certificate, or its subject as RFC 4514 writes it,
    /// exactly; or glob:PATTERN, where * stands for anything but / and ** for anything; or re:EXPRESSION, for the whole.
    #[arg(long, value_name = "IDENTITY")]
    certificate_identity: Option<String>,
    #[command(flatten)]
    stamps: Stamps,
    /// A list of revoked certificates, in DER, or any number in PEM; may be given several times. Once there is one, every
    /// certificate below the root must be cleared by a list of its issuer.
    #[arg(long, value_name = "PATH", num_args = 1)]
    revocation_list: Vec<PathBuf>,
    /// Without a timestamp, judge certificates as of this time, not now: YYYY-MM-DDThh:mm:ssZ, or with an offset (RFC 3339).
    /// For whoever knows by other means when the model was signed.
    #[arg(long, value_name = "TIME", conflicts_with = "legacy")]
    at: Option<jiff::Timestamp>,
    /// Print the SHA-256 of every certificate to stderr: `init` those given, `verify` those of the signature.
    #[arg(long)]
    log_fingerprints: bool,
    /// Without a timestamp, judge certificates as of the day when the signer's began, not now, and also take signatures of
    /// upstream's release 0.2. The key of a certificate that ended can still sign, and 0.2 binds less: only for models
    /// that are known to be older.
    #[arg(long)]
    legacy: bool,
}

#[derive(Args)]
struct Stamps {
    /// A timestamp authority whose word on the time of signing is believed, a PEM file from the certificate that signs
    /// timestamps to its root; may be given several times. A timestamp must then be right.
    #[arg(long, value_name = "PATH", num_args = 1)]
    timestamp_certificate_chain: Vec<PathBuf>,
}

impl Verify {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let tell_signer = matches!(self, Self::Certificate(_));
        let tell_time = !matches!(self, Self::Sigstore(_));
        let json = self.model().json;
        let verified = match self {
            Self::Key(key) => key.verify(),
            Self::Certificate(certificate) => certificate.verify(err),
            Self::Sigstore(sigstore) => {
                let Some(config) = config(settings, err) else {
                    if let (true, Some(error)) = (json, Config::read_strictly(settings).err()) {
                        say_json(out, &bad(&error));
                    }
                    return USAGE;
                };
                sigstore.verify(config, settings, err)
            }
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
                failed(err, "Verification", &error)
            }
        }
    }

    fn model(&self) -> &Model {
        match self {
            Self::Sigstore(sigstore) => &sigstore.model,
            Self::Key(key) => &key.model,
            Self::Certificate(certificate) => &certificate.model,
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
        let mut keyless = config.keyless;
        self.instance.apply(&mut keyless, settings)?;
        keyless.refuse_trust_in(&self.model.model)?;
        if !self.offline {
            freshen(&keyless, err);
        }
        let expected = ExpectedSigner::new(&self.identity, &self.identity_provider)?
            .from_repository(self.repository)
            .from_workflow(self.workflow)
            .from_ref(self.reference);
        let mut verifier = KeylessVerifier::new(&keyless.trust()?, expected)?;
        if self.legacy {
            verifier = verifier.with_legacy_format();
        }
        self.model.verify(&verifier)
    }
}

impl Key {
    fn verify(self) -> Result<VerifiedModel, Error> {
        let chains = &self.stamps.timestamp_certificate_chain;
        refuse_trust_in(&self.model.model, chains.iter().map(PathBuf::as_path))?;
        let mut verifier = KeyVerifier::read(&self.public_key)?;
        for chain in chains {
            verifier = verifier.with_timestamp_authority(chain)?;
        }
        if self.legacy {
            verifier = verifier.with_legacy_format();
        }
        self.model.verify(&verifier)
    }
}

impl Certificate {
    fn verify(self, err: &mut dyn Write) -> Result<VerifiedModel, Error> {
        let given = [
            &self.certificate_chain,
            &self.revocation_list,
            &self.stamps.timestamp_certificate_chain,
        ];
        let given = given.into_iter().flatten().map(PathBuf::as_path);
        refuse_trust_in(&self.model.model, given)?;
        let mut verifier = CertificateVerifier::read(&self.certificate_chain)?;
        if let Some(identity) = &self.certificate_identity {
            verifier = verifier.with_identity(identity)?;
        }
        for chain in &self.stamps.timestamp_certificate_chain {
            verifier = verifier.with_timestamp_authority(chain)?;
        }
        for list in &self.revocation_list {
            verifier = verifier.with_revocation_list(list)?;
        }
        if let Some(time) = self.at {
            verifier = verifier.with_time(time.into());
        }
        if self.legacy {
            verifier = verifier.with_legacy_time().with_legacy_format();
        }
        if self.log_fingerprints {
            tell_fingerprints("[  init  ]", &verifier.fingerprints(), err);
            let bundle = Bundle::read(&self.model.signature())?;
            tell_fingerprints("[ verify ]", &bundle.fingerprints(), err);
        }
        self.model.verify(&verifier)
    }
}

impl Model {
    fn signature(&self) -> PathBuf {
        self.signature.clone().unwrap_or_else(|| {
            let upstream = default_signature();
            if upstream.exists() {
                upstream
            } else {
                signature_path(&self.model)
            }
        })
    }

    fn verify(self, verifier: &dyn Verifier) -> Result<VerifiedModel, Error> {
        let signature = self.signature();
        let policy = Policy {
            ignore_git: self.selection.ignores_git(),
            ignore: self.selection.ignore_paths,
            ignore_unsigned: self.ignore_unsigned_files,
            strict: self.strict,
            expect_name: self.expect_name,
            portable: self.selection.portable,
            symlinks: self.selection.allow_symlinks,
        };
        let bar = Bar::default();
        let hashing = self.workers.hashing(&bar);
        Ok(verify(&self.model, &signature, verifier, &policy, hashing)?)
    }
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
