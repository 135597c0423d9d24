//! Every way a file, a key, or a bundle can fail. Variants carry what was found; [`Error::hint`] says what to do next (hint.rs).

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use crate::{
    AnnotationFault, CertificateFault, Difference, FileKind, IndexFault, Method, PortabilityFault,
    SerializationFault, SymlinkFault,
};

/// Why a model could not be hashed, signed, verified, or its signature written.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A hash that this version does not compute.
    #[error("hash algorithm {found:?} is not supported")]
    Algorithm {
        /// The name in the statement.
        found: String,
    },
    /// A good signature, but of another or an older checkpoint than was asked for.
    #[error(transparent)]
    Annotation(#[from] AnnotationFault),
    /// An error inside the file at `path`.
    #[error("{path:?}: {source}")]
    At {
        /// The file that was read.
        path: PathBuf,
        /// What is wrong with its content.
        source: Box<Error>,
    },
    /// A field that should hold base64 does not (RFC 4648 section 4).
    #[error("{field} is not base64")]
    Base64 {
        /// The field's name in the bundle.
        field: &'static str,
    },
    /// The caller's [`Progress`](crate::Progress) asked to stop.
    #[error("hashing was cancelled")]
    Cancelled,
    /// A file was written, replaced, added or removed while the model was hashed.
    #[error("{path:?} changed while it was hashed")]
    ChangedWhileHashing {
        /// The first file seen to differ.
        path: PathBuf,
    },
    /// The files on disk are not the files that were signed.
    #[error("{0}")]
    Differs(Difference),
    /// An object with a key twice: two readers could see two contents.
    #[error("the {what} has the key {key:?} twice in one object")]
    DuplicateKey {
        /// "bundle" or "statement".
        what: &'static str,
        /// The key.
        key: String,
    },
    /// Two resources with one name.
    #[error("the statement names {name:?} twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A resource's digest that is not as many lower-case hex digits as its hash gives.
    #[error("the digest of {name:?} is not {digits} lower-case hex digits")]
    DigestForm {
        /// The resource.
        name: String,
        /// How many there should be.
        digits: usize,
    },
    /// No file is left to sign, or a statement lists none (OMS: MUST reject).
    #[error("{path:?} holds no file to sign")]
    EmptyModel {
        /// The model.
        path: PathBuf,
    },
    /// A statement without resources.
    #[error("the statement lists no file")]
    EmptyManifest,
    /// An ignore entry that would cover the whole model.
    #[error("ignore path {entry:?} covers the whole model")]
    IgnoresEverything {
        /// The entry.
        entry: String,
    },
    /// The certificate is not one that the trusted root stands for at the time of signing.
    #[error("the signer's certificate is not to be trusted: {reason}")]
    Certificate {
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate of a chain breaks a rule.
    #[error("the certificate {certificate:?} {fault}")]
    CertificateRefused {
        /// Its subject as RFC 4514 writes it, or where that cannot be read its SHA-256.
        certificate: String,
        /// Which rule.
        fault: CertificateFault,
    },
    /// The certificate names somebody else.
    #[error("signed by {found}, not by {expected}")]
    Identity {
        /// Who should have signed.
        expected: String,
        /// Who did, as certified.
        found: String,
    },
    /// A pattern for identities that is none.
    #[error("{pattern:?} is no pattern for an identity: {reason}")]
    IdentityPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An index names what the signature does not cover.
    #[error(transparent)]
    Index(#[from] IndexFault),
    /// An instance whose root nobody has trusted on this machine.
    #[error("no root of the Sigstore instance {url} is trusted here")]
    InstanceUnknown {
        /// The address of its TUF repository.
        url: String,
    },
    /// The prefix of a TensorFlow checkpoint, which is no file, in the place of its index.
    #[error("{prefix:?} is no file, but the prefix of {index:?}")]
    CheckpointPrefix {
        /// What was named.
        prefix: PathBuf,
        /// The file that stands for the checkpoint.
        index: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {path:?}: {source}")]
    Io {
        /// What was tried, as a verb: "open", "read", "write", ...
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Bundle or statement is not the JSON it should be: syntax, type, or a field that is not known.
    #[error("the {what} is not valid: {source}")]
    Json {
        /// "bundle" or "statement".
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// An encrypted key whose password takes too much to try.
    #[error("trying the key's password takes {found} {unit}, more than {limit}")]
    KeyDerivation {
        /// What its file asks for.
        found: u64,
        /// "iterations" (PBKDF2) or "bytes" (scrypt).
        unit: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// A PEM file without a block of a wanted kind.
    #[error("no {expected} in PEM form{}", found.as_ref().map(|tag| format!(", but {tag}")).unwrap_or_default())]
    KeyForm {
        /// What was looked for.
        expected: &'static str,
        /// The tag of a block that is there instead.
        found: Option<String>,
    },
    /// A key that is well formed but of no supported kind.
    #[error("the key is not an ECDSA key on P-256, P-384 or P-521")]
    KeyKind,
    /// A key encrypted the old way, inside the PEM text (RFC 1421).
    #[error("the key is encrypted in the old PEM form")]
    KeyLegacyEncryption,
    /// An encrypted key and a wrong password, or none.
    #[error("{}", if *given { "the password does not open the key" } else { "the key is encrypted and no password was given" })]
    KeyPassword {
        /// Whether a password was given.
        given: bool,
    },
    /// A good signature of upstream 0.2, which is read on request alone.
    #[error("the signature is in the format of model-signing 0.2, which binds less")]
    LegacyFormat,
    /// The proof that the signature is in a transparency log does not hold.
    #[error("the log entry is not to be trusted: {reason}")]
    LogEntry {
        /// What is wrong with it.
        reason: String,
    },
    /// A keyless signature has exactly one log entry.
    #[error("the bundle holds {found} log entries, not one")]
    LogEntryCount {
        /// How many there are.
        found: usize,
    },
    /// The instance has no log of the version that is asked for.
    #[error("the Sigstore instance has no Rekor v{wanted}, {}", rekor_found(found))]
    NoRekor {
        /// The major version that the settings ask for.
        wanted: u32,
        /// Those of the instance's logs.
        found: BTreeSet<u32>,
    },
    /// Of the given certificates none is a root.
    #[error("none of the {found} given certificates is a root, which names itself as its issuer")]
    NoRoot {
        /// How many there are.
        found: usize,
    },
    /// A trusted root without the addresses of its services.
    #[error("the trust config has no signing config, so it can only verify")]
    NoSigningConfig,
    /// No source has an identity token that can be used.
    #[error("no identity token can be used: {}", attempted(attempts, absent))]
    NoToken {
        /// The sources that were asked, and why each failed.
        attempts: Vec<(&'static str, Error)>,
        /// The sources that are not here, and why not.
        absent: Vec<(&'static str, String)>,
    },
    /// No verification material, or several kinds of it.
    #[error("the bundle holds not exactly one of public key, certificate and certificate chain")]
    Material,
    /// A media type other than Sigstore bundle v0.3.
    #[error("media type {found:?} is not a Sigstore bundle v0.3")]
    MediaType {
        /// The media type in the file.
        found: String,
    },
    /// Bundle and verifier are of different methods.
    #[error("signed with method `{found}`, to be verified with method `{expected}`")]
    MethodMismatch {
        /// The verifier's method.
        expected: Method,
        /// The bundle's method.
        found: Method,
    },
    /// A good signature of a model of another name, where the name was asked for.
    #[error("the signature is of a model named {found:?}, not {expected:?}")]
    ModelName {
        /// The name that was asked for.
        expected: String,
        /// The name in the statement.
        found: String,
    },
    /// A path that cannot be the name of a signed file.
    #[error("{name:?} cannot name a signed file: {reason}")]
    Name {
        /// The name.
        name: String,
        /// The rule that it breaks.
        reason: &'static str,
    },
    /// A name that is a folder of another name.
    #[error("the statement names both {name:?} and {inside:?} inside it")]
    NameConflict {
        /// The shorter name.
        name: String,
        /// The longer one.
        inside: String,
    },
    /// A file name that is not UTF-8 (OMS: MUST reject).
    #[error("the name of {path:?} is not UTF-8")]
    NameNotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// The certificate would be, or is, for somebody else than the job may sign as.
    #[error("this job would sign as {found}, and may as {expected} only")]
    NotExpected {
        /// Whom the settings name.
        expected: String,
        /// Whom the token or the certificate names.
        found: String,
    },
    /// Something in the model that is neither file nor folder.
    #[error("{path:?} is a {kind}, not a regular file")]
    NotAFile {
        /// Where.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// A name that is not good on every system, where that was asked for.
    #[error("{name:?} {fault}")]
    NotPortable {
        /// The file.
        name: String,
        /// Why.
        fault: PortabilityFault,
    },
    /// A keyless signature with an entry in a log that the trusted root does not know.
    #[error(
        "it was signed at another Sigstore instance than the one that is believed here, which does not have its log"
    )]
    OtherInstance,
    /// A password that is not UTF-8.
    #[error("the password in {path:?} is not UTF-8")]
    PasswordNotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A DSSE payload type other than in-toto.
    #[error("payload type {found:?} is not application/vnd.in-toto+json")]
    PayloadType {
        /// The type in the envelope.
        found: String,
    },
    /// A PKCS#11 URI, its token, or the key there.
    #[cfg(feature = "pkcs11")]
    #[error(transparent)]
    Pkcs11(#[from] crate::Pkcs11Fault),
    /// Another predicate than OMS v1.0.
    #[error("predicate type {found:?} is not https://model_signing/signature/v1.0")]
    PredicateType {
        /// The type in the statement.
        found: String,
    },
    /// No list of revoked certificates (RFC 5280 section 5), or one of a kind that is not understood.
    #[error("not a list of revoked certificates that can be used: {reason}")]
    RevocationList {
        /// Why not.
        reason: String,
    },
    /// The subject's digest is not the digest of the listed resources.
    #[error("the statement's root digest is {found}, its files give {expected}")]
    RootDigest {
        /// Computed from the resources, hex.
        expected: String,
        /// Written in the statement.
        found: String,
    },
    /// Resources that are not what the statement says of all of them.
    #[error(transparent)]
    Serialization(#[from] SerializationFault),
    /// A serialization that this version does not read.
    #[error("serialization method {found:?} is not supported")]
    SerializationMethod {
        /// The method in the statement.
        found: String,
    },
    /// No file where one with a secret in it should be.
    #[error("the file of the {what} cannot be read, {path:?}: {source}")]
    SecretFile {
        /// "password" or "token".
        what: &'static str,
        /// Its path as far as it is there: what was given may be the secret itself.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A signature whose name is longer than a file's may be.
    #[error("the name of the signature {path:?} has {length} bytes, and a file's may have {limit}")]
    SignatureName {
        /// Where the signature would go.
        path: PathBuf,
        /// How long its name is.
        length: usize,
        /// How long a name may be.
        limit: usize,
    },
    /// A DSSE envelope must hold exactly one signature.
    #[error("the envelope holds {found} signatures, not one")]
    SignatureCount {
        /// How many there are.
        found: usize,
    },
    /// A service could not be reached, or refused.
    #[error("{service} at {url} {}", service_failed(*status, reason))]
    Service {
        /// Which.
        service: &'static str,
        /// Where, without query.
        url: String,
        /// HTTP status, where there was an answer.
        status: Option<u16>,
        /// What it said, cut, and without anything that looks like a token.
        reason: String,
    },
    /// A service answered what no honest one answers.
    #[error("{service} misbehaved: {reason}")]
    ServiceMisbehaved {
        /// Which.
        service: &'static str,
        /// What is wrong with its answer.
        reason: String,
    },
    /// The envelope's signature is not by the certified key over this payload.
    #[error("the signature was not made by the certified key over this content: {reason}")]
    SignatureNotCertified {
        /// What is wrong with it.
        reason: String,
    },
    /// The signature is not by this key over this payload.
    #[error("the signature was not made by this key over this content{}", key_differs(expected, found.as_deref()))]
    SignatureInvalid {
        /// Hint of the key given (hex SHA-256 of its PEM).
        expected: String,
        /// Hint in the bundle, a claim only.
        found: Option<String>,
    },
    /// The cryptographic library could not sign.
    #[error("signing failed inside the cryptographic library")]
    SigningFailed,
    /// A signature for one file, and a folder to verify.
    #[error("the signature is of a single file, {path:?} is a folder")]
    SingleFileExpected {
        /// The folder.
        path: PathBuf,
    },
    /// Another statement type than in-toto v1.
    #[error("statement type {found:?} is not https://in-toto.io/Statement/v1")]
    StatementType {
        /// The type in the statement.
        found: String,
    },
    /// A statement must have exactly one subject, with a SHA-256 digest.
    #[error("the statement has {found} subjects with a SHA-256 digest, not one")]
    SubjectCount {
        /// How many there are.
        found: usize,
    },
    /// A symbolic link in the model.
    #[error("{path:?} is a symbolic link to {target:?}")]
    Symlink {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// A symbolic link that is not followed, though others are.
    #[error("{path:?} is a symbolic link to {target:?}, which {fault}")]
    SymlinkNotFollowed {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
        /// Why not.
        fault: SymlinkFault,
    },
    /// The proof of the time of signing does not hold.
    #[error("the timestamp is not to be trusted: {reason}")]
    Timestamp {
        /// What is wrong with it.
        reason: String,
    },
    /// An identity token that must not or cannot be used.
    #[error("the identity token cannot be used: {reason}")]
    Token {
        /// Why; never the token.
        reason: String,
    },
    /// JSON that nests deeper than any signer writes it.
    #[error("the {what} is nested deeper than {limit} levels")]
    TooDeep {
        /// "bundle" or "statement".
        what: &'static str,
        /// How many levels there may be.
        limit: usize,
    },
    /// A file beyond the limit for its kind.
    #[error("the {what} is larger than {limit} bytes")]
    TooLarge {
        /// "bundle" or "key".
        what: &'static str,
        /// Limit in bytes.
        limit: u64,
    },
    /// A bundle with more of something than any signer puts there.
    #[error("the bundle holds {found} {what}, more than {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// Trusted root or signing config is not what it should be.
    #[error("the trust config cannot be used: {reason}")]
    TrustConfig {
        /// What is wrong with it.
        reason: String,
    },
    /// A trust file that lies in the model, whose writers would then decide whom to trust.
    #[error("{path:?} lies in the model that it is to judge")]
    TrustInModel {
        /// The file.
        path: PathBuf,
    },
    /// Trust is given in both its forms, and nobody can say which one is meant.
    #[error("MODEL_SIGNING_TRUST_CONFIG is set, and so is {other}")]
    TrustGivenTwice {
        /// The other setting.
        other: &'static str,
    },
    /// A signing config whose services nothing vouches for.
    #[error("MODEL_SIGNING_SIGNING_CONFIG is set, and MODEL_SIGNING_TRUSTED_ROOT is not")]
    TrustRootMissing,
    /// Trust could not be brought up to date, or what is kept of it was altered.
    #[error("the trust of {url} cannot be established: {reason}")]
    TrustRefresh {
        /// The address of the TUF repository.
        url: String,
        /// Why.
        reason: String,
    },
    /// A file on which trust rests, and that others may write to.
    #[error("{path:?}, on which trust rests, can be written by other users")]
    TrustWritable {
        /// The file.
        path: PathBuf,
    },
    /// There is no signature.
    #[error("{signature:?} does not exist: the model is unsigned")]
    Unsigned {
        /// Where the signature was looked for.
        signature: PathBuf,
    },
    /// Another process put something else to the place of a signature at the same moment.
    #[error("another process has put something else in the place of the signature {path:?}")]
    Displaced {
        /// The place.
        path: PathBuf,
    },
    /// A signature would take the place of something that is none.
    #[error("{path:?} exists and is not a signature")]
    WouldOverwrite {
        /// The file in the way.
        path: PathBuf,
    },
}

fn attempted(attempts: &[(&'static str, Error)], absent: &[(&'static str, String)]) -> String {
    let attempts = attempts
        .iter()
        .map(|(source, error)| format!("{source}: {error}"));
    let absent = absent
        .iter()
        .map(|(source, reason)| format!("{source} is not here ({reason})"));
    let listed: Vec<_> = attempts.chain(absent).collect();
    listed.join("; ")
}

fn rekor_found(found: &BTreeSet<u32>) -> String {
    let found: Vec<_> = found.iter().map(|version| format!("v{version}")).collect();
    match found.as_slice() {
        [] => "and no other log".to_owned(),
        found => format!("but {}", found.join(" and ")),
    }
}

fn service_failed(status: Option<u16>, reason: &str) -> String {
    match status {
        Some(status) => format!("answered {status}: {reason}"),
        None => format!("cannot be used: {reason}"),
    }
}

fn key_differs(expected: &str, found: Option<&str>) -> String {
    match found {
        Some(found) if found != expected => format!(
            " (key given: {}…, key named in the bundle: {})",
            expected.get(..16).unwrap_or(expected),
            crate::digest::short(found)
        ),
        _ => String::new(),
    }
}

impl Error {
    /// The innermost error: what happened, without the file it happened in.
    #[must_use]
    pub fn root(&self) -> &Self {
        match self {
            Self::At { source, .. } => source.root(),
            other => other,
        }
    }
}
