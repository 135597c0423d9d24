//! `model-signing sign`

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use autosign_session::{ByHand, Config, Error, Method, PUBLIC_LOG, Settings, run_name, saved};
use autosign_signing::{Dialect, Ignore, Manner, Signer, publish, seal, state};
use clap::{Args, Subcommand, ValueEnum};
use zeroize::Zeroizing;

use crate::hashing::HashingArgs;
use crate::login::LoginArgs;
use crate::progress::Bar;
use crate::{
    GOOD, InstanceArgs, Selection, USAGE, config, default_signature, failed, freshen, say,
};

#[derive(Subcommand)]
pub(crate) enum Sign {
    /// In the name that an OIDC identity token gives, through Sigstore (the default).
    Sigstore(Sigstore),
    /// With a private key: ECDSA on P-256, P-384 or P-521.
    Key(Key),
    /// With a private key whose X.509 certificate names the signer.
    Certificate(Certificate),
    /// With a private key that stays on its token (PKCS#11): ECDSA on P-256, P-384 or P-521. `verify key` verifies it.
    Pkcs11Key(Pkcs11Key),
    /// With such a key whose X.509 certificate names the signer. `verify certificate` verifies it.
    Pkcs11Certificate(Pkcs11Certificate),
}

#[derive(Args)]
struct Model {
    /// The file or folder to sign.
    model: PathBuf,
    /// Where the signature goes.
    #[arg(long, value_name = "PATH", default_value_os_t = default_signature())]
    signature: PathBuf,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    hashing: HashingArgs,
    /// Also sign which training saved it, and when: for `verify --run` and others that refuse an older checkpoint.
    #[arg(long, value_name = "RUN", value_parser = named_run)]
    run: Option<String>,
    /// And at which step of the training.
    #[arg(long, value_name = "STEP", requires = "run")]
    step: Option<u64>,
    /// Sign in the words of another tool: model-signing-1 is upstream's release 1.x, to which a model of a single file has no
    /// name, and shards have hashes of their own. In all else the two agree.
    #[arg(long, value_name = "TOOL")]
    compat: Option<Compat>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Compat {
    #[value(name = "model-signing-1")]
    ModelSigning1,
}

#[derive(Args)]
pub(crate) struct Sigstore {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    instance: InstanceArgs,
    /// The token; others on this machine can see it, --identity-token-file hides it.
    #[arg(
        long,
        value_name = "TOKEN",
        allow_hyphen_values = true,
        conflicts_with = "identity_token_file"
    )]
    identity_token: Option<String>,
    /// A file with the token. Default: MODEL_SIGNING_IDENTITY_TOKEN_FILE, MODEL_SIGNING_IDENTITY_TOKEN.
    #[arg(long, value_name = "PATH")]
    identity_token_file: Option<PathBuf>,
    /// Take the token from the environment (the default), and never ask a person to log in.
    #[arg(long)]
    use_ambient_credentials: bool,
    #[command(flatten)]
    login: LoginArgs,
}

#[derive(Args)]
pub(crate) struct Key {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    key: PrivateKey,
    #[command(flatten)]
    stamp: Stamp,
}

#[derive(Args)]
pub(crate) struct Certificate {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    key: PrivateKey,
    #[command(flatten)]
    chain: Chain,
    #[command(flatten)]
    stamp: Stamp,
}

#[derive(Args)]
pub(crate) struct Pkcs11Key {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    key: TokenKey,
    #[command(flatten)]
    stamp: Stamp,
}

#[derive(Args)]
pub(crate) struct Pkcs11Certificate {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    key: TokenKey,
    #[command(flatten)]
    chain: Chain,
    #[command(flatten)]
    stamp: Stamp,
}

#[derive(Args)]
struct Chain {
    /// The certificate for that key, a PEM file.
    #[arg(long, value_name = "PATH")]
    signing_certificate: PathBuf,
    /// Certificates of its issuers, which the signature carries along, a PEM file; may be given several times.
    #[arg(long, value_name = "PATH", num_args = 1)]
    certificate_chain: Vec<PathBuf>,
}

#[derive(Args)]
struct Stamp {
    /// Have the signature timestamped by this authority (RFC 3161), for verifiers that believe it: the signature then holds
    /// beyond the end of a certificate, and proves when a key signed.
    #[arg(long, value_name = "URL")]
    timestamp_url: Option<String>,
}

#[derive(Args)]
struct PrivateKey {
    /// The private key, a PEM file. The key itself is taken, too, but others on this machine can see it.
    #[arg(long, value_name = "PATH", allow_hyphen_values = true)]
    private_key: PathBuf,
    /// Opens an encrypted key; others on this machine can see it, --password-file hides it.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "password_file")]
    password: Option<String>,
    /// A file whose first line opens an encrypted key.
    #[arg(long, value_name = "PATH")]
    password_file: Option<PathBuf>,
}

#[derive(Args)]
struct TokenKey {
    /// The private key as a PKCS#11 URI (RFC 7512), such as
    /// "pkcs11:token=NAME;object=KEY?module-path=/PATH/MODULE.so&pin-source=file:/PATH/PIN". Others on this machine can see
    /// a pin-value in it, pin-source hides the PIN in a file.
    // Read later: clap would repeat a wrong one, PIN and all.
    #[arg(long, value_name = "URI")]
    pkcs11_uri: String,
}

impl Sign {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        if config(settings, err).is_none() {
            return USAGE;
        }
        let model = self.model();
        model.selection.tell_unmatched(&model.model, err);
        let signed = match self {
            Self::Key(Key { model, key, stamp }) => {
                let by_hand = stamp.with(key.with(by(Method::Key)));
                model.sign_by_key(by_hand, settings)
            }
            Self::Certificate(given) => {
                let by_hand = given.chain.with(given.key.with(by(Method::Certificate)));
                given.model.sign_by_key(given.stamp.with(by_hand), settings)
            }
            Self::Pkcs11Key(Pkcs11Key { model, key, stamp }) => {
                let by_hand = stamp.with(key.with(by(Method::Pkcs11)));
                model.sign_by_key(by_hand, settings)
            }
            Self::Pkcs11Certificate(given) => {
                let by_hand = given.chain.with(given.key.with(by(Method::Pkcs11)));
                given.model.sign_by_key(given.stamp.with(by_hand), settings)
            }
            Self::Sigstore(sigstore) => sigstore.sign(settings, err),
        };
        match signed {
            Ok(()) => {
                say(out, format_args!("Signing succeeded"));
                GOOD
            }
            Err(error) => failed(err, "Signing", &error),
        }
    }

    fn model(&self) -> &Model {
        match self {
            Self::Key(key) => &key.model,
            Self::Certificate(certificate) => &certificate.model,
            Self::Pkcs11Key(key) => &key.model,
            Self::Pkcs11Certificate(certificate) => &certificate.model,
            Self::Sigstore(sigstore) => &sigstore.model,
        }
    }
}

fn by(method: Method) -> ByHand {
    ByHand {
        method,
        ..ByHand::default()
    }
}

impl Sigstore {
    fn sign(self, settings: &Settings, err: &mut dyn Write) -> Result<(), Error> {
        let by_hand = ByHand {
            identity_token: self.identity_token.map(Zeroizing::new),
            identity_token_file: self.identity_token_file,
            instance: self.instance.chosen(),
            ..by(Method::Sigstore)
        };
        let config = self.model.with(by_hand).config(settings)?;
        let keyless = config.keyless.clone();
        keyless.refuse_trust_in(&self.model.model)?;
        let ambient = self.use_ambient_credentials;
        if keyless.has_identity() || (!ambient && LoginArgs::possible()) {
            freshen(&keyless, err);
        }
        let (signer, public) = self.login.signer(keyless, settings, ambient)?;
        if public {
            say(err, format_args!("{PUBLIC_LOG}"));
        }
        self.model.sign(&signer, &config)
    }
}

impl PrivateKey {
    fn with(self, by_hand: ByHand) -> ByHand {
        let password = self.password.map(String::into_bytes);
        ByHand {
            private_key: Some(self.private_key.into()),
            password: password.map(Zeroizing::new),
            password_file: self.password_file,
            ..by_hand
        }
    }
}

impl TokenKey {
    fn with(self, by_hand: ByHand) -> ByHand {
        ByHand {
            private_key: Some(self.pkcs11_uri.into()),
            ..by_hand
        }
    }
}

impl Chain {
    fn with(self, by_hand: ByHand) -> ByHand {
        let chain = self.certificate_chain;
        ByHand {
            certificate: Some(self.signing_certificate),
            certificate_chain: Some(chain).filter(|chain| !chain.is_empty()),
            ..by_hand
        }
    }
}

impl Stamp {
    fn with(self, by_hand: ByHand) -> ByHand {
        ByHand {
            timestamp_url: self.timestamp_url,
            ..by_hand
        }
    }
}

fn named_run(text: &str) -> Result<String, &'static str> {
    let name = run_name(text).ok_or("no text of 1 to 256 bytes without control characters")?;
    Ok(name.to_owned())
}

impl Model {
    /// What of the model and its run is said otherwise than by settings.
    fn with(&self, by_hand: ByHand) -> ByHand {
        ByHand {
            run: self.run.clone(),
            threads: self.hashing.threads(),
            ignore_git_paths: self.selection.git_chosen(),
            ..by_hand
        }
    }

    fn sign_by_key(&self, by_hand: ByHand, settings: &Settings) -> Result<(), Error> {
        let config = self.with(by_hand).config(settings)?;
        self.sign(config.key_signer()?.as_ref(), &config)
    }

    fn sign(&self, signer: &dyn Signer, config: &Config) -> Result<(), Error> {
        let (git, ignored) = (config.ignore_git_paths, &self.selection.ignore_paths);
        let ignore = Ignore::new(&self.model, Some(&self.signature), ignored, git)?;
        let bar = Bar::default();
        let hashing = self.hashing.hashing(&self.selection, &bar)?;
        let dialect = match self.compat {
            Some(Compat::ModelSigning1) => Dialect::ModelSigning1,
            None => Dialect::Oms,
        };
        let mut statement = state(dialect, &self.model, &ignore, hashing)?;
        if let Some(run) = &self.run {
            statement.annotate(saved(run.clone(), self.step, SystemTime::now()));
        }
        publish(&self.signature, &seal(&statement, signer)?, Manner::Plain)?;
        Ok(())
    }
}
