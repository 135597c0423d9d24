//! `model-signing sign`

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use autosign_session::{Config, Error, PUBLIC_LOG, Settings, run_name, saved};
use autosign_signing::{
    CertificateSigner, Dialect, KeySigner, Manner, Pkcs11Signer, Pkcs11Uri, Signer, Sources,
    Timestamped, publish, read_password, seal, state,
};
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
    /// The private key, a PEM file.
    #[arg(long, value_name = "PATH")]
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
        let model = self.model();
        model.selection.tell_unmatched(&model.model, err);
        let signed = match self {
            Self::Key(key) => key.sign(settings),
            Self::Certificate(certificate) => certificate.sign(settings),
            Self::Pkcs11Key(key) => key.sign(settings),
            Self::Pkcs11Certificate(certificate) => certificate.sign(settings),
            Self::Sigstore(sigstore) => match config(settings, err) {
                Some(config) => sigstore.sign(config, settings, err),
                None => return USAGE,
            },
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

impl Sigstore {
    fn sign(self, config: Config, settings: &Settings, err: &mut dyn Write) -> Result<(), Error> {
        let mut keyless = config.keyless;
        self.instance.apply(&mut keyless, settings)?;
        if self.identity_token.is_some() || self.identity_token_file.is_some() {
            settings.unlocked("MODEL_SIGNING_IDENTITY_TOKEN")?;
            settings.unlocked("MODEL_SIGNING_CREDENTIALS")?;
        }
        if let Some(token) = self.identity_token {
            keyless.forget_sources();
            keyless.token = Some(Zeroizing::new(token));
        } else if self.identity_token_file.is_some() {
            keyless.forget_sources();
            keyless.token_file = self.identity_token_file;
        }
        keyless.refuse_trust_in(&self.model.model)?;
        let tokenless = !keyless.has_identity() && !self.use_ambient_credentials;
        let by_person = tokenless && LoginArgs::possible();
        if by_person || keyless.has_identity() {
            freshen(&keyless, err);
        }
        let (signer, public) = if by_person {
            let login = self.login.login(&mut keyless, settings.environment())?;
            keyless.signer_with(Sources::only(Box::new(login), keyless.connection()?))?
        } else {
            keyless.signer()?
        };
        if public {
            say(err, format_args!("{PUBLIC_LOG}"));
        }
        self.model.sign(&signer)
    }
}

impl Key {
    fn sign(self, settings: &Settings) -> Result<(), Error> {
        let password = self.key.password()?;
        let password = password.as_deref().map(String::as_bytes);
        let signer = KeySigner::read(&self.key.private_key, password)?;
        self.stamp.sign(&self.model, Box::new(signer), settings)
    }
}

impl Certificate {
    fn sign(self, settings: &Settings) -> Result<(), Error> {
        let password = self.key.password()?;
        let signer = CertificateSigner::read(
            &self.key.private_key,
            password.as_deref().map(String::as_bytes),
            &self.chain.signing_certificate,
            &self.chain.certificate_chain,
        )?;
        self.stamp.sign(&self.model, Box::new(signer), settings)
    }
}

impl Pkcs11Key {
    fn sign(self, settings: &Settings) -> Result<(), Error> {
        let signer = Pkcs11Signer::open(&self.key.uri()?)?;
        self.stamp.sign(&self.model, Box::new(signer), settings)
    }
}

impl Pkcs11Certificate {
    fn sign(self, settings: &Settings) -> Result<(), Error> {
        let signer = CertificateSigner::open(
            &self.key.uri()?,
            &self.chain.signing_certificate,
            &self.chain.certificate_chain,
        )?;
        self.stamp.sign(&self.model, Box::new(signer), settings)
    }
}

impl Stamp {
    /// Signs `model`, and has the signature timestamped where that is asked for.
    fn sign(
        self,
        model: &Model,
        signer: Box<dyn Signer>,
        settings: &Settings,
    ) -> Result<(), Error> {
        let Some(url) = self.timestamp_url else {
            return model.sign(signer.as_ref());
        };
        settings.unlocked("MODEL_SIGNING_TIMESTAMP_URL")?;
        let keyless = Config::read_strictly(settings)?.keyless;
        model.sign(&Timestamped::new(signer, keyless.connection()?, url))
    }
}

impl TokenKey {
    fn uri(&self) -> Result<Pkcs11Uri, autosign_signing::Error> {
        Pkcs11Uri::parse(&self.pkcs11_uri)
    }
}

impl PrivateKey {
    fn password(&self) -> Result<Option<Zeroizing<String>>, Error> {
        Ok(match &self.password_file {
            Some(path) => Some(read_password(path)?),
            None => self.password.clone().map(Zeroizing::new),
        })
    }
}

fn named_run(text: &str) -> Result<String, &'static str> {
    let name = run_name(text).ok_or("no text of 1 to 256 bytes without control characters")?;
    Ok(name.to_owned())
}

impl Model {
    fn sign(&self, signer: &dyn Signer) -> Result<(), Error> {
        let ignore = self.selection.ignore(&self.model, Some(&self.signature))?;
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
