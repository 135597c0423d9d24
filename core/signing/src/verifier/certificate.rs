//! Method `certificate`: an ECDSA key with an X.509 certificate chain (RFC 5280), which ends at a given root.
//!
//! Nobody is believed by default: neither the web's certificate authorities, nor the root that a bundle brings along.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::expected_name::ExpectedName;
use super::path::path;
use super::timestamp::{TimestampAuthority, proven_time};
use super::{Format, JudgedAt, SignedBy, VerifiedManifest, Verifier, revocation};
use crate::bundle::{Method, Signatory};
use crate::certificate::Certificate;
use crate::services::{Clock, SystemClock};
use crate::{Bundle, CertificateFault as Fault, Digest, Error};

/// Believes whom given roots stand for. Certificates must be valid at the time of a timestamp over the signature, if there
/// is one and its authority is believed, else now, unless it is told otherwise.
///
/// The leaf's key usage has digitalSignature, its extended key usage, where there is one, codeSigning; both are there
/// where it is a certificate authority's. Revocation is looked at where lists of revoked certificates are given.
///
/// ```
/// use autosign_signing::{CertificateSigner, CertificateVerifier, Hashing, Ignore, Policy, sign, verify};
/// # let folder = tempfile::tempdir()?;
/// # let pair = rcgen::KeyPair::generate()?;
/// # let mut leaf = rcgen::CertificateParams::new(vec!["alice.example".to_owned()])?;
/// # leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
/// # let (key, certificate) = (folder.path().join("key.pem"), folder.path().join("leaf.pem"));
/// # std::fs::write(&key, pair.serialize_pem())?;
/// # std::fs::write(&certificate, leaf.self_signed(&pair)?.pem())?;
/// # let (model, signature) = (folder.path().join("a.pt"), folder.path().join("a.pt.sig"));
/// # std::fs::write(&model, b"weights")?;
/// let signer = CertificateSigner::read::<&str>(&key, None, &certificate, &[])?;
/// sign(&model, &signature, &Ignore::git(), &signer, Hashing::default())?;
///
/// // A certificate that signed itself is its own root.
/// let verifier = CertificateVerifier::read(&[&certificate])?.with_identity("alice.example")?;
/// let verified = verify(&model, &signature, &verifier, &Policy::default(), Hashing::default())?;
/// assert!(verified.manifest().signer().starts_with("alice.example "));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct CertificateVerifier {
    roots: Vec<Certificate>,
    others: Vec<Certificate>,
    expected: Option<ExpectedName>,
    authorities: Vec<TimestampAuthority>,
    revoked: Vec<revocation::RevocationList>,
    at: Option<SystemTime>,
    legacy_time: bool,
    legacy_format: bool,
    clock: Arc<dyn Clock>,
}

impl CertificateVerifier {
    /// Reads PEM files of any number of certificates. Those that name themselves as issuer are the roots, the others may
    /// lie between a root and a leaf.
    ///
    /// # Errors
    /// [`Error::Io`], and round the path [`Error::KeyForm`], [`Error::CertificateRefused`]; [`Error::NoRoot`].
    pub fn read<P: AsRef<Path>>(files: &[P]) -> Result<Self, Error> {
        let mut all = Vec::new();
        for file in files {
            all.extend(Certificate::read(file.as_ref())?);
        }
        Self::new(all)
    }

    /// Takes the certificates of a PEM text.
    ///
    /// # Errors
    /// [`Error::KeyForm`], [`Error::CertificateRefused`], [`Error::NoRoot`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, Error> {
        Self::new(Certificate::parse_pem(pem)?)
    }

    fn new(all: Vec<Certificate>) -> Result<Self, Error> {
        let (roots, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(Certificate::is_self_issued);
        if roots.is_empty() {
            return Err(Error::NoRoot {
                found: others.len(),
            });
        }
        Ok(Self::with_roots(roots, others))
    }

    /// For what was just signed with `chain`, of which the first is the leaf: its rules, and its way up as far as the
    /// chain goes. Never for what is loaded.
    pub(crate) fn of_itself(chain: &[Certificate]) -> Self {
        let mut top = chain.first();
        for _ in chain {
            let below = top.filter(|one| !one.is_self_issued());
            let is_issuer = |one: &&Certificate| {
                below.is_some_and(|below| {
                    one.is_named(below.issuer()) && below.check_signature(one).is_ok()
                })
            };
            top = chain.iter().find(is_issuer).or(top);
        }
        let others = chain.iter().skip(1).cloned().collect();
        Self::with_roots(top.cloned().into_iter().collect(), others)
    }

    fn with_roots(roots: Vec<Certificate>, others: Vec<Certificate>) -> Self {
        Self {
            roots,
            others,
            expected: None,
            authorities: Vec::new(),
            revoked: Vec::new(),
            at: None,
            legacy_time: false,
            legacy_format: false,
            clock: Arc::new(SystemClock),
        }
    }

    /// Believes only whom `identity` names: one of the leaf's subject alternative names (email address, URI, DNS name) or
    /// its subject as RFC 4514 writes it, exactly; or `glob:` and a pattern, or `re:` and a regular expression, as with
    /// [`ExpectedSigner::new`](crate::ExpectedSigner::new). What begins with an attribute (`CN=`) is compared with the subject alone,
    /// what has `://` with URIs, what has an `@` with email addresses, and everything else with no subject.
    ///
    /// # Errors
    /// [`Error::IdentityPattern`].
    pub fn with_identity(mut self, identity: &str) -> Result<Self, Error> {
        self.expected = Some(ExpectedName::parse(identity)?);
        Ok(self)
    }

    /// Whether [`with_identity`](Self::with_identity) takes it.
    ///
    /// # Errors
    /// [`Error::IdentityPattern`].
    pub fn check_identity(identity: &str) -> Result<(), Error> {
        ExpectedName::parse(identity).map(drop)
    }

    /// Also believes the timestamps of some authorities: each PEM file of `chains` goes from the certificate that signs them
    /// (extended key usage timeStamping, ECDSA) to its root, which is at least two. Not one that signs models, too.
    ///
    /// # Errors
    /// [`Error::Io`], and round the path [`Error::KeyForm`], [`Error::CertificateRefused`], [`Error::NoRoot`].
    pub fn with_timestamp_authorities<P: AsRef<Path>>(
        mut self,
        chains: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error> {
        self.authorities
            .extend(TimestampAuthority::read_all(chains)?);
        Ok(self)
    }

    /// Also refuses what is on a list of revoked certificates (RFC 5280 section 5): each file of `lists` has one in DER or any
    /// number in PEM. Once there is one, each certificate below the root must be cleared by a list of its issuer that had
    /// not ended at the time judged. What was revoked is refused whenever it signed. A root that is given is not asked for.
    ///
    /// # Errors
    /// [`Error::Io`], and round the path [`Error::KeyForm`], [`Error::RevocationList`].
    pub fn with_revocation_lists<P: AsRef<Path>>(
        mut self,
        lists: impl IntoIterator<Item = P>,
    ) -> Result<Self, Error> {
        for list in lists {
            self.revoked.extend(revocation::read(list.as_ref())?);
        }
        Ok(self)
    }

    /// Judges all certificates as of `time` where no timestamp proves one: somebody knows by other means when it was signed.
    #[must_use]
    pub fn with_time(mut self, time: SystemTime) -> Self {
        self.at = Some(time);
        self
    }

    /// Judges all certificates as of the leaf's `notBefore` where no timestamp proves a time, as upstream does. That proves nothing of the time of signing:
    /// the key of a certificate that ended long ago can still sign. Not for what a job loads by itself.
    #[must_use]
    pub fn with_legacy_time(mut self) -> Self {
        self.legacy_time = true;
        self
    }

    /// Also takes signatures of upstream 0.2, as [`KeyVerifier::with_legacy_format`](crate::KeyVerifier::with_legacy_format)
    /// does.
    #[must_use]
    pub fn with_legacy_format(mut self) -> Self {
        self.legacy_format = true;
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// SHA-256 of every given certificate, roots first.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<Digest> {
        let all = self.roots.iter().chain(&self.others);
        all.map(Certificate::fingerprint).collect()
    }

    fn judged_at(
        &self,
        leaf: &Certificate,
        stamps: &[Vec<u8>],
        signature: &[u8],
    ) -> Result<JudgedAt, Error> {
        let proven = proven_time(&self.authorities, stamps, signature)?;
        Ok(match (proven, self.at, self.legacy_time) {
            (Some(time), _, _) => JudgedAt::Timestamp(time),
            (None, Some(time), _) => JudgedAt::Given(time),
            (None, None, true) => JudgedAt::Begin(leaf.begins()),
            (None, None, false) => JudgedAt::Now(self.clock.now()),
        })
    }
}

impl Verifier for CertificateVerifier {
    fn verify(&self, bundle: &Bundle) -> Result<VerifiedManifest, Error> {
        let Signatory::Chain(certificates) = bundle.signer() else {
            return Err(Error::MethodMismatch {
                expected: Method::Certificate,
                found: bundle.method(),
            });
        };
        let chain = certificates.iter().map(|der| Certificate::parse(der));
        let chain: Vec<_> = chain.collect::<Result<_, _>>()?;
        let (leaf, brought) = chain.split_first().ok_or(Error::Material)?;
        let others = brought.iter().chain(&self.others);
        let envelope = bundle.envelope();
        let judged = self.judged_at(leaf, bundle.stamps(), &envelope.signature)?;
        let path = path(leaf, &self.roots, others, judged.time(), &self.revoked)?;
        let format = Format::of(bundle, &leaf.public_key()?, self.legacy_format)?;
        let format = format.ok_or_else(|| leaf.refused(Fault::SignatureInvalid))?;
        let names: Vec<_> = leaf.alternative_names().map(str::to_owned).collect();
        let subject = leaf.subject();
        let refused = self.expected.as_ref().filter(|it| !it.is_of(leaf));
        if let Some(expected) = refused {
            let names = names.iter().chain([&subject]).map(String::as_str);
            let names: Vec<_> = names.collect();
            return Err(Error::Identity {
                expected: expected.text().to_owned(),
                found: names.join(", ").escape_debug().to_string(),
            });
        }
        let signed_by = SignedBy::Certificate {
            names,
            subject,
            root: path.last().map(|root| root.subject()).unwrap_or_default(),
        };
        Ok(VerifiedManifest {
            judged: Some(judged),
            ..VerifiedManifest::accept(bundle, format, signed_by)?
        })
    }
}
