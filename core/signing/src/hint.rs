//! What to do after an error.

use std::io;

use rustix::io::Errno;

use crate::Error;

impl Error {
    /// What to do next, in one sentence.
    #[must_use]
    #[expect(clippy::too_many_lines, reason = "one arm a kind of error")]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Algorithm { .. } | Self::SerializationMethod { .. } => {
                "verify it with the tool that signed it, or sign again with `files` and `sha256`"
            }
            Self::Annotation(fault) => fault.hint(),
            Self::At { source, .. } => source.hint(),
            Self::Cancelled => "start again",
            Self::Certificate { .. }
            | Self::LogEntry { .. }
            | Self::LogEntryCount { .. }
            | Self::SignatureNotCertified { .. }
            | Self::Timestamp { .. } => {
                "check that the trusted root is that of the signer's Sigstore instance; if it is, do not trust the model"
            }
            Self::CertificateRefused { fault, .. } => fault.hint(),
            Self::CheckpointPrefix { .. } => {
                "name that file, PREFIX.index: a TensorFlow checkpoint is signed and verified as its index"
            }
            Self::ChangedWhileHashing { .. } => "sign again when nothing writes to the model",
            Self::Differs(difference) => difference.hint(),
            Self::EmptyModel { .. } => "name a file, or a folder that holds at least one",
            Self::Identity { .. } => {
                "give the identity of the producer, with its identity provider if it has one; if they are, do not trust the model"
            }
            Self::IdentityPattern { .. } => {
                "give the identity itself, or `glob:PATTERN`, or `re:REGULAR-EXPRESSION`"
            }
            Self::IgnoresEverything { .. } => "ignore single files or folders inside the model",
            Self::Index(fault) => fault.hint(),
            Self::InstanceUnknown { .. } => {
                "get its root.json from its operator, and run `model-signing trust add URL root.json`"
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                "choose another name, or move what is there away"
            }
            Self::Io { source, .. } => hint_of_system(source),
            Self::KeyDerivation { .. } => {
                "encrypt it anew with `openssl pkcs8 -topk8 -in KEY -out key.pem`, if it is a key of yours"
            }
            Self::RevocationList { .. }
            | Self::KeyForm {
                expected: "list of revoked certificates",
                ..
            } => {
                "give a whole list in DER, or any number in PEM (X509 CRL), that an authority itself has signed"
            }
            Self::KeyForm {
                expected: "certificate",
                ..
            } => {
                "give a PEM file; `openssl x509 -inform DER -in CERTIFICATE -out certificate.pem` converts the other form"
            }
            Self::KeyForm { .. } => {
                "give a PEM file; `openssl pkcs8 -topk8 -in KEY -out key.pem` converts most private keys, `openssl pkey -in KEY -pubout` gives the public one"
            }
            Self::KeyKind => {
                "keys are of P-256, P-384 or P-521: `openssl ecparam -name prime256v1 -genkey -noout -out key.pem` makes one to sign with"
            }
            Self::KeyLegacyEncryption => {
                "convert it with `openssl pkcs8 -topk8 -in KEY -out key.pem`"
            }
            Self::KeyPassword { .. } => {
                "give the key's password: --password-file, or to training MODEL_SIGNING_PASSWORD_FILE"
            }
            Self::LegacyFormat => {
                "have the producer sign it again; where it is known to be of that time, `verify --legacy` takes it"
            }
            Self::MethodMismatch { found, .. } => found.way(),
            Self::ModelName { .. } => {
                "check that the signature was not taken from another model; a model may have been renamed since"
            }
            Self::Name { .. } | Self::NameNotUtf8 { .. } => {
                "rename the file, or leave it out with --ignore-paths (in a policy `ignore_paths`)"
            }
            Self::NoRekor { .. } => {
                "set MODEL_SIGNING_REKOR_VERSION to a version that it has, or to `auto`"
            }
            Self::NoRoot { .. } => {
                "give the root certificate of the producer, or the producer's own if it signed itself"
            }
            Self::NoSigningConfig => {
                "set MODEL_SIGNING_SIGNING_CONFIG to its signing_config.json beside MODEL_SIGNING_TRUSTED_ROOT, or give a ClientTrustConfig that has one"
            }
            Self::NoToken { .. } => "`model-signing doctor --fetch` says what each source lacks",
            Self::NotExpected { .. } => {
                "give the job the identity that it should have, or correct MODEL_SIGNING_EXPECT_IDENTITY and MODEL_SIGNING_EXPECT_ISSUER"
            }
            Self::NotPortable { .. } => {
                "rename it, or leave it out with --ignore-paths; without --portable such names are taken"
            }
            Self::NotAFile { .. } => {
                "name a regular file; where it lies in a model, it can be left out with --ignore-paths (in a policy `ignore_paths`)"
            }
            Self::SecretFile { .. } => {
                "give the path of a file that holds it, not the secret itself: of a path that is not there only its folders are shown"
            }
            Self::OtherInstance => {
                "give that instance's trust config (--trust-config, in a policy `trust_config`), but only as its operator gave it, and never from where the model came from; else do not trust the model"
            }
            Self::PasswordNotUtf8 { .. } => "write the password as UTF-8 text",
            #[cfg(feature = "pkcs11")]
            Self::Pkcs11(fault) => fault.hint(),
            Self::Serialization(fault) => fault.hint(),
            Self::Service { .. } => {
                "check the network and the signing config; sign again, or `model-signing flush` later"
            }
            Self::ServiceMisbehaved { .. } => {
                "do not use this service before its operator has explained it; nothing was published"
            }
            Self::SignatureInvalid { .. } => {
                "check that this is the producer's public key; if it is, do not trust the model"
            }
            Self::SignatureName { .. } => {
                "give the model a shorter name (a file's signature is NAME.sig), or say where the signature goes: --signature"
            }
            Self::SigningFailed => "check the key with `openssl pkey -check -in KEY`",
            Self::SingleFileExpected { .. } => "name the file that was signed",
            Self::Symlink { .. } => {
                "name the file itself, replace the link by a copy, leave it out with --ignore-paths, or follow links: --allow-symlinks, in a Hugging Face cache --allow-symlinks=hf-cache (in a policy `ignore_paths`, `symlinks`)"
            }
            Self::SymlinkNotFollowed { fault, .. } => fault.hint(),
            Self::Token { .. } => "give a fresh identity token for the audience of this Fulcio",
            Self::TooLarge { .. } => "check that this is the right file",
            Self::TrustConfig { .. } => {
                "give a ClientTrustConfig, or a trusted_root.json with its signing_config.json"
            }
            Self::TrustGivenTwice { .. } => {
                "set MODEL_SIGNING_TRUST_CONFIG alone, or MODEL_SIGNING_TRUSTED_ROOT with MODEL_SIGNING_SIGNING_CONFIG"
            }
            Self::TrustRootMissing => {
                "set MODEL_SIGNING_TRUSTED_ROOT to the trusted_root.json of the same instance"
            }
            Self::TrustInModel { .. } => "take whom to trust from a place that you control",
            Self::TrustRefresh { .. } => {
                "check the network and `model-signing trust refresh`; if it persists, ask the operator of the instance"
            }
            Self::TrustWritable { .. } => {
                "run `chmod go-w` on it, after looking at who wrote to it"
            }
            Self::Unsigned { .. } => {
                "sign the model, or say where its signature is: `verify --signature`, `show SIGNATURE`"
            }
            Self::Displaced { .. } => "sign again, and have one process save and sign a model",
            Self::WouldOverwrite { .. } => {
                "choose another place for the signature with --signature, or move that file away"
            }
            Self::Base64 { .. }
            | Self::DigestForm { .. }
            | Self::DuplicateKey { .. }
            | Self::DuplicateName { .. }
            | Self::EmptyManifest
            | Self::Json { .. }
            | Self::Material
            | Self::MediaType { .. }
            | Self::NameConflict { .. }
            | Self::PayloadType { .. }
            | Self::PredicateType { .. }
            | Self::RootDigest { .. }
            | Self::SignatureCount { .. }
            | Self::StatementType { .. }
            | Self::SubjectCount { .. }
            | Self::TooDeep { .. }
            | Self::TooMany { .. } => {
                "the signature file is damaged or no OMS v1.0 signature: get it again from the producer"
            }
        }
    }
}

/// What to do after what a file system has answered.
fn hint_of_system(error: &io::Error) -> &'static str {
    use io::ErrorKind::{
        InvalidInput, QuotaExceeded, ReadOnlyFilesystem, StorageFull, Unsupported,
    };
    if Errno::from_io_error(error) == Some(Errno::IO) {
        return "look at the disk or the mount, which failed, and try again";
    }
    match error.kind() {
        StorageFull | QuotaExceeded => "make room there, and try again",
        InvalidInput | ReadOnlyFilesystem | Unsupported => {
            "this file system does not do that: use another, or ask who mounts it"
        }
        _ => "check that the path exists and that you may use it",
    }
}
