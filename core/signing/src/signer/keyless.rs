//! Method `sigstore`: a key that lives for minutes, certified by Fulcio to whom a token names, with a timestamp and a log
//! entry for every signature.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use der::asn1::BitString;
use der::oid::ObjectIdentifier;
use der::{Decode, Encode};
use rustix::process::{Pid, getpid};
use x509_cert::Certificate;
use x509_cert::attr::Attributes;
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, Version};
use x509_cert::spki::{AlgorithmIdentifier, SubjectPublicKeyInfoOwned};

use super::rate::Bucket;
use super::{Rate, Signer};
use crate::bundle::Signatory;
use crate::certified::certified;
use crate::identity::{Issuer, known};
use crate::services::{
    Connection, Http, configured_issuers, log_entry, request_certificate, request_timestamp,
};
use crate::verifier::{KeylessVerifier, Verifier, pem_text};
use crate::{
    Bundle, Deadline, Envelope, Error, Guard, IdentityToken, Sources, Statement, TrustConfig,
};

/// The audience that the public instance's Fulcio expects.
pub const AUDIENCE: &str = "sigstore";
const ECDSA_WITH_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// For the network of one signature, retries and all, where nothing else is said.
const LIMIT: Duration = Duration::from_secs(60);
/// A certificate that ends sooner could end before the log has seen it.
const MARGIN: Duration = Duration::from_secs(60);

/// Whose tokens an authority takes, where it says so.
type Issuers = Option<Arc<[Issuer]>>;

/// Signs in the name that a token gives. Has no `Debug`.
pub struct KeylessSigner {
    trust: TrustConfig,
    tokens: Sources,
    connection: Connection,
    audience: String,
    guard: Guard,
    limit: Duration,
    bucket: Option<Bucket>,
    /// Whose tokens the authority takes, asked once.
    issuers: Mutex<Issuers>,
    credential: Mutex<Option<Arc<Credential>>>,
    verifier: KeylessVerifier,
}

/// Whose token would be sent, and what it would be certified as. All of it are claims.
#[derive(Clone, Debug)]
pub struct Introduction {
    /// The token's issuer.
    pub issuer: String,
    /// Whom the token names to its issuer.
    pub subject: String,
    /// When it ends.
    pub ends: Option<SystemTime>,
    /// The name that the certificate will have, where that can be told.
    pub name: Option<String>,
}

/// A key and its certificate, used for all signatures until the certificate is about to end. In memory only.
struct Credential {
    pair: EcdsaKeyPair,
    certificate: Vec<u8>,
    ends: SystemTime,
    /// A forked child would sign with its parent's key.
    process: Pid,
}

impl KeylessSigner {
    /// Signs with the services of `trust` and tokens of `tokens`. Asks for nothing before the first signature.
    ///
    /// # Errors
    /// [`Error::TrustConfig`] where `trust` cannot be used for signing.
    pub fn new(trust: TrustConfig, tokens: Sources) -> Result<Self, Error> {
        let connection = tokens.connection().clone();
        trust.services(connection.now())?;
        Ok(Self {
            verifier: KeylessVerifier::of_anybody(&trust)?,
            trust,
            tokens,
            connection,
            audience: AUDIENCE.to_owned(),
            guard: Guard::default(),
            limit: LIMIT,
            bucket: None,
            issuers: Mutex::new(None),
            credential: Mutex::new(None),
        })
    }

    /// For a Fulcio with another client id than `sigstore`.
    #[must_use]
    pub fn with_audience(mut self, audience: String) -> Self {
        self.audience = audience;
        self
    }

    /// Signs as nobody but whom `guard` expects.
    #[must_use]
    pub fn with_guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Gives the network of one signature so long instead of 60 s, retries and all.
    #[must_use]
    pub fn with_timeout(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Makes no more signatures than `rate` allows: who asks for one too many waits for its turn, beyond the timeout.
    #[must_use]
    pub fn with_rate(mut self, rate: Rate) -> Self {
        self.bucket = Some(Bucket::new(rate, self.connection.now()));
        self
    }

    /// Whether `token` may be sent to the authority, which takes tokens of `issuers`, where it says so.
    fn admit(&self, token: &IdentityToken, issuers: Option<&[Issuer]>) -> Result<(), Error> {
        let Some(issuers) = issuers else {
            return self.guard.check(None, token.issuer());
        };
        let issuer = known(issuers, token, &self.audience)?;
        self.guard
            .check(issuer.name(token).as_deref(), token.issuer())
    }

    fn issuers(&self, http: &Http<'_>, authority: &str) -> Result<Issuers, Error> {
        let mut kept = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.is_none() {
            *kept = configured_issuers(http, authority)?.map(Arc::from);
        }
        Ok(kept.clone())
    }

    /// Gets a token as for a signature, and does not send it.
    ///
    /// # Errors
    /// Those of the sources, and whatever keeps the token from being sent.
    pub fn introduce(&self) -> Result<Introduction, Error> {
        let services = self.trust.services(self.connection.now())?;
        let (token, issuers) = self.token(&services.authority, Deadline::within(self.limit))?;
        let issuer = issuers
            .as_deref()
            .map(|issuers| known(issuers, &token, &self.audience));
        let issuer = issuer.transpose()?;
        Ok(Introduction {
            issuer: token.issuer().to_owned(),
            subject: token.subject().to_owned(),
            ends: token.ends(),
            name: issuer.and_then(|issuer| issuer.name(&token)),
        })
    }

    /// A token that may be sent to the authority, and whose tokens that takes.
    fn token(
        &self,
        authority: &str,
        deadline: Deadline,
    ) -> Result<(IdentityToken, Issuers), Error> {
        let http = self.connection.to("Fulcio", deadline);
        let issuers = self.issuers(&http, authority)?;
        let gate = |token: &IdentityToken| self.admit(token, issuers.as_deref());
        let token = self
            .tokens
            .fetch_admitted(&self.audience, deadline, &gate)?;
        Ok((token, issuers))
    }

    /// What the sources have now in the place of `refused`, which may have been renewed or withdrawn a moment ago. A
    /// person is not asked twice.
    fn another(
        &self,
        refused: &IdentityToken,
        authority: &str,
        deadline: Deadline,
    ) -> Option<IdentityToken> {
        if self.tokens.ask_a_person() {
            return None;
        }
        let (token, _) = self.token(authority, deadline).ok()?;
        (token.expose() != refused.expose()).then_some(token)
    }

    /// One certificate for all who ask at once.
    fn credential(
        &self,
        authority: &str,
        deadline: &mut Deadline,
    ) -> Result<Arc<Credential>, Error> {
        let mut kept = self
            .credential
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = self.connection.now();
        if let Some(credential) = kept.as_ref().filter(|kept| kept.serves(now)) {
            return Ok(Arc::clone(credential));
        }
        *kept = None;
        let (token, _) = self.token(authority, *deadline)?;
        // A person who logs in takes minutes, which are not the services'.
        *deadline = Deadline::within(self.limit);
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| Error::SigningFailed)?;
        let request = certificate_request(&pair)?;
        let http = self.connection.to("Fulcio", *deadline);
        let certificate = match request_certificate(&http, authority, &token, &request) {
            Err(
                refused @ Error::Service {
                    status: Some(401), ..
                },
            ) => match self.another(&token, authority, *deadline) {
                Some(other) => request_certificate(&http, authority, &other, &request)?,
                None => return Err(refused),
            },
            answered => answered?,
        };
        drop(token);
        let parsed = Certificate::from_der(&certificate)
            .map_err(|error| http.misbehaved(format!("its certificate is malformed: {error}")))?;
        let certified_key = parsed.tbs_certificate.subject_public_key_info.to_der();
        if !certified_key.is_ok_and(|key| public_key(&pair).is_ok_and(|own| own == key)) {
            return Err(http.misbehaved("its certificate is for another key"));
        }
        let (identity, issuer) = certified(&certificate)?;
        self.guard.check(Some(&identity), &issuer)?;
        let ends = parsed.tbs_certificate.validity.not_after.to_system_time();
        let credential = Arc::new(Credential {
            pair,
            certificate,
            ends,
            process: getpid(),
        });
        Ok(Arc::clone(kept.insert(credential)))
    }

    /// One signature with its proofs.
    fn proven(&self, payload: Vec<u8>, mut deadline: Deadline) -> Result<Bundle, Error> {
        let services = self.trust.services(self.connection.now())?;
        let message = Envelope::pre_authentication_encoding(&payload);
        let credential = self.credential(&services.authority, &mut deadline)?;
        let signature = credential.pair.sign(&SystemRandom::new(), &message);
        let signature = signature.map_err(|_| Error::SigningFailed)?;
        let envelope = Envelope {
            payload,
            signature: signature.as_ref().to_vec(),
        };
        // The time first: a log may be slow, and the certificate has minutes.
        let http = self.connection.to("the timestamp authority", deadline);
        let stamps = services.timestamps.iter();
        let timestamps = stamps
            .map(|url| request_timestamp(&http, url, &envelope.signature))
            .collect::<Result<_, _>>()?;
        let logs = services.logs.iter();
        let log_entries = logs
            .map(|(url, version)| {
                let http = self.connection.to("Rekor", deadline);
                log_entry(http, url, *version, &envelope, &credential.certificate)
            })
            .collect::<Result<_, _>>()?;
        let signer = Signatory::Fulcio(credential.certificate.clone());
        Ok(Bundle::new(envelope, signer).with_proofs(log_entries, timestamps))
    }
}

impl Credential {
    fn serves(&self, now: SystemTime) -> bool {
        let left = self.ends.duration_since(now).unwrap_or_default();
        left > MARGIN && self.process == getpid()
    }
}

impl Signer for KeylessSigner {
    fn sign(&self, statement: &Statement) -> Result<Bundle, Error> {
        let payload = statement.to_json()?;
        if let Some(bucket) = &self.bucket {
            // Before anything that ends: a certificate, a token, the time for the services.
            let wait = bucket.take(self.connection.now());
            if !wait.is_zero() {
                self.connection.wait(wait);
            }
        }
        let deadline = Deadline::within(self.limit);
        match self.proven(payload.clone(), deadline) {
            // A v2 log took the entry of an earlier try, whose answer was lost, and gives out no entry twice. No two
            // signatures are the same (FIPS 186-5), so another one makes another entry.
            Err(Error::Service {
                status: Some(409), ..
            }) => self.proven(payload, deadline),
            other => other,
        }
    }

    fn verifier(&self) -> &dyn Verifier {
        &self.verifier
    }
}

fn public_key(pair: &EcdsaKeyPair) -> Result<Vec<u8>, Error> {
    let der: PublicKeyX509Der<'_> = pair
        .public_key()
        .as_der()
        .map_err(|_| Error::SigningFailed)?;
    Ok(der.as_ref().to_vec())
}

/// A certificate request for `pair` in PEM (RFC 2986). Its subject is empty: Fulcio takes the name from the token.
fn certificate_request(pair: &EcdsaKeyPair) -> Result<String, Error> {
    let failed = |_| Error::SigningFailed;
    let info = CertReqInfo {
        version: Version::V1,
        subject: Name::default(),
        public_key: SubjectPublicKeyInfoOwned::from_der(&public_key(pair)?).map_err(failed)?,
        attributes: Attributes::default(),
    };
    let signed = pair.sign(&SystemRandom::new(), &info.to_der().map_err(failed)?);
    let signed = signed.map_err(|_| Error::SigningFailed)?;
    let request = CertReq {
        info,
        algorithm: AlgorithmIdentifier {
            oid: ECDSA_WITH_SHA256,
            parameters: None,
        },
        signature: BitString::from_bytes(signed.as_ref()).map_err(failed)?,
    };
    Ok(pem_text(
        "CERTIFICATE REQUEST",
        &request.to_der().map_err(failed)?,
    ))
}
