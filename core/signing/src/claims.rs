//! What a bundle says of itself, for a person who looks at it. Nothing here is proven, and no decision may rest on it.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;

use crate::bundle::Signatory;
use crate::certificate::Certificate;
use crate::certified::{provider, usernames};
use crate::json::{self, Object};
use crate::services::timestamp_time;
use crate::{Bundle, Digest, Error, Format, Statement};

/// A certificate in a bundle. Texts are as they stand there: escape them before a terminal sees them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateClaims {
    /// SHA-256 of it.
    pub fingerprint: Digest,
    /// What it says; where it cannot be read, why not.
    pub content: Result<CertificateContent, String>,
}

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateContent {
    /// The subject as RFC 4514 writes it; Fulcio's is empty.
    pub subject: String,
    /// The issuer's subject.
    pub issuer: String,
    /// Subject alternative names that are email addresses, URIs, DNS names, or usernames of Fulcio's.
    pub names: Vec<String>,
    /// The OIDC issuer of Fulcio's certificates, a URL.
    pub provider: Option<String>,
    /// `notBefore`.
    pub begins: SystemTime,
    /// `notAfter`.
    pub ends: SystemTime,
}

/// A log entry in a bundle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEntryClaims {
    /// Its index in the log.
    pub index: Option<u64>,
    /// When the log took it (Rekor v1).
    pub time: Option<SystemTime>,
    /// The name that the log gives itself in its checkpoint.
    pub log: Option<String>,
    /// The log's key ID, hex.
    pub key_id: Option<String>,
    /// The kind of the entry and its version, such as `dsse 0.0.1`.
    pub kind: Option<String>,
}

/// The types of a statement, which decide whether it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StatementTypes {
    /// in-toto's.
    #[serde(rename = "_type")]
    pub statement: String,
    /// The predicate's.
    #[serde(rename = "predicateType")]
    pub predicate: String,
}

impl Bundle {
    /// Its certificates, leaf first. Claims.
    #[must_use]
    pub fn certificates(&self) -> Vec<CertificateClaims> {
        let all = match self.signer() {
            Signatory::Chain(chain) => chain.as_slice(),
            Signatory::Fulcio(leaf) => std::slice::from_ref(leaf),
            Signatory::Key(_) => &[],
        };
        let all = all.iter().map(|der| CertificateClaims {
            fingerprint: Digest::of(der),
            content: content(der).map_err(|error| error.to_string()),
        });
        all.collect()
    }

    /// Its log entries. Claims.
    #[must_use]
    pub fn log_entries(&self) -> Vec<LogEntryClaims> {
        self.entries().iter().map(log_entry).collect()
    }

    /// The times of its RFC 3161 timestamps; where one cannot be read, why not. Claims.
    #[must_use]
    pub fn timestamps(&self) -> Vec<Result<SystemTime, String>> {
        let all = self.stamps().iter();
        all.map(|der| timestamp_time(der)).collect()
    }

    /// Its statement, and the format that it claims to have, which a verifier may want to be asked for. Claims.
    ///
    /// # Errors
    /// Those of [`Statement::parse`].
    ///
    /// ```
    /// use autosign_signing::{Bundle, Format};
    /// let bundle = Bundle::read("tests/bundles/0.2.0-single.sig".as_ref())?;
    /// let (format, statement) = bundle.statement()?;
    /// assert_eq!((format, statement.manifest().files().count()), (Format::Legacy, 1));
    /// # Ok::<(), autosign_signing::Error>(())
    /// ```
    pub fn statement(&self) -> Result<(Format, Statement), Error> {
        Format::claimed(self)
    }

    /// The types of its statement, whether or not it is one that can be read. Claims.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn statement_types(&self) -> Result<StatementTypes, Error> {
        let types = json::parse(&self.envelope().payload);
        types
            .map(|Object(types)| types)
            .map_err(|source| Error::Json {
                what: "statement",
                source,
            })
    }
}

fn content(der: &[u8]) -> Result<CertificateContent, Error> {
    let certificate = Certificate::parse(der)?;
    let provider = provider(der).ok().flatten();
    let names = certificate.alternative_names();
    let names = names.chain(usernames(&certificate));
    Ok(CertificateContent {
        subject: certificate.subject(),
        issuer: certificate.issuer().to_string(),
        names: names.map(str::to_owned).collect(),
        provider: provider.filter(|provider| !provider.is_empty()),
        begins: certificate.begins(),
        ends: certificate.ends(),
    })
}

fn log_entry(entry: &Value) -> LogEntryClaims {
    let text = |at| entry.pointer(at).and_then(Value::as_str);
    // Protobuf's JSON writes 64 bits as text.
    let number = |at| {
        let number = entry.pointer(at)?;
        number.as_u64().or_else(|| number.as_str()?.parse().ok())
    };
    let checkpoint = text("/inclusionProof/checkpoint/envelope");
    let seconds = number("/integratedTime").filter(|seconds| *seconds > 0);
    let key_id = text("/logId/keyId").and_then(|id| STANDARD.decode(id).ok());
    let kind = text("/kindVersion/kind");
    let version = text("/kindVersion/version").unwrap_or_default();
    LogEntryClaims {
        index: number("/logIndex"),
        time: seconds.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds))),
        log: checkpoint
            .and_then(|text| text.lines().next())
            .map(str::to_owned),
        key_id: key_id.map(|id| hex(&id)),
        kind: kind.map(|kind| format!("{kind} {version}").trim_end().to_owned()),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
