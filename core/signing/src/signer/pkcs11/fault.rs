//! Every way a key on a PKCS#11 token can fail, and what to do then. No message holds the URI, which may hold a PIN.

use std::path::PathBuf;

/// What is wrong with a PKCS#11 URI, the module or token that it names, or the key there.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Pkcs11Fault {
    /// The key wants the PIN again for every signature (`CKA_ALWAYS_AUTHENTICATE`).
    #[error("the key wants the PIN again for every signature, which is not supported")]
    AlwaysAuthenticates,
    /// Something between two separators that is no `name=value`.
    #[error("the PKCS#11 URI has something that is no `name=value` {place}")]
    AttributeForm {
        /// "before `?`" or "after `?`".
        place: &'static str,
    },
    /// A path attribute among the query attributes, or the reverse.
    #[error("the PKCS#11 URI has {name} {place}")]
    AttributePlace {
        /// The attribute.
        name: &'static str,
        /// "before `?`" or "after `?`", where it is.
        place: &'static str,
    },
    /// An attribute given twice (RFC 7512 section 2.3).
    #[error("the PKCS#11 URI has {name} twice")]
    AttributeTwice {
        /// The attribute; "a vendor's attribute" where it is none of RFC 7512.
        name: &'static str,
    },
    /// An attribute whose value cannot be what it should be.
    #[error("the {name} of the PKCS#11 URI {reason}")]
    AttributeValue {
        /// The attribute.
        name: &'static str,
        /// Why; never the value.
        reason: &'static str,
    },
    /// This process was forked from one that was calling the module.
    #[error(
        "this process was forked while another thread used the PKCS#11 module, which cannot be used here"
    )]
    Forked,
    /// Private key and public key, on the token or in the certificate, are no pair.
    #[error("the token's private key does not belong to the public key that was found for it")]
    KeysDiffer,
    /// The module cannot be loaded.
    #[error("the PKCS#11 module {path:?} cannot be loaded: {reason}")]
    ModuleLoad {
        /// The module.
        path: PathBuf,
        /// What the system's loader says.
        reason: String,
    },
    /// No module of that name.
    #[error("no PKCS#11 module {name:?} is in {}", listed(folders))]
    ModuleMissing {
        /// The name.
        name: String,
        /// Where it was looked for.
        folders: Vec<PathBuf>,
    },
    /// The module answered with an error.
    #[error("the PKCS#11 module failed: {reason}")]
    ModuleFailed {
        /// The function and what it returned (PKCS#11 v3.1 section 5.1).
        reason: String,
    },
    /// The URI does not say which module to load.
    #[error("the PKCS#11 URI names no module")]
    NoModule,
    /// The URI does not say which key.
    #[error("the PKCS#11 URI names no key")]
    NoObject,
    /// No such private key on the token.
    #[error("the token has no such private key")]
    NoPrivateKey,
    /// The private key's public half is not to be found.
    #[error("the token has no public key, and no certificate, for this private key")]
    NoPublicKey,
    /// No token is what the URI says.
    #[error("no token is what the PKCS#11 URI says; {}", tokens(found))]
    NoToken {
        /// The labels of those that are there.
        found: Vec<String>,
    },
    /// Another scheme, or none.
    #[error("the PKCS#11 URI does not start with `pkcs11:`")]
    NotAUri,
    /// One more wrong PIN, and the token locks itself.
    #[error("the token has refused so many PINs that the next wrong one locks it")]
    PinLastTry,
    /// The token shows the key only to whoever logs in.
    #[error("the token wants a PIN, and the PKCS#11 URI has none")]
    PinNeeded,
    /// The token has refused this PIN before.
    #[error("the token has refused this PIN before, and this process does not try it again")]
    PinNotTriedAgain,
    /// The token does not accept the PIN.
    #[error("the token refuses the PIN: {reason}")]
    PinRefused {
        /// The code that it returned.
        reason: String,
    },
    /// More than one private key.
    #[error("the token has {found} such private keys")]
    SeveralPrivateKeys {
        /// How many.
        found: usize,
    },
    /// More than one token.
    #[error("several tokens are what the PKCS#11 URI says; {}", tokens(found))]
    SeveralTokens {
        /// Their labels.
        found: Vec<String>,
    },
    /// What the token returned is no signature of its key's curve.
    #[error("the token returned {found} bytes for a signature, not {expected}")]
    SignatureLength {
        /// Two numbers of the curve's size.
        expected: usize,
        /// How many there are.
        found: usize,
    },
}

impl Pkcs11Fault {
    /// What to do next, in one sentence.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::AlwaysAuthenticates => "use a key without CKA_ALWAYS_AUTHENTICATE",
            Self::AttributeForm { .. }
            | Self::AttributeTwice { .. }
            | Self::AttributeValue { .. }
            | Self::NotAUri => {
                "write it as RFC 7512 does: pkcs11:token=NAME;object=KEY?module-path=/PATH/TO/MODULE.so&pin-source=file:/PATH/TO/PIN, other characters than letters, digits and -._~ as %XX"
            }
            Self::AttributePlace { .. } => {
                "module-path, module-name, pin-source and pin-value stand after `?`, with `&` between them, all others before it, with `;` between them"
            }
            Self::Forked => {
                "fork between signatures, or sign here what the spool holds with `model-signing flush`, which is a process of its own"
            }
            Self::KeysDiffer => {
                "give the certificate that was issued for this key, or the public key of the pair the key's id on the token"
            }
            Self::ModuleLoad { .. } => {
                "check that module-path is the PKCS#11 library that came with the token, for this machine's processor"
            }
            Self::ModuleMissing { .. } | Self::NoModule => {
                "add ?module-path=/PATH/TO/MODULE.so, the PKCS#11 library that came with the token"
            }
            Self::ModuleFailed { .. } | Self::SignatureLength { .. } => {
                "check with the token's own tools that it is there and can sign with ECDSA (CKM_ECDSA)"
            }
            Self::NoObject => "add the key's label, object=NAME, or its id, id=%01",
            Self::NoPrivateKey | Self::SeveralPrivateKeys { .. } => {
                "`pkcs11-tool --module MODULE --login --list-objects` lists the keys; give object and id of one"
            }
            Self::NoPublicKey => {
                "put the public key on the token under the private key's id, or sign with `pkcs11-certificate`"
            }
            Self::NoToken { .. } | Self::SeveralTokens { .. } => {
                "give the label of one of them as token=NAME, or its serial or slot-id, too"
            }
            Self::PinLastTry => {
                "log in once with the token's own tools and the right PIN: no program should take the last try"
            }
            Self::PinNeeded => "add pin-source=file:/PATH/TO/PIN after `?`",
            Self::PinNotTriedAgain | Self::PinRefused { .. } => {
                "correct the PIN before you try again: most tokens lock themselves after a few wrong ones"
            }
        }
    }
}

fn listed(folders: &[PathBuf]) -> String {
    let folders: Vec<_> = folders.iter().map(|folder| format!("{folder:?}")).collect();
    folders.join(", ")
}

fn tokens(found: &[String]) -> String {
    match found {
        [] => "none is there".to_owned(),
        found => format!("there are {found:?}"),
    }
}
