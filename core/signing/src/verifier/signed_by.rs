//! Who signed, as proven.

use std::fmt;

/// Who signed. Every text comes from a certificate or a key, and is as it stands there; `Display` escapes it.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedBy {
    /// Method `certificate`.
    Certificate {
        /// The leaf's subject alternative names that are email addresses, URIs or DNS names.
        names: Vec<String>,
        /// The leaf's subject as RFC 4514 writes it.
        subject: String,
        /// The subject of the given root that stands for it.
        root: String,
    },
    /// Method `sigstore`.
    Identity {
        /// The certificate's subject alternative name.
        identity: String,
        /// The URL of the OIDC issuer that vouched for it.
        provider: String,
    },
    /// Method `key`.
    Key {
        /// Hex SHA-256 of the public key's PEM text.
        hint: String,
    },
}

impl fmt::Display for SignedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate {
                names,
                subject,
                root,
            } => {
                let names = names.join(", ");
                let name = if names.is_empty() { subject } else { &names };
                write!(f, "{} (by {})", name.escape_debug(), root.escape_debug())
            }
            Self::Identity { identity, provider } => write!(
                f,
                "{} ({})",
                identity.escape_debug(),
                provider.escape_debug()
            ),
            Self::Key { hint } => write!(f, "key {hint}"),
        }
    }
}
