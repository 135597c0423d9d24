//! `model-signing show`

use std::fmt::Display;
use std::io::Write;
use std::path::PathBuf;

use autosign_signing::{
    Bundle, CertificateClaims, CertificateContent, Error, Format, LogEntryClaims, Method,
    SerializationMethod, Statement,
};
use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::verdict::{Stated, format, rfc3339, say_json};
use crate::{GOOD, failed, say, shown};

const CAUTION: &str = "Nothing of this has been verified: it is what the file says of itself";

/// Every field of the JSON and what it holds: claims, all of them.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("verified", "false, always"),
    ("caution", "that nothing of it has been verified"),
    ("method", "`sigstore`, `key` or `certificate`"),
    (
        "key_hint",
        "method `key`: hex SHA-256 of the public key's PEM text, or null",
    ),
    (
        "certificates[].fingerprint",
        "hex SHA-256; the signer's certificate is the first",
    ),
    (
        "certificates[].names",
        "email addresses, URIs, DNS names and usernames of Fulcio's that it is for, a list",
    ),
    (
        "certificates[].identity_provider",
        "method `sigstore`: the OIDC issuer, or null",
    ),
    ("certificates[].subject", "as RFC 4514 writes it"),
    ("certificates[].issuer", "the same of who issued it"),
    (
        "certificates[].begins",
        "when its validity begins, RFC 3339 in UTC",
    ),
    ("certificates[].ends", "when it ends"),
    (
        "certificates[].error",
        "why it cannot be read, in the place of all but its fingerprint",
    ),
    ("log_entries[].index", "its index in the log, or null"),
    (
        "log_entries[].at",
        "when the log took it (Rekor v1), or null",
    ),
    ("log_entries[].log", "the log's own name, or null"),
    ("log_entries[].key_id", "hex ID of the log's key, or null"),
    ("log_entries[].kind", "such as `dsse 0.0.1`, or null"),
    (
        "timestamps[].at",
        "when an authority saw the signature (RFC 3161)",
    ),
    ("timestamps[].error", "why it cannot be read"),
    ("statement_type", "in-toto's, or null"),
    ("predicate_type", "that of the predicate, or null"),
    (
        "format",
        "`version` and `predicate_type` as above, or null where the statement cannot be read",
    ),
    (
        "statement",
        "`model_name`, `root_digest`, `manifest_id`, `annotations`, `serialization`, `file_count`, `files` and `ignored_paths` as above",
    ),
    ("statement.error", "why it cannot be read, in their place"),
];

#[derive(Args)]
pub(crate) struct Show {
    /// The signature file.
    signature: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Show {
    pub(crate) fn run(self, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let bundle = match Bundle::read(&self.signature) {
            Ok(bundle) => bundle,
            Err(error) => return failed(err, "Reading", &error.into()),
        };
        let stated = bundle.statement();
        if self.json {
            say_json(out, &Shown::new(&bundle, &stated));
        } else {
            say(out, format_args!("{CAUTION}."));
            tell(&bundle, &stated, &mut |what: &str, text: &dyn Display| {
                say(out, format_args!("{what:13} {text}"));
            });
        }
        GOOD
    }
}

#[derive(Serialize)]
struct Shown<'a> {
    verified: bool,
    caution: &'static str,
    method: String,
    key_hint: Option<&'a str>,
    certificates: Vec<Value>,
    log_entries: Vec<Value>,
    timestamps: Vec<Value>,
    statement_type: Option<String>,
    predicate_type: Option<String>,
    format: Option<Value>,
    statement: Readable<'a>,
}

impl<'a> Shown<'a> {
    fn new(bundle: &'a Bundle, stated: &'a Result<(Format, Statement), Error>) -> Self {
        let timestamps = bundle.timestamps().into_iter().map(|time| match time {
            Ok(time) => json!({ "at": rfc3339(time) }),
            Err(reason) => json!({ "error": reason }),
        });
        let types = bundle.statement_types().ok();
        let types = types.map(|types| (types.statement, types.predicate));
        let (statement_type, predicate_type) = types.unzip();
        Self {
            verified: false,
            caution: CAUTION,
            method: bundle.method().to_string(),
            key_hint: bundle.key_hint(),
            certificates: bundle.certificates().iter().map(certificate).collect(),
            log_entries: bundle.log_entries().iter().map(log_entry).collect(),
            timestamps: timestamps.collect(),
            statement_type,
            predicate_type,
            format: stated.as_ref().ok().map(|(found, _)| format(*found)),
            statement: match stated {
                Ok((_, stated)) => Readable::Yes(Stated::new(stated)),
                Err(error) => Readable::No {
                    error: error.to_string(),
                },
            },
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum Readable<'a> {
    Yes(Stated<'a>),
    No { error: String },
}

fn certificate(claims: &CertificateClaims) -> Value {
    let fingerprint = claims.fingerprint.to_string();
    match &claims.content {
        Ok(content) => json!({
            "fingerprint": fingerprint,
            "names": content.names,
            "identity_provider": content.provider,
            "subject": content.subject,
            "issuer": content.issuer,
            "begins": rfc3339(content.begins),
            "ends": rfc3339(content.ends),
        }),
        Err(reason) => json!({ "fingerprint": fingerprint, "error": reason }),
    }
}

fn log_entry(entry: &LogEntryClaims) -> Value {
    json!({
        "index": entry.index,
        "at": entry.time.map(rfc3339),
        "log": entry.log,
        "key_id": entry.key_id,
        "kind": entry.kind,
    })
}

/// In words. Every text of the file is quoted, with its control characters escaped.
fn tell(
    bundle: &Bundle,
    stated: &Result<(Format, Statement), Error>,
    line: &mut dyn FnMut(&str, &dyn Display),
) {
    line("method", &bundle.method());
    match bundle.key_hint() {
        Some(hint) => line("signer", &format_args!("key {}", hint.escape_debug())),
        None if bundle.method() == Method::Key => line("signer", &"a key that is not named"),
        None => {}
    }
    for (at, claims) in bundle.certificates().iter().enumerate() {
        let fingerprint = &claims.fingerprint;
        let content = match &claims.content {
            Ok(content) => content,
            Err(reason) => {
                let text = format_args!("{fingerprint}, unreadable: {}", reason.escape_debug());
                line("certificate", &text);
                continue;
            }
        };
        if at == 0 {
            line("signer", &signer(content));
        }
        let subject = match content.subject.as_str() {
            "" => String::new(),
            subject => format!("{} ", shown(subject)),
        };
        let issuer = shown(&content.issuer);
        let (begins, ends) = (rfc3339(content.begins), rfc3339(content.ends));
        let text = format_args!("{subject}by {issuer}, {begins} to {ends}, SHA-256 {fingerprint}");
        line("certificate", &text);
    }
    for entry in bundle.log_entries() {
        let unknown = || "unknown".to_owned();
        let index = entry.index.map_or_else(unknown, |index| index.to_string());
        let log = entry
            .log
            .or(entry.key_id)
            .as_ref()
            .map_or_else(unknown, shown);
        let kind = entry.kind.as_ref().map_or_else(unknown, shown);
        let time = entry.time.map_or_else(|| "no time".to_owned(), rfc3339);
        let text = format_args!("index {index} of {log}, {time}, {kind}");
        line("log entry", &text);
    }
    for time in bundle.timestamps() {
        match time {
            Ok(time) => line("timestamp", &rfc3339(time)),
            Err(reason) => line(
                "timestamp",
                &format_args!("unreadable: {}", reason.escape_debug()),
            ),
        }
    }
    if let Ok(types) = bundle.statement_types() {
        let (statement, predicate) = (shown(types.statement), shown(types.predicate));
        line("statement", &format_args!("{statement}, {predicate}"));
    }
    match stated {
        Ok((format, stated)) => {
            if let Some(warning) = format.warning() {
                line("format", &format_args!("{}: {warning}", format.version()));
            } else {
                line("format", &format.version());
            }
            tell_statement(stated, line);
        }
        Err(error) => line("statement", &format_args!("unreadable: {error}")),
    }
}

/// Whom the first certificate names.
fn signer(content: &CertificateContent) -> String {
    let names: Vec<_> = content.names.iter().map(shown).collect();
    let names = if names.is_empty() {
        shown(&content.subject)
    } else {
        names.join(", ")
    };
    match &content.provider {
        Some(provider) => format!("{names}, for whom {} vouches", shown(provider)),
        None => names,
    }
}

fn tell_statement(stated: &Statement, line: &mut dyn FnMut(&str, &dyn Display)) {
    let manifest = stated.manifest();
    if !manifest.model_name().is_empty() {
        line("model", &shown(manifest.model_name()));
    }
    let serialization = manifest.serialization();
    let links = if serialization.allow_symlinks {
        "symbolic links followed"
    } else {
        "no symbolic links"
    };
    let method = match serialization.method {
        SerializationMethod::Files => "files".to_owned(),
        SerializationMethod::Shards { size } => format!("shards of {size} bytes"),
    };
    let algorithm = serialization.algorithm.name();
    line(
        "serialization",
        &format_args!("{method}, {algorithm}, {links}"),
    );
    line(
        "root digest",
        &format_args!("sha256:{}", manifest.root_digest()),
    );
    line("manifest id", &format_args!("sha256:{}", manifest.id()));
    let said = stated.annotations();
    if let Some(run) = &said.run {
        line("run", &shown(run));
    }
    if let Some(step) = said.step {
        line("step", &step);
    }
    if let Some(created) = said.created {
        line("saved", &rfc3339(created));
    }
    if let Some(parent) = said.parent {
        line("parent", &format_args!("sha256:{parent}"));
    }
    for path in stated.ignored().paths() {
        line("left out", &shown(path.as_str()));
    }
    line("files", &manifest.files().count());
    for resource in manifest.resources() {
        let name = shown(resource.to_string());
        line("", &format_args!("{} {name}", resource.digest));
    }
}
