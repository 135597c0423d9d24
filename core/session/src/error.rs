//! What can go wrong between a save and its signature.

use std::io;
use std::path::{Path, PathBuf};

use autosign_signing::{Error as SigningError, Pkcs11Fault};

use crate::Origin;
use crate::settings::key_of;

/// Why a checkpoint is not signed, or not yet.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not those that were hashed when the checkpoint was saved.
    #[error("{path:?} was altered after it was saved")]
    Altered {
        /// The checkpoint.
        path: PathBuf,
    },
    /// Of a checkpoint of several files some were renamed, and others are not beside them.
    #[error("the files of {path:?} were renamed, and are not all there")]
    InPieces {
        /// The checkpoint.
        path: PathBuf,
    },
    /// A configuration file, or part of it, cannot be used.
    #[error("the configuration file {path:?} {reason}")]
    ConfigFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// It may hide what the administrator demands: nothing is signed.
        bars: bool,
    },
    /// `MODEL_SIGNING_MODE` is `disabled`.
    #[error("signing is switched off")]
    Disabled,
    /// Somebody wants a setting to be other than the administrator says.
    #[error("{variable} {}is locked by {path:?}", if locked == variable { String::new() } else { format!("cannot be chosen: {locked} ") })]
    Locked {
        /// The environment variable of what was asked for.
        variable: &'static str,
        /// That of what is locked, which answers the same question.
        locked: &'static str,
        /// The administrator's file.
        path: PathBuf,
    },
    /// The file of `MODEL_SIGNING_EVENTS` cannot be written to.
    #[error("cannot write events to {path:?}: {source}")]
    Events {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The file of the newest checkpoints that were verified cannot be read or written.
    #[error("cannot use {path:?}, the file of what was verified last: {source}")]
    LastSeen {
        /// The file.
        path: PathBuf,
        /// What the system answered, or what is wrong with its content.
        source: io::Error,
    },
    /// Neither an identity token nor a key is configured.
    #[error("there is no identity token to sign with, and no key")]
    NoIdentity,
    /// Method `certificate`, and no certificate.
    #[error("there is no certificate to sign with")]
    NoCertificate,
    /// Method `key` or `certificate`, and no key.
    #[error("there is no key to sign with")]
    NoKey,
    /// Method `pkcs11`, and a key in a file.
    #[error("MODEL_SIGNING_METHOD is `pkcs11`, and MODEL_SIGNING_PRIVATE_KEY is no PKCS#11 URI")]
    NotOnToken,
    /// Mode `offline`, and no spool.
    #[error(
        "MODEL_SIGNING_MODE is `offline`, and there is no spool: nothing would remember what to sign"
    )]
    NoSpool,
    /// Nobody says where the spool is to be, and there is no home folder for it.
    #[error(
        "there is no spool, as HOME is not set: what is unsigned when the program ends is forgotten"
    )]
    NoHome,
    /// `MODEL_SIGNING_SPOOL` is `off`.
    #[error("there is no spool: MODEL_SIGNING_SPOOL is `off`")]
    SpoolOff,
    /// No rule of the policy names the model.
    #[error("{policy:?} says of nobody that they may sign {model:?}")]
    NoRule {
        /// The policy.
        policy: PathBuf,
        /// The model.
        model: PathBuf,
    },
    /// It was tried, and a flush will try again.
    #[error("{path:?} is not signed: {reason}")]
    NotSigned {
        /// The checkpoint.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The trust to refresh is in a file, or there is no home folder to keep it in.
    #[error("this trust is not fetched, so it cannot be refreshed")]
    NothingToFetch,
    /// A bug of ours; training goes on.
    #[error("signing {path:?} panicked")]
    Panicked {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The configured instance is a public one, and `MODEL_SIGNING_PUBLIC_LOG` is `deny`.
    #[error("MODEL_SIGNING_PUBLIC_LOG is `deny`, and the Sigstore instance is a public one")]
    PublicLog,
    /// A private key or a token in the place of something else.
    #[error("{variable} is a private key or a token, and should be {values}: it is not repeated")]
    SecretSetting {
        /// The environment variable.
        variable: &'static str,
        /// What it may be.
        values: &'static str,
    },
    /// A setting with a value that is none of those it may have.
    #[error(
        "{variable} is {value:?}{}, which is not one of: {values}",
        from(origin)
    )]
    Setting {
        /// Where it was set.
        origin: Origin,
        /// The environment variable.
        variable: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        values: &'static str,
    },
    /// A policy that cannot be used: nothing is verified by half of it.
    #[error("the policy {path:?} cannot be used: {reason}")]
    TrustPolicy {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A model that the policy has two rules for: one for the path that was asked for, or for a link on the way, and another
    /// for where it leads. Whoever can write to a storage can put a link there.
    #[error(
        "{name:?} leads to {model:?}: rule {rule} of {policy:?} is for the former, rule {other} for the latter"
    )]
    TwoRules {
        /// The policy.
        policy: PathBuf,
        /// The path that is, or leads through, a link.
        name: PathBuf,
        /// The number of its rule, from 1.
        rule: usize,
        /// Where it leads.
        model: PathBuf,
        /// The number of that one's rule.
        other: usize,
    },
    /// A variable that looks like a setting and is none.
    #[error("{}", unknown(name, file.as_deref(), *nearest))]
    UnknownSetting {
        /// The environment variable, or the key in the file.
        name: String,
        /// The file.
        file: Option<PathBuf>,
        /// The setting that it looks like.
        nearest: Option<&'static str>,
    },
    /// Hashing, signing, or writing the signature failed.
    #[error(transparent)]
    Signing(#[from] autosign_signing::Error),
    /// The spool cannot be used.
    #[error("cannot {action} the spool {path:?}: {source}")]
    Spool {
        /// What was tried, as a verb.
        action: &'static str,
        /// The folder or record.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// Others may write to the spool, and could have anything signed.
    #[error("the spool {path:?} can be written by other users")]
    SpoolNotPrivate {
        /// The folder.
        path: PathBuf,
    },
}

impl Error {
    /// Whether there is nothing new in it: a PIN that was refused before was told then.
    pub(crate) fn is_old_news(&self) -> bool {
        match self {
            Self::Signing(error) => {
                matches!(
                    error.root(),
                    SigningError::Pkcs11(Pkcs11Fault::PinNotTriedAgain)
                )
            }
            _ => false,
        }
    }

    /// Whether a token was asked and failed, as one does that was pulled out, or whose session has ended meanwhile.
    pub(crate) fn is_of_token(&self) -> bool {
        match self {
            Self::Signing(error) => matches!(
                error.root(),
                SigningError::Pkcs11(Pkcs11Fault::ModuleFailed { .. })
            ),
            _ => false,
        }
    }

    /// What to do next, in one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::InPieces { .. } => {
                "rename them together, or sign what is there with `model-signing sign`"
            }
            Self::Altered { .. } => {
                "do not use it: restore it from a trusted copy, and find out who wrote to it"
            }
            Self::ConfigFile { bars: true, .. } => {
                "correct it, or ask who administers this machine: until then nothing is signed, not by `model-signing flush` either, and what is saved waits in the spool"
            }
            Self::ConfigFile { .. } => "correct it: what is wrong in it is not in force",
            Self::Disabled => "leave out MODEL_SIGNING_MODE, which is `disabled`",
            Self::Locked { .. } => {
                "another value has no effect: leave it out, or ask who administers this machine"
            }
            Self::Events { .. } => {
                "set MODEL_SIGNING_EVENTS to a file in a folder that you may write to"
            }
            Self::LastSeen { .. } => {
                "check that you may write there; where it is damaged, restore it, or remove it to begin anew"
            }
            Self::NoIdentity => {
                "`model-signing doctor` says where one is looked for; or set MODEL_SIGNING_IDENTITY_TOKEN_FILE to the path of one, or MODEL_SIGNING_PRIVATE_KEY to that of a PEM key"
            }
            Self::PublicLog => {
                "set MODEL_SIGNING_TRUST_CONFIG to the trust config of a private instance, or sign with a key"
            }
            Self::NoCertificate => {
                "set MODEL_SIGNING_CERTIFICATE to the path of the key's certificate, a PEM file"
            }
            Self::NoKey => {
                "set MODEL_SIGNING_PRIVATE_KEY to the path of a PEM key, or to the PKCS#11 URI of one on a token"
            }
            Self::NotOnToken => {
                "set MODEL_SIGNING_PRIVATE_KEY to a URI such as pkcs11:token=NAME;object=KEY?module-path=/PATH/TO/MODULE.so&pin-source=file:/PATH/TO/PIN"
            }
            Self::NoHome => "set MODEL_SIGNING_SPOOL to a folder that stays, or to `off`",
            Self::SpoolOff => {
                "set MODEL_SIGNING_SPOOL to a folder, or name the folder of another program"
            }
            Self::NoSpool => "set MODEL_SIGNING_SPOOL to a folder that whoever flushes it can read",
            Self::NoRule { .. } => {
                "have its operator add a rule with its producer, if this machine is to use it"
            }
            Self::TwoRules { .. } => {
                "ask for the model where it lies, if that link is yours; else find out who made it"
            }
            Self::TrustPolicy { .. } => "correct it, or ask the operator of this machine",
            Self::NotSigned { .. } => {
                "it stays in the spool, if there is one: `model-signing flush` tries again"
            }
            Self::NothingToFetch => {
                "get a newer trust config from its operator; other instances are kept in a folder of $XDG_DATA_HOME or $HOME"
            }
            Self::Panicked { .. } => "please report this with the line above it",
            Self::Setting { .. } => {
                "the default is used instead: correct it, see `model-signing env --origin`"
            }
            Self::SecretSetting { .. } => {
                "write it to a file that only you can read, and set the setting for such a file to its path"
            }
            Self::UnknownSetting { .. } => "it is passed over: correct it, see `model-signing env`",
            Self::Signing(error) => error.hint(),
            Self::Spool { .. } => {
                "set MODEL_SIGNING_SPOOL to a folder that you may write to, or to `off`"
            }
            Self::SpoolNotPrivate { .. } => {
                "run `chmod go-w` on it, or set MODEL_SIGNING_SPOOL to another folder"
            }
        }
    }
}

/// Most values are the environment's, where everybody looks first.
fn from(origin: &Origin) -> String {
    match origin {
        Origin::Argument | Origin::Environment => String::new(),
        Origin::File(path) | Origin::Locked(path) => format!(" in {path:?}"),
    }
}

fn unknown(name: &str, file: Option<&Path>, nearest: Option<&'static str>) -> String {
    let place = file.map(|path| format!("{path:?}: ")).unwrap_or_default();
    let meant = nearest.map(|variable| match file {
        None => format!(": did you mean {variable}?"),
        Some(_) => format!(": did you mean {}?", key_of(variable)),
    });
    format!(
        "{place}{name} is not a setting{}",
        meant.unwrap_or_default()
    )
}
