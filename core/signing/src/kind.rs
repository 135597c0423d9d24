//! Kinds of errors, for programs that decide by them.

use std::fmt;

use crate::{AnnotationFault, Error};

/// What an [`Error`] is about. Where [`Error`] may get variants, these stay.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The files are not those that were signed, or not all that is loaded is.
    Differs,
    /// The operating system refused.
    Io,
    /// The signature file is damaged, or no OMS signature.
    Malformed,
    /// The model cannot be hashed as it is: links, names, no files, files that change.
    Model,
    /// Signed with another method.
    Method,
    /// A service, or a credential for it, cannot be used.
    Service,
    /// Somebody else signed, or nothing proves who.
    Signer,
    /// Keys, certificates, identities or trust that were given cannot be used.
    Trust,
    /// Well signed, but another or an older checkpoint than was asked for.
    Stale,
    /// There is no signature.
    Unsigned,
    /// A hash or a serialization that this version does not know.
    Unsupported,
    /// It is none of these.
    Other,
}

impl ErrorKind {
    /// Its name in `verify --json`: lower case, one word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Differs => "differs",
            Self::Io => "io",
            Self::Malformed => "malformed",
            Self::Model => "model",
            Self::Method => "method",
            Self::Service => "service",
            Self::Signer => "signer",
            Self::Stale => "stale",
            Self::Trust => "trust",
            Self::Unsigned => "unsigned",
            Self::Unsupported => "unsupported",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Error {
    /// What this is about.
    ///
    /// ```
    /// use autosign_signing::{Bundle, ErrorKind};
    /// let error = Bundle::read("no-such-file.sig".as_ref()).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::Unsigned);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::At { source, .. } => source.kind(),
            Self::Annotation(AnnotationFault::Form { .. } | AnnotationFault::RunTooLong { .. }) => {
                ErrorKind::Malformed
            }
            Self::Annotation(_) => ErrorKind::Stale,
            Self::Differs(_)
            | Self::Index(_)
            | Self::ModelName { .. }
            | Self::SingleFileExpected { .. } => ErrorKind::Differs,
            Self::CheckpointPrefix { .. } | Self::Io { .. } | Self::SecretFile { .. } => {
                ErrorKind::Io
            }
            Self::MethodMismatch { .. } => ErrorKind::Method,
            Self::Unsigned { .. } => ErrorKind::Unsigned,
            Self::Algorithm { .. } | Self::LegacyFormat | Self::SerializationMethod { .. } => {
                ErrorKind::Unsupported
            }
            Self::Certificate { .. }
            | Self::CertificateRefused { .. }
            | Self::Identity { .. }
            | Self::LogEntry { .. }
            | Self::LogEntryCount { .. }
            | Self::OtherInstance
            | Self::SignatureInvalid { .. }
            | Self::SignatureNotCertified { .. }
            | Self::Timestamp { .. } => ErrorKind::Signer,
            Self::ChangedWhileHashing { .. }
            | Self::EmptyModel { .. }
            | Self::NameNotUtf8 { .. }
            | Self::NotAFile { .. }
            | Self::NotPortable { .. }
            | Self::SignatureName { .. }
            | Self::Symlink { .. }
            | Self::SymlinkNotFollowed { .. } => ErrorKind::Model,
            Self::IdentityPattern { .. }
            | Self::InstanceUnknown { .. }
            | Self::KeyDerivation { .. }
            | Self::KeyForm { .. }
            | Self::KeyKind
            | Self::KeyLegacyEncryption
            | Self::KeyPassword { .. }
            | Self::NoRoot { .. }
            | Self::NoSigningConfig
            | Self::PasswordNotUtf8 { .. }
            | Self::RevocationList { .. }
            | Self::TrustConfig { .. }
            | Self::TrustGivenTwice { .. }
            | Self::TrustInModel { .. }
            | Self::TrustRefresh { .. }
            | Self::TrustRootMissing
            | Self::TrustWritable { .. } => ErrorKind::Trust,
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(_) => ErrorKind::Trust,
            Self::NoRekor { .. }
            | Self::NoToken { .. }
            | Self::NotExpected { .. }
            | Self::Service { .. }
            | Self::ServiceMisbehaved { .. }
            | Self::Token { .. } => ErrorKind::Service,
            Self::Base64 { .. }
            | Self::DigestForm { .. }
            | Self::DuplicateKey { .. }
            | Self::DuplicateName { .. }
            | Self::EmptyManifest
            | Self::IgnoresEverything { .. }
            | Self::Json { .. }
            | Self::Material
            | Self::MediaType { .. }
            | Self::Name { .. }
            | Self::NameConflict { .. }
            | Self::PayloadType { .. }
            | Self::PredicateType { .. }
            | Self::RootDigest { .. }
            | Self::Serialization(_)
            | Self::SignatureCount { .. }
            | Self::StatementType { .. }
            | Self::SubjectCount { .. }
            | Self::TooDeep { .. }
            | Self::TooLarge { .. }
            | Self::TooMany { .. } => ErrorKind::Malformed,
            Self::Cancelled
            | Self::Displaced { .. }
            | Self::SigningFailed
            | Self::WouldOverwrite { .. } => ErrorKind::Other,
        }
    }
}
