//! Every way a certificate can fail, and what to do then.

use std::time::SystemTime;

use jiff::Timestamp;

/// What is wrong with a certificate of method `certificate`. Times are as certified, in UTC.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// It is for another key than the one to sign with.
    #[error("is for another key than the one to sign with")]
    AnotherKey,
    /// A certificate authority's certificate signed, and does not say that it may sign code.
    #[error("is a certificate authority's, and does not say that it signs code")]
    AuthorityLeaf,
    /// An extension that must be understood, and is not (RFC 5280 section 4.2).
    #[error("has the critical extension {oid}, which is not understood")]
    CriticalExtension {
        /// Which, dotted.
        oid: String,
    },
    /// `notAfter` has passed (RFC 5280 section 4.1.2.5).
    #[error("ended at {}, before {}", shown(*ended), shown(*judged))]
    Expired {
        /// `notAfter`.
        ended: SystemTime,
        /// The time that it was judged at.
        judged: SystemTime,
    },
    /// An extended key usage without code signing (RFC 5280 section 4.2.1.12).
    #[error("is not for signing code, but for {}", found.join(", "))]
    ExtendedKeyUsage {
        /// What it is for, dotted.
        found: Vec<String>,
    },
    /// The issuer of this name has another key.
    #[error("was not signed by {issuer:?}, which it names as its issuer")]
    IssuerSignature {
        /// The issuer.
        issuer: String,
    },
    /// Nobody of this name is among the given roots, or in the chain (RFC 5280 section 6.1.3 (a)(4)).
    #[error("was issued by {issuer:?}, which is neither a given root nor in the chain")]
    IssuerUnknown {
        /// The issuer.
        issuer: String,
    },
    /// No X.509 certificate of version 3, or one with an extension twice.
    #[error("is malformed: {reason}")]
    Malformed {
        /// Where and why.
        reason: String,
    },
    /// A key usage without certificate signing (RFC 5280 section 4.2.1.3).
    #[error("issued another certificate, and its key usage is not for that")]
    MayNotCertify,
    /// Constraints on the names below (RFC 5280 section 4.2.1.10), and a leaf that they cannot be applied to.
    #[error("constrains names, which is not supported where an authority's own certificate signs")]
    NameConstraints,
    /// It issued another certificate without being a certificate authority's (RFC 5280 section 4.2.1.9).
    #[error("issued another certificate, and is no certificate authority's")]
    NotAnAuthority,
    /// A key usage without digital signatures, or none (RFC 5280 section 4.2.1.3).
    #[error("is not for digital signatures: {}", if *stated { "its key usage leaves them out" } else { "it states no key usage" })]
    NoDigitalSignature {
        /// Whether there is a key usage.
        stated: bool,
    },
    /// `notBefore` is to come (RFC 5280 section 4.1.2.5).
    #[error("begins at {}, after {}", shown(*begins), shown(*judged))]
    NotYetValid {
        /// `notBefore`.
        begins: SystemTime,
        /// The time that it was judged at.
        judged: SystemTime,
    },
    /// More authorities below this one than it allows (RFC 5280 section 4.2.1.9).
    #[error("allows {limit} authorities below it, and there are {found}")]
    PathLength {
        /// How many may be there.
        limit: usize,
        /// How many are.
        found: usize,
    },
    /// No root is found within reason.
    #[error(
        "is too far from a root: more than {limit} authorities between, or too many of one name"
    )]
    PathTooLong {
        /// How many authorities there may be between leaf and root.
        limit: usize,
    },
    /// rustls-webpki, the second judge, does not accept the path.
    #[error("is not acceptable: {reason}")]
    Refused {
        /// What it says.
        reason: String,
    },
    /// The signature over the model is not by the certified key.
    #[error("is not of the key that signed this content")]
    SignatureInvalid,
    /// Lists of revoked certificates were given, and none of them says whether this one is good (RFC 5280 section 5).
    #[error("may have been revoked: {reason}")]
    RevocationUnknown {
        /// Why nobody knows.
        reason: String,
    },
    /// It, or an authority between it and the root, is on a given list of revoked certificates (RFC 5280 section 5.3).
    #[error("was revoked, or an authority above it was")]
    Revoked,
    /// No algorithm that is still believed; SHA-1 is among those that are not.
    #[error("was signed with algorithm {oid}, which is not supported for the issuer's key")]
    SignatureAlgorithm {
        /// Which, dotted.
        oid: String,
    },
}

impl CertificateFault {
    /// What to do next, in one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::AnotherKey => "give the certificate that was issued for this key",
            Self::AuthorityLeaf
            | Self::ExtendedKeyUsage { .. }
            | Self::NoDigitalSignature { .. } => {
                "the producer needs a certificate with key usage digitalSignature and extended key usage codeSigning"
            }
            Self::Expired { .. } => {
                "ask the producer to sign again with a new certificate; where the signature has a timestamp, name its authority with --timestamp-certificate-chain; where you know when it was signed, say so with --at; `verify certificate --legacy` judges as of the day the certificate began, as upstream does, though whoever has the old key could sign today"
            }
            Self::NotYetValid { .. } => {
                "check this machine's clock; `verify certificate --legacy` judges as of the day the certificate began"
            }
            Self::IssuerSignature { .. } | Self::IssuerUnknown { .. } => {
                "give the root of the producer's certificates with --certificate-chain, and intermediate ones that are not in the signature; if they are, do not trust the model"
            }
            Self::CriticalExtension { .. }
            | Self::Malformed { .. }
            | Self::NameConstraints
            | Self::Refused { .. }
            | Self::SignatureAlgorithm { .. } => {
                "ask the issuer for a certificate as RFC 5280 has it, with an ECDSA or RSA signature over SHA-2"
            }
            Self::MayNotCertify
            | Self::NotAnAuthority
            | Self::PathLength { .. }
            | Self::PathTooLong { .. } => {
                "do not trust the model before its producer has explained who issued the certificate"
            }
            Self::RevocationUnknown { .. } => {
                "give newer lists with --revocation-list, one of each authority on the way to the root"
            }
            Self::Revoked => {
                "do not trust the model: ask its producer to sign it again with a new certificate"
            }
            Self::SignatureInvalid => "do not trust the model: its signature was altered",
        }
    }
}

fn shown(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(
        |_| "a time beyond reason".to_owned(),
        |time| time.to_string(),
    )
}
