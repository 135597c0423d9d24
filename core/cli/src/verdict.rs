//! What `verify` says of a model: for people, and with `--json` for programs.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;
use std::time::SystemTime;

use autosign_session::{Config, Error, Settings};
use autosign_signing::{
    Annotations, ErrorKind, Format, JudgedAt, RelPath, SerializationMethod, SignedBy, Statement,
    VerifiedModel,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{config, say, shown};

/// Unsigned files named in full; more are counted.
const NAMES_SHOWN: usize = 10;

/// Every field of the JSON and what it holds. Programs rely on these names: none goes, and none changes its meaning.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("verified", "whether the model can be trusted"),
    ("method", "`sigstore`, `key` or `certificate`"),
    (
        "format.version",
        "`v1.0` (OMS), or with `--legacy` `v0.2` (upstream's release of that number, which binds less)",
    ),
    ("format.predicate_type", "that of the statement, a URI"),
    (
        "signer.identity",
        "method `sigstore`: who signed, an email address, URI or username",
    ),
    (
        "signer.identity_provider",
        "method `sigstore`: the OIDC issuer that vouched for it",
    ),
    (
        "signer.key_hint",
        "method `key`: hex SHA-256 of the public key's PEM text",
    ),
    (
        "signer.names",
        "method `certificate`: email addresses, URIs and DNS names of the signer's certificate, a list",
    ),
    (
        "signer.subject",
        "method `certificate`: the certificate's subject as RFC 4514 writes it",
    ),
    (
        "signer.root",
        "method `certificate`: the subject of the given root that stands for it",
    ),
    (
        "time.source",
        "what proves the time of signing: `timestamp` (RFC 3161), `log` (Rekor v1), or `none`",
    ),
    (
        "time.at",
        "the proven time, RFC 3339 in UTC; null where nothing proves it",
    ),
    (
        "time.certificates_judged_at",
        "the time that certificates had to be valid at; null with method `key`",
    ),
    (
        "model_name",
        "the name that the signer gave the model: says nothing of its content; empty with format `v0.2`, which has none",
    ),
    (
        "root_digest",
        "hex SHA-256 over the digests of the files: does not cover their names; format `v0.2` does not state it",
    ),
    (
        "manifest_id",
        "hex SHA-256 over names and digests: the same for the same files, whoever signed them",
    ),
    (
        "annotations.run",
        "which training saved it, as its signer says, or null; so are all of these",
    ),
    ("annotations.step", "at which step of the training"),
    (
        "annotations.sequence",
        "a number that is larger than that of what the run saved before",
    ),
    ("annotations.created", "when it was saved, RFC 3339 in UTC"),
    (
        "annotations.parent",
        "the `payload_digest` of what was signed before it for the same run, on the same machine",
    ),
    (
        "payload_digest",
        "hex SHA-256 of the statement as it was signed, byte for byte",
    ),
    (
        "serialization.method",
        "`files` or `shards`: what has a digest",
    ),
    (
        "serialization.hash_algorithm",
        "`sha256`, `blake2b` or `blake3`",
    ),
    (
        "serialization.shard_size",
        "bytes; null with method `files`",
    ),
    (
        "serialization.allow_symlinks",
        "whether the signer followed symbolic links",
    ),
    ("file_count", "how many files are signed and as they were"),
    (
        "files[].name",
        "path of such a file; `.` where upstream signed a single file",
    ),
    ("files[].digests", "hex, one, or one a shard in their order"),
    ("ignored_paths", "what the signer left out, a list of paths"),
    (
        "unsigned",
        "files that are there and not signed, and were tolerated, a list of paths",
    ),
    (
        "hard_linked",
        "with `--strict`: signed files that have another name, too, through which they can be changed, a list of paths",
    ),
    (
        "error.kind",
        "`differs`, `io`, `malformed`, `method`, `model`, `service`, `settings`, `signer`, `stale`, `trust`, \
         `unsigned`, `unsupported` or `other`; there may be more",
    ),
    ("error.message", "what happened, for people"),
    ("error.hint", "what to do next, for people"),
    (
        "error.changed",
        "kind `differs`: files with other content, a list of paths",
    ),
    (
        "error.missing",
        "kind `differs`: signed files that are not there, a list of paths",
    ),
    (
        "error.added",
        "kind `differs`: files that are there and not signed, a list of paths",
    ),
    (
        "error.renamed[].name",
        "kind `differs`: one of `added` that has the content of one of `missing`",
    ),
    (
        "error.renamed[].signed_as",
        "the name that was signed, which is missing",
    ),
];

/// A verified model.
#[derive(Serialize)]
pub(crate) struct Good<'a> {
    verified: bool,
    method: &'static str,
    format: Value,
    signer: Value,
    time: Value,
    payload_digest: String,
    #[serde(flatten)]
    stated: Stated<'a>,
    unsigned: Vec<&'a str>,
    hard_linked: Vec<&'a str>,
}

/// What a statement says, proven or not.
#[derive(Serialize)]
pub(crate) struct Stated<'a> {
    model_name: &'a str,
    root_digest: String,
    manifest_id: String,
    annotations: Value,
    serialization: Value,
    file_count: usize,
    // A model may have hundreds of thousands: each as a `Value` would be costly.
    files: Vec<File<'a>>,
    ignored_paths: Vec<&'a str>,
}

#[derive(Serialize)]
struct File<'a> {
    name: &'a str,
    digests: Vec<String>,
}

impl<'a> Good<'a> {
    pub(crate) fn new(verified: &'a VerifiedModel) -> Self {
        let proven = verified.manifest();
        let (method, signer) = match proven.signed_by() {
            SignedBy::Key { hint } => ("key", json!({ "key_hint": hint })),
            SignedBy::Identity { identity, provider } => (
                "sigstore",
                json!({ "identity": identity, "identity_provider": provider }),
            ),
            SignedBy::Certificate {
                names,
                subject,
                root,
            } => (
                "certificate",
                json!({ "names": names, "subject": subject, "root": root }),
            ),
            other => ("other", json!({ "text": other.to_string() })),
        };
        Self {
            verified: true,
            method,
            format: format(proven.format()),
            signer,
            time: time(proven.judged_at(), method != "key"),
            payload_digest: proven.payload_digest().to_string(),
            stated: Stated::new(proven.statement()),
            unsigned: names(verified.unsigned()),
            hard_linked: names(verified.hard_linked()),
        }
    }
}

impl<'a> Stated<'a> {
    pub(crate) fn new(statement: &'a Statement) -> Self {
        let manifest = statement.manifest();
        let serialization = manifest.serialization();
        let shard_size = match serialization.method {
            SerializationMethod::Files => None,
            SerializationMethod::Shards { size } => Some(size),
        };
        let mut resources: Vec<_> = manifest.resources().iter().collect();
        resources.sort_by_key(|one| (&one.name, one.shard));
        let files = resources.chunk_by(|one, other| one.name == other.name);
        let files = files.filter_map(|parts| {
            Some(File {
                name: parts.first()?.name.as_str(),
                digests: parts.iter().map(|one| one.digest.to_string()).collect(),
            })
        });
        let files: Vec<_> = files.collect();
        Self {
            model_name: manifest.model_name(),
            root_digest: manifest.root_digest().to_string(),
            manifest_id: manifest.id().to_string(),
            annotations: annotations(statement.annotations()),
            serialization: json!({
                "method": serialization.method.name(),
                "hash_algorithm": serialization.algorithm.name(),
                "shard_size": shard_size,
                "allow_symlinks": serialization.allow_symlinks,
            }),
            file_count: files.len(),
            files,
            ignored_paths: names(statement.ignored().paths()),
        }
    }
}

/// The format of a statement, proven or not.
pub(crate) fn format(format: Format) -> Value {
    json!({ "version": format.version(), "predicate_type": format.predicate_type() })
}

/// What a signer says beside the files, proven or not.
pub(crate) fn annotations(said: &Annotations) -> Value {
    json!({
        "run": said.run,
        "step": said.step,
        "sequence": said.sequence,
        "created": said.created.map(rfc3339),
        "parent": said.parent.map(|digest| digest.to_string()),
    })
}

fn time(judged: Option<JudgedAt>, has_certificates: bool) -> Value {
    let (source, proven) = match judged {
        Some(JudgedAt::Timestamp(time)) => ("timestamp", Some(time)),
        Some(JudgedAt::Log(time)) => ("log", Some(time)),
        _ => ("none", None),
    };
    json!({
        "source": source,
        "at": proven.map(rfc3339),
        "certificates_judged_at": judged.filter(|_| has_certificates).map(|judged| rfc3339(judged.time())),
    })
}

/// The settings' values, or nothing where one is wrong: that is told, with `json` there, too.
pub(crate) fn known(
    settings: &Settings,
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Option<Config> {
    let known = config(settings, err);
    if let (true, None, Some(error)) = (json, &known, Config::read_strictly(settings).err()) {
        say_json(out, &bad(&error));
    }
    known
}

/// A model that must not be trusted.
pub(crate) fn bad(error: &Error) -> Value {
    let kind = match error {
        Error::Signing(error) => error.kind().name(),
        Error::LastSeen { .. }
        | Error::NoRule { .. }
        | Error::TrustPolicy { .. }
        | Error::TwoRules { .. } => "trust",
        _ => "settings",
    };
    let mut verdict = json!({
        "verified": false,
        "error": { "kind": kind, "message": error.to_string(), "hint": error.hint() },
    });
    if let Error::Signing(error) = error
        && let autosign_signing::Error::Differs(difference) = error.root()
    {
        for (field, paths) in [
            ("changed", &difference.changed),
            ("missing", &difference.missing),
            ("added", &difference.added),
        ] {
            verdict["error"][field] = json!(names(paths));
        }
        let renamed = difference.renamed.iter();
        let renamed = renamed.map(|one| json!({ "name": one.name, "signed_as": one.signed_as }));
        verdict["error"]["renamed"] = renamed.collect();
    }
    verdict
}

/// One line of JSON in which nothing moves a cursor or fools a reader: what could stands as `\u` escapes.
pub(crate) fn say_json(out: &mut dyn Write, value: &impl Serialize) {
    let plain = |c: char| c.is_ascii() || c.escape_debug().eq([c]);
    // Texts, numbers and lists of them can always be written.
    let mut line = serde_json::to_string(value).unwrap_or_default();
    if !line.chars().all(plain) {
        let mut escaped = String::with_capacity(line.len());
        for c in line.chars() {
            if plain(c) {
                escaped.push(c);
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
        }
        line = escaped;
    }
    say(out, format_args!("{line}"));
}

/// Whether `error` says that there is no signature.
pub(crate) fn is_unsigned(error: &Error) -> bool {
    matches!(error, Error::Signing(error) if error.kind() == ErrorKind::Unsigned)
}

fn names(paths: &[RelPath]) -> Vec<&str> {
    paths.iter().map(RelPath::as_str).collect()
}

pub(crate) fn rfc3339(time: SystemTime) -> String {
    match Timestamp::try_from(time) {
        Ok(time) => time.to_string(),
        Err(_) => "a time beyond reason".to_owned(),
    }
}

/// What a good signature says nothing of.
pub(crate) fn tell_unsigned(verified: &VerifiedModel, err: &mut dyn Write) {
    let what = "Not covered by the signature";
    tell_names(what, verified.unsigned(), err);
    let is_signature =
        |name: &RelPath| Path::new(name.as_str()).extension() == Some("sig".as_ref());
    if verified.unsigned().iter().any(is_signature) {
        let what = "Signatures are among these: what they sign is verified by itself";
        say(err, format_args!("{what}"));
    }
}

/// What may still change, though it is signed.
pub(crate) fn tell_hard_linked(verified: &VerifiedModel, err: &mut dyn Write) {
    let what = "Signed, and can be changed through other names (hard links)";
    tell_names(what, verified.hard_linked(), err);
}

fn tell_names(what: &str, names: &[RelPath], err: &mut dyn Write) {
    if names.is_empty() {
        return;
    }
    let listed: Vec<_> = names
        .iter()
        .take(NAMES_SHOWN)
        .map(|name| shown(name.as_str()))
        .collect();
    let more = if names.len() > NAMES_SHOWN {
        ", ..."
    } else {
        ""
    };
    say(
        err,
        format_args!(
            "{what}, {} in all: {}{more}",
            names.len(),
            listed.join(", ")
        ),
    );
}
