//! `model-signing log`

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use autosign_session::{Chain, Error, Link, Settings, chains};
use autosign_signing::{Bundle, Digest, Error as SigningError, Verifier};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::verdict::{annotations, bad, known, rfc3339, say_json};
use crate::{BAD, GOOD, UNSIGNED, USAGE, believed, failed, say, shown};

#[derive(Subcommand)]
pub(crate) enum Log {
    /// Verify every signature below some folders, and how those of each run follow on each other. The models themselves are
    /// not read: `verify` does that.
    #[command(subcommand)]
    Verify(Verify),
}

#[derive(Subcommand)]
pub(crate) enum Verify {
    /// With the identity of the signer, who signed through Sigstore.
    Sigstore {
        #[command(flatten)]
        audit: Audit,
        #[command(flatten)]
        believed: believed::Sigstore,
    },
    /// With the signer's public key.
    Key {
        #[command(flatten)]
        audit: Audit,
        #[command(flatten)]
        believed: believed::Key,
    },
    /// With a root of the signer's X.509 certificate.
    Certificate {
        #[command(flatten)]
        audit: Audit,
        #[command(flatten)]
        believed: believed::Certificate,
    },
}

#[derive(Args)]
pub(crate) struct Audit {
    /// Signatures, or folders in which every file named *.sig is one.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Refuse a run of which a signature is missing that a later one names. Without this it is told: checkpoints are rotated
    /// away together with their signatures.
    #[arg(long)]
    complete: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Log {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Self::Verify(verify) = self;
        let (audit, verifier) = match verify {
            Verify::Key { audit, believed } => {
                let verifier = believed.verifier(&audit.paths);
                (audit, verifier.map(boxed))
            }
            Verify::Certificate { audit, believed } => {
                let verifier = believed.verifier(&audit.paths);
                (audit, verifier.map(boxed))
            }
            Verify::Sigstore { audit, believed } => {
                let Some(config) = known(settings, audit.json, out, err) else {
                    return USAGE;
                };
                let verifier = believed.verifier(&audit.paths, config, settings, err);
                (audit, verifier.map(boxed))
            }
        };
        let audited = verifier.and_then(|verifier| audit.links(verifier.as_ref(), err));
        match audited {
            Ok((links, refused)) => audit.tell(links, &refused, out, err),
            Err(error) => {
                if audit.json {
                    say_json(out, &bad(&error));
                }
                failed(err, "Verification", &error)
            }
        }
    }
}

fn boxed(verifier: impl Verifier + 'static) -> Box<dyn Verifier> {
    Box::new(verifier)
}

/// A signature that is not to be trusted.
struct Refused {
    path: PathBuf,
    error: Error,
}

impl Audit {
    fn links(
        &self,
        verifier: &dyn Verifier,
        err: &mut dyn Write,
    ) -> Result<(Vec<Link>, Vec<Refused>), Error> {
        let (mut links, mut refused) = (Vec::new(), Vec::new());
        for path in self.signatures()? {
            match link(&path, verifier) {
                Ok(link) => links.push(link),
                Err(error) => {
                    let error = Error::from(error);
                    failed(err, "Verification", &error);
                    refused.push(Refused { path, error });
                }
            }
        }
        Ok((links, refused))
    }

    fn signatures(&self) -> Result<Vec<PathBuf>, SigningError> {
        let mut found = Vec::new();
        for path in &self.paths {
            if path.is_dir() {
                signatures_below(path, &mut found)?;
            } else {
                found.push(path.clone());
            }
        }
        Ok(found)
    }

    fn tell(
        self,
        links: Vec<Link>,
        refused: &[Refused],
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> u8 {
        if links.is_empty() && refused.is_empty() {
            if self.json {
                say_json(
                    out,
                    &json!({ "verified": false, "runs": [], "others": [], "refused": [] }),
                );
            }
            say(err, format_args!("There is no signature"));
            return UNSIGNED;
        }
        let (runs, others) = chains(links);
        let mut good = refused.is_empty();
        for (run, chain) in &runs {
            for fork in &chain.forks {
                good = false;
                say(
                    err,
                    format_args!(
                        "In the run {} several signatures follow on sha256:{fork}: find out who else signs as this signer",
                        shown(run)
                    ),
                );
            }
            if self.complete && !chain.missing.is_empty() {
                good = false;
                say(
                    err,
                    format_args!(
                        "Of the run {} {} that later ones follow on: find out who removed them",
                        shown(run),
                        counted(
                            chain.missing.len(),
                            "signature is missing",
                            "signatures are missing"
                        ),
                    ),
                );
            }
        }
        if self.json {
            say_json(
                out,
                &json!({
                    "verified": good,
                    "runs": runs.iter().map(|(run, chain)| run_json(run, chain)).collect::<Vec<_>>(),
                    "others": others.iter().map(link_json).collect::<Vec<_>>(),
                    "refused": refused.iter().map(refused_json).collect::<Vec<_>>(),
                }),
            );
        } else {
            for (run, chain) in &runs {
                tell_run(run, chain, out);
            }
            if !others.is_empty() {
                let count = counted(others.len(), "signature names", "signatures name");
                say(out, format_args!("{count} no run"));
            }
            if good {
                say(out, format_args!("Verification succeeded"));
            }
        }
        if good { GOOD } else { BAD }
    }
}

fn link(path: &Path, verifier: &dyn Verifier) -> Result<Link, SigningError> {
    let within = |source| SigningError::At {
        path: path.into(),
        source: Box::new(source),
    };
    let proven = verifier.verify(&Bundle::read(path)?).map_err(within)?;
    Ok(Link {
        path: path.into(),
        model: proven.manifest().model_name().to_owned(),
        payload: proven.payload_digest(),
        said: proven.annotations().clone(),
    })
}

/// Files named `*.sig`, sorted. Links are not followed: there would be no end to some.
fn signatures_below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), SigningError> {
    let fail = |source| SigningError::Io {
        action: "list",
        path: folder.into(),
        source,
    };
    let entries = fs::read_dir(folder).map_err(fail)?;
    let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(fail)?;
    entries.sort_unstable_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, kind) = (entry.path(), entry.file_type().map_err(fail)?);
        if kind.is_dir() {
            signatures_below(&path, found)?;
        } else if path.extension().is_some_and(|ending| ending == "sig") {
            found.push(path);
        }
    }
    Ok(())
}

fn tell_run(run: &str, chain: &Chain, out: &mut dyn Write) {
    let missing = match chain.missing.len() {
        0 => String::new(),
        count => format!(", {}", counted(count, "is missing", "are missing")),
    };
    // One is what everybody expects.
    let beginnings = match chain.beginnings.len() {
        0 | 1 => String::new(),
        count => format!(", {count} follow on none"),
    };
    let count = counted(chain.links.len(), "signature", "signatures");
    say(
        out,
        format_args!("run {}: {count}{beginnings}{missing}", shown(run)),
    );
    for link in &chain.links {
        let saved = link
            .said
            .created
            .map_or_else(|| "at a time unknown".to_owned(), rfc3339);
        let step = link.said.step.map(|step| format!("step {step}, "));
        say(
            out,
            format_args!(
                "  {saved}  {}{} in {}",
                step.unwrap_or_default(),
                shown(&link.model),
                shown(&link.path)
            ),
        );
    }
}

fn counted(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

fn run_json(run: &str, chain: &Chain) -> Value {
    let digests = |digests: &BTreeSet<Digest>| -> Vec<_> {
        digests.iter().map(ToString::to_string).collect()
    };
    json!({
        "run": run,
        "signatures": chain.links.iter().map(link_json).collect::<Vec<_>>(),
        "beginnings": digests(&chain.beginnings),
        "missing": digests(&chain.missing),
        "forks": digests(&chain.forks),
    })
}

fn link_json(link: &Link) -> Value {
    json!({
        "path": link.path.to_string_lossy(),
        "model_name": link.model,
        "payload_digest": link.payload.to_string(),
        "annotations": annotations(&link.said),
    })
}

fn refused_json(refused: &Refused) -> Value {
    let mut verdict = bad(&refused.error);
    json!({ "path": refused.path.to_string_lossy(), "error": verdict["error"].take() })
}

/// Every field of the JSON and what it holds.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    (
        "verified",
        "whether every signature is good, and no run is forked or, with `--complete`, incomplete",
    ),
    ("runs[].run", "its name"),
    (
        "runs[].signatures",
        "in the order in which the run saved, a list as below",
    ),
    (
        "runs[].beginnings",
        "those that name no parent, one for each machine that signs, a list of `payload_digest`",
    ),
    (
        "runs[].missing",
        "what a signature names as its parent and is not there, a list of `payload_digest`",
    ),
    (
        "runs[].forks",
        "what several signatures name as their parent, a list of `payload_digest`",
    ),
    (
        "others",
        "good signatures that name no run, a list as below",
    ),
    ("signatures[].path", "the signature file"),
    (
        "signatures[].model_name",
        "as in `verify --json`; so are `payload_digest` and `annotations`",
    ),
    (
        "refused[].path",
        "a signature file that is not to be trusted",
    ),
    ("refused[].error", "as in `verify --json`"),
];
