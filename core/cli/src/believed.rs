//! Whom a verifier believes: the options of each method.

use std::io::Write;
use std::path::PathBuf;

use autosign_session::{Config, Error, Settings, refuse_trust_in};
use autosign_signing::{CertificateVerifier, ExpectedSigner, KeyVerifier, KeylessVerifier};
use clap::Args;

use crate::{InstanceArgs, freshen};

#[derive(Args)]
#[group(skip)] // of this name there is one already
pub(crate) struct Sigstore {
    #[command(flatten)]
    instance: InstanceArgs,
    /// Who must have signed: an email address, URI or username (NAME!DOMAIN), exactly; or glob:PATTERN, where * stands for
    /// anything but / and ** for anything; or re:EXPRESSION, for the whole of it.
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
#[group(skip)] // of this name there is one already
pub(crate) struct Key {
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
#[group(skip)] // of this name there is one already
pub(crate) struct Certificate {
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

impl Sigstore {
    /// The verifier; none of `judged`, whose writers would then decide whom to trust, holds what it rests on.
    pub(crate) fn verifier(
        self,
        judged: &[PathBuf],
        config: Config,
        settings: &Settings,
        err: &mut dyn Write,
    ) -> Result<KeylessVerifier, Error> {
        let mut keyless = config.keyless;
        self.instance.apply(&mut keyless, settings)?;
        for model in judged {
            keyless.refuse_trust_in(model)?;
        }
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
        Ok(verifier)
    }
}

impl Key {
    /// The verifier; none of `judged`, whose writers would then decide whom to trust, holds what it rests on.
    pub(crate) fn verifier(&self, judged: &[PathBuf]) -> Result<KeyVerifier, Error> {
        let chains = &self.stamps.timestamp_certificate_chain;
        refuse_in(judged, &[chains])?;
        let mut verifier =
            KeyVerifier::read(&self.public_key)?.with_timestamp_authorities(chains)?;
        if self.legacy {
            verifier = verifier.with_legacy_format();
        }
        Ok(verifier)
    }
}

impl Certificate {
    /// The verifier; none of `judged`, whose writers would then decide whom to trust, holds what it rests on.
    pub(crate) fn verifier(&self, judged: &[PathBuf]) -> Result<CertificateVerifier, Error> {
        let stamps = &self.stamps.timestamp_certificate_chain;
        let given = [&self.certificate_chain, &self.revocation_list, stamps];
        refuse_in(judged, &given)?;
        let mut verifier = CertificateVerifier::read(&self.certificate_chain)?
            .with_timestamp_authorities(stamps)?
            .with_revocation_lists(&self.revocation_list)?;
        if let Some(identity) = &self.certificate_identity {
            verifier = verifier.with_identity(identity)?;
        }
        if let Some(time) = self.at {
            verifier = verifier.with_time(time.into());
        }
        if self.legacy {
            verifier = verifier.with_legacy_time().with_legacy_format();
        }
        Ok(verifier)
    }
}

fn refuse_in(judged: &[PathBuf], given: &[&Vec<PathBuf>]) -> Result<(), Error> {
    for model in judged {
        let given = given.iter().copied().flatten();
        refuse_trust_in(model, given.map(PathBuf::as_path))?;
    }
    Ok(())
}
