//! Method `sigstore`: a Fulcio certificate, a timestamp and a log entry, judged by `sigstore-verify` after checks of ours.

use std::time::SystemTime;

use der::Decode;
use sigstore_trust_root::TrustedRoot;
use sigstore_verify::types::bundle::{
    CertificateContent, MediaType, Rfc3161Timestamp, SignatureContent, TimestampVerificationData,
    VerificationMaterial, VerificationMaterialContent,
};
use sigstore_verify::types::{
    Bundle as SigstoreBundle, Checkpoint, DerCertificate, DsseEnvelope, DsseSignature, KeyId,
    KindVersion, PayloadBytes, Sha256Hash, SignatureBytes, TimestampToken, TransparencyLogEntry,
};
use sigstore_verify::{Error as Refusal, VerificationPolicy, VerificationResult};
use x509_cert::Certificate;

use super::{Format, JudgedAt, SignedBy, VerifiedManifest, Verifier};
use crate::bundle::{Method, Signatory};
use crate::certified::certified;
use crate::envelope::IN_TOTO;
use crate::pattern::Pattern;
use crate::{Bundle, Digest, Error, Statement, TrustConfig};

/// Who must have signed: an identity, always with the provider that vouches for it, since providers may each have an
/// identity of one name. CI claims can be required beside them.
#[derive(Clone, Debug)]
pub struct ExpectedSigner {
    identity: Pattern,
    provider: String,
    repository: Option<String>,
    workflow: Option<String>,
    reference: Option<String>,
}

impl ExpectedSigner {
    /// `identity` is the certificate's subject alternative name (an email address, a URI, or a username such as `trainer!example.com`), or `glob:` and a pattern in
    /// which `*` stands for anything but `/` and `**` for anything, or `re:` and a regular expression for the whole of
    /// it. `provider` is the URL of the OIDC issuer, exactly.
    ///
    /// # Errors
    /// [`Error::IdentityPattern`].
    pub fn new(identity: &str, provider: &str) -> Result<Self, Error> {
        Ok(Self {
            identity: Pattern::parse(identity)?,
            provider: provider.to_owned(),
            repository: None,
            workflow: None,
            reference: None,
        })
    }

    /// Also requires the source repository's URI, as certified by the CI system (Fulcio extension 1.12).
    #[must_use]
    pub fn from_repository(mut self, uri: Option<String>) -> Self {
        self.repository = uri;
        self
    }

    /// Also requires the build configuration's URI (Fulcio extension 1.18, or 1.9 where a CI system has no other).
    #[must_use]
    pub fn from_workflow(mut self, uri: Option<String>) -> Self {
        self.workflow = uri;
        self
    }

    /// Also requires the source repository's ref, such as `refs/heads/main` (Fulcio extension 1.14).
    #[must_use]
    pub fn from_ref(mut self, reference: Option<String>) -> Self {
        self.reference = reference;
        self
    }

    fn check(
        &self,
        signer: &VerificationResult,
        identity: &str,
        provider: &str,
    ) -> Result<(), Error> {
        if !self.identity.matches(identity) || self.provider != provider {
            return Err(Error::Identity {
                expected: shown(self.identity.text(), &self.provider),
                found: shown(identity, provider),
            });
        }
        let claims = signer
            .certificate()
            .map(|certificate| &certificate.ci_claims);
        let claim = |of: fn(&sigstore_verify::crypto::FulcioCiClaims) -> Option<&String>| {
            claims.and_then(of).map(String::as_str)
        };
        for (what, expected, found) in [
            (
                "repository",
                &self.repository,
                claim(|c| c.source_repository_uri.as_ref()),
            ),
            (
                "workflow",
                &self.workflow,
                claim(|c| c.build_config_uri.as_ref().or(c.build_signer_uri.as_ref())),
            ),
            (
                "ref",
                &self.reference,
                claim(|c| c.source_repository_ref.as_ref()),
            ),
        ] {
            if expected.is_some() && expected.as_deref() != found {
                return Err(Error::Identity {
                    expected: format!("{what} {}", expected.as_deref().unwrap_or_default()),
                    found: format!("{what} {}", found.unwrap_or("unknown")),
                });
            }
        }
        Ok(())
    }
}

/// Judges keyless bundles by a trusted root. Needs no network.
pub struct KeylessVerifier {
    root: TrustedRoot,
    verifier: sigstore_verify::Verifier,
    expected: Option<ExpectedSigner>,
    legacy: bool,
}

impl KeylessVerifier {
    /// Believes `expected` alone.
    ///
    /// # Errors
    /// [`Error::TrustConfig`] where the trusted root cannot be used.
    pub fn new(trust: &TrustConfig, expected: ExpectedSigner) -> Result<Self, Error> {
        Ok(Self {
            expected: Some(expected),
            ..Self::of_anybody(trust)?
        })
    }

    /// Believes whomever the trusted root stands for: to check what this process has just signed, never what it loads.
    pub(crate) fn of_anybody(trust: &TrustConfig) -> Result<Self, Error> {
        let root = trust.trusted_root().clone();
        Ok(Self {
            verifier: judge(&root)?,
            root,
            expected: None,
            legacy: false,
        })
    }

    /// Also takes signatures of upstream 0.2, as [`KeyVerifier::with_legacy_format`](crate::KeyVerifier::with_legacy_format)
    /// does.
    #[must_use]
    pub fn with_legacy_format(mut self) -> Self {
        self.legacy = true;
        self
    }

    /// What the crates prove, with every check on.
    fn prove(
        &self,
        digest: Sha256Hash,
        bundle: &SigstoreBundle,
    ) -> Result<VerificationResult, Error> {
        let policy = VerificationPolicy::any_identity();
        let prove = |judge: &sigstore_verify::Verifier| {
            let signer = judge.verify(digest, bundle, &policy);
            signer.map_err(|refusal| refused(&refusal))
        };
        let signer = prove(&self.verifier)?;
        // To them every certificate of an authority is an anchor, whatever its own dates: a chain with one that was
        // not valid at the time of signing is left out, and the rest asked again.
        let times = signer.verified_timestamps();
        let mut valid = self.root.clone();
        valid.certificate_authorities.retain(|authority| {
            let chain = &authority.cert_chain.certificates;
            chain
                .iter()
                .all(|one| valid_at(one.raw_bytes.as_bytes(), times))
        });
        if valid.certificate_authorities.len() == self.root.certificate_authorities.len() {
            return Ok(signer);
        }
        prove(&judge(&valid)?)
    }
}

fn judge(root: &TrustedRoot) -> Result<sigstore_verify::Verifier, Error> {
    sigstore_verify::Verifier::new(root).map_err(|error| Error::TrustConfig {
        reason: error.to_string(),
    })
}

/// Whether a CA certificate was valid at all of `times`.
fn valid_at(der: &[u8], times: &[jiff::Timestamp]) -> bool {
    let Ok(certificate) = Certificate::from_der(der) else {
        return false;
    };
    let validity = certificate.tbs_certificate.validity;
    let (from, to) = (
        validity.not_before.to_system_time(),
        validity.not_after.to_system_time(),
    );
    times
        .iter()
        .all(|time| (from..=to).contains(&SystemTime::from(*time)))
}

impl Verifier for KeylessVerifier {
    fn verify(&self, bundle: &Bundle) -> Result<VerifiedManifest, Error> {
        let Signatory::Fulcio(certificate) = bundle.signer() else {
            return Err(Error::MethodMismatch {
                expected: Method::Sigstore,
                found: bundle.method(),
            });
        };
        let (format, statement) = Format::claimed(bundle)?;
        let digest = subject(format, &statement);
        let payload = Digest::of(&bundle.envelope().payload);
        let bundle = sigstore_bundle(bundle, certificate)?;
        for entry in &bundle.verification_material.tlog_entries {
            // They look for a v2 log by its checkpoint alone.
            if !self.root.tlogs.iter().any(|log| log.log_id == entry.log_id) {
                return Err(match self.expected {
                    Some(_) => Error::OtherInstance,
                    // It was signed a moment ago, at the instance that is believed.
                    None => Error::LogEntry {
                        reason: "its log is not in the trusted root".to_owned(),
                    },
                });
            }
        }
        let signer = self.prove(digest, &bundle)?;
        // What the policy above asks for; a change of the crate's defaults must not go unseen.
        let proven =
            signer.certificate_verified() && signer.sct_verified() && signer.tlog_verified();
        let judged = judged_at(&signer);
        if !proven || judged.is_none() {
            return Err(Error::Certificate {
                reason: "not all of it was proven".to_owned(),
            });
        }
        // The crates know email addresses and URIs alone, and take the first of several names.
        let (identity, provider) = certified(certificate)?;
        if let Some(expected) = &self.expected {
            expected.check(&signer, &identity, &provider)?;
        }
        if format == Format::Legacy && !self.legacy {
            return Err(Error::LegacyFormat);
        }
        let signed_by = SignedBy::Identity { identity, provider };
        Ok(VerifiedManifest {
            statement,
            signer: signed_by.to_string(),
            signed_by,
            format,
            judged,
            payload,
        })
    }
}

/// The earliest proven time, which is the log's where the log dates entries.
fn judged_at(signer: &VerificationResult) -> Option<JudgedAt> {
    let times = signer.verified_timestamps().iter().copied();
    let logged = signer
        .integrated_time()
        .filter(|logged| times.clone().any(|time| time == *logged));
    let stamped = times.filter(|time| Some(*time) != logged).min();
    match (stamped, logged) {
        (Some(time), None) => Some(JudgedAt::Timestamp(time.into())),
        (Some(time), Some(logged)) if time < logged => Some(JudgedAt::Timestamp(time.into())),
        (_, logged) => logged.map(|time| JudgedAt::Log(time.into())),
    }
}

/// Both texts come from a certificate: control characters are escaped.
fn shown(identity: &str, provider: &str) -> String {
    format!("{} ({})", identity.escape_debug(), provider.escape_debug())
}

/// The SHA-256 of a subject of `statement`, which the Sigstore crates ask for. Of the files that 0.2 names any will do: all
/// are of one payload.
fn subject(format: Format, statement: &Statement) -> Sha256Hash {
    let manifest = statement.manifest();
    let first = manifest.resources().first();
    let file = first.filter(|_| format == Format::Legacy);
    let file = file.and_then(|file| file.digest.as_bytes().try_into().ok());
    Sha256Hash::new(file.unwrap_or(*manifest.root_digest().as_bytes()))
}

/// The bundle as the Sigstore crates have it. What they are laxer with than OMS is checked here.
fn sigstore_bundle(bundle: &Bundle, certificate: &[u8]) -> Result<SigstoreBundle, Error> {
    let [entry] = bundle.entries() else {
        return Err(Error::LogEntryCount {
            found: bundle.entries().len(),
        });
    };
    let entry: TransparencyLogEntry =
        serde_json::from_value(entry.clone()).map_err(|error| Error::LogEntry {
            reason: error.to_string(),
        })?;
    if entry.kind_version == KindVersion::HashedRekordV001 {
        return Err(Error::LogEntry {
            reason: "no envelope is logged as hashedrekord 0.0.1".to_owned(),
        });
    }
    // They take root and size of the tree from the checkpoint, and in v2 the index from the entry, and pass over what
    // the proof says of them.
    let agrees = entry.inclusion_proof.as_ref().is_some_and(|proof| {
        let same = |checkpoint: &Checkpoint| {
            *checkpoint.root_hash() == proof.root_hash && checkpoint.tree_size() == proof.tree_size
        };
        let v2 = entry.kind_version == KindVersion::HashedRekordV002;
        proof.checkpoint.checkpoint().is_some_and(same)
            && (!v2 || proof.log_index == entry.log_index)
    });
    if !agrees {
        return Err(Error::LogEntry {
            reason: "its inclusion proof and its checkpoint are not of one tree".to_owned(),
        });
    }
    let certificate = DerCertificate::from_bytes(certificate);
    let certificate = CertificateContent::new(certificate);
    let stamps = bundle.stamps().iter();
    let stamps = stamps.map(|der| Rfc3161Timestamp::new(TimestampToken::from_bytes(der)));
    let material = VerificationMaterial::new(VerificationMaterialContent::Certificate(certificate))
        .with_tlog_entries(vec![entry])
        .with_timestamp_verification_data(TimestampVerificationData::new(stamps.collect()));
    let envelope = bundle.envelope();
    let signature = SignatureBytes::from_bytes(&envelope.signature);
    let envelope = DsseEnvelope::new(
        IN_TOTO,
        PayloadBytes::from_bytes(&envelope.payload),
        DsseSignature::new(signature, KeyId::default()),
    );
    Ok(SigstoreBundle::new(
        MediaType::Bundle0_3,
        material,
        SignatureContent::DsseEnvelope(envelope),
    ))
}

fn refused(refusal: &Refusal) -> Error {
    let reason = refusal.to_string();
    match refusal {
        Refusal::TransparencyLog(_) => Error::LogEntry { reason },
        Refusal::Timestamp(_) => Error::Timestamp { reason },
        Refusal::SignatureInvalid(_) | Refusal::ArtifactMismatch(_) => {
            Error::SignatureNotCertified { reason }
        }
        _ => Error::Certificate { reason },
    }
}
