//! What a training says of a checkpoint beside its files: which run saved it, when, at which step, after which other one.
//!
//! OMS has no field for it. It stands in the annotations of the statement's subject, which in-toto leaves to the producer
//! (Resource Descriptor v1), under a name of our own; verifiers that do not know it skip it.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::json::Object;
use crate::{Digest, Error, Statement, VerifiedManifest};

/// Two good clocks do not differ by more.
const SLACK: Duration = Duration::from_secs(300);
/// Room for any name that a person reads. Whoever remembers runs keeps the whole of it.
pub const MAX_RUN_BYTES: usize = 256;

/// What the signer says of a checkpoint beside its files. All of it is as true as the signer is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Which training saved it: at most 256 bytes.
    pub run: Option<String>,
    /// After how many training steps.
    pub step: Option<u64>,
    /// Larger than that of any checkpoint that the run saved before. By itself the number says nothing.
    pub sequence: Option<u64>,
    /// When it was saved, by the clock of the machine, to the second.
    pub created: Option<SystemTime>,
    /// SHA-256 of the payload that this machine signed before for the same run: [`VerifiedManifest::payload_digest`].
    pub parent: Option<Digest>,
}

impl Annotations {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Which of the good signatures of one signer are wanted: one by one they all stay valid for ever.
///
/// ```
/// use autosign_signing::{Annotations, Freshness};
/// let wanted = Freshness { run: Some("tune-7".into()), min_step: Some(2000), ..Freshness::default() };
/// let said = Annotations { run: Some("tune-7".into()), step: Some(1500), ..Annotations::default() };
/// let refused = wanted.check(&said).unwrap_err();
/// assert_eq!(refused.to_string(), "the signed step is 1500, and 2000 is the least");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Saved by this run.
    pub run: Option<String>,
    /// At this step or later.
    pub min_step: Option<u64>,
    /// At this time or later.
    pub not_before: Option<SystemTime>,
    /// At this time or before, but for five minutes that a clock may be fast. Where it is proven when it was signed, that
    /// counts in its place.
    pub not_after: Option<SystemTime>,
}

impl Freshness {
    /// What is older than `age` at the time `now` is not wanted, nor what is from later; where it is nothing, the same as
    /// before.
    #[must_use]
    pub fn not_older_than(self, age: Option<Duration>, now: SystemTime) -> Self {
        let earliest = |age| now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        Self {
            not_before: age.map(earliest).or(self.not_before),
            not_after: age.map(|_| now).or(self.not_after),
            ..self
        }
    }

    /// The same of what was signed at the time `proven`, if that is known: none was saved later.
    pub(crate) fn signed_at(self, proven: Option<SystemTime>) -> Self {
        let asked = self.not_before.or(self.not_after);
        Self {
            not_after: asked.and(proven).or(self.not_after),
            ..self
        }
    }

    /// # Errors
    /// The first rule that what is `said` does not fulfil. What is not said fulfils none.
    pub fn check(&self, said: &Annotations) -> Result<(), AnnotationFault> {
        if let Some(expected) = self
            .run
            .as_ref()
            .filter(|run| said.run.as_ref() != Some(run))
        {
            return Err(AnnotationFault::Run {
                expected: expected.clone(),
                found: said.run.clone(),
            });
        }
        if let Some(least) = self
            .min_step
            .filter(|&least| said.step.is_none_or(|step| step < least))
        {
            return Err(AnnotationFault::Step {
                least,
                found: said.step,
            });
        }
        let found = said.created;
        if let Some(earliest) = self.not_before
            && found.is_none_or(|created| created < earliest)
        {
            return Err(AnnotationFault::Created { earliest, found });
        }
        let later = |latest: SystemTime| {
            let limit = latest.checked_add(SLACK).unwrap_or(latest);
            found.filter(|created| *created > limit)
        };
        match self
            .not_after
            .and_then(|latest| Some((latest, later(latest)?)))
        {
            Some((latest, found)) => Err(AnnotationFault::Future { latest, found }),
            None => Ok(()),
        }
    }
}

/// A good signature, but of another or an older checkpoint than was asked for.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationFault {
    /// Saved too long ago.
    #[error("{}, and {} is the earliest", said("the signed time", found.map(rfc3339)), rfc3339(*earliest))]
    Created {
        /// The earliest that is taken.
        earliest: SystemTime,
        /// What is signed.
        found: Option<SystemTime>,
    },
    /// Saved when it cannot have been: later than now, or than it is proven to be signed.
    #[error("the signed time is {}, which is after {}", rfc3339(*found), rfc3339(*latest))]
    Future {
        /// The latest that is taken, but for what clocks differ by.
        latest: SystemTime,
        /// What is signed.
        found: SystemTime,
    },
    /// A time or a digest that is none.
    #[error("the annotation {field:?} cannot be read: {found:?}")]
    Form {
        /// Which.
        field: &'static str,
        /// What stands there.
        found: String,
    },
    /// Older than one of the same run that was taken before.
    #[error(
        "it was saved before one of the run {run:?} that was verified already ({found} comes before {last})"
    )]
    RolledBack {
        /// The run.
        run: String,
        /// The sequence number of the newest one so far.
        last: u64,
        /// That of this one.
        found: u64,
    },
    /// Of another run.
    #[error("{}, not {expected:?}", said("the signed run", found.as_ref().map(|run| format!("{run:?}"))))]
    Run {
        /// Whose it must be.
        expected: String,
        /// Whose it is.
        found: Option<String>,
    },
    /// The name of a run is longer than any.
    #[error("the name of the run has {found} bytes, and {limit} are the most")]
    RunTooLong {
        /// How many bytes it has.
        found: usize,
        /// How many it may have.
        limit: usize,
    },
    /// From earlier in the training.
    #[error("{}, and {least} is the least", said("the signed step", found.as_ref()))]
    Step {
        /// The least that is taken.
        least: u64,
        /// What is signed.
        found: Option<u64>,
    },
    /// Nothing tells it from an older one.
    #[error("its signature names no run and no place in it")]
    Unordered,
}

impl AnnotationFault {
    /// What to do next, in one sentence.
    #[must_use]
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Form { .. } => "the signature is damaged: get it again from the producer",
            Self::Future { .. } => {
                "set the clock of this machine if it is slow; else the signer's was fast, or it says so to be taken for new"
            }
            Self::RunTooLong { .. } => "give the run a shorter name, and sign again",
            Self::Created { found: None, .. }
            | Self::Run { found: None, .. }
            | Self::Step { found: None, .. }
            | Self::Unordered => {
                "have it signed by the training itself, or with `sign --run RUN --step STEP`; other signers do not say this"
            }
            _ => {
                "load the checkpoint that you want, by its own name; somebody may have put an older one in its place"
            }
        }
    }
}

/// `what` with what was found.
fn said(what: &str, found: Option<impl std::fmt::Display>) -> String {
    match found {
        Some(found) => format!("{what} is {found}"),
        None => format!("{what} is missing"),
    }
}

fn rfc3339(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "out of range".to_owned(), |time| time.to_string())
}

impl VerifiedManifest {
    /// What the signer says beside the files.
    #[must_use]
    pub fn annotations(&self) -> &Annotations {
        self.statement().annotations()
    }
}

impl Statement {
    /// SHA-256 of what is going to be signed: what [`Annotations::parent`] of the next one says.
    ///
    /// # Errors
    /// Those of [`Statement::to_json`].
    pub fn digest(&self) -> Result<Digest, Error> {
        Ok(Digest::of(&self.to_json()?))
    }
}

/// As they stand in a statement, beside those of others.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct WireAnnotations {
    #[serde(
        rename = "model-signing-autosign",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    ours: Option<Object<Wire>>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    /// RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    /// Hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
}

impl WireAnnotations {
    /// # Errors
    /// [`AnnotationFault::RunTooLong`].
    pub(crate) fn new(said: &Annotations) -> Result<Option<Object<Self>>, Error> {
        if said.is_empty() {
            return Ok(None);
        }
        check_run(said.run.as_ref())?;
        let wire = Wire {
            run: said.run.clone(),
            step: said.step,
            sequence: said.sequence,
            created: said.created.map(rfc3339),
            parent: said.parent.map(|digest| digest.to_string()),
        };
        let ours = Some(Object(wire));
        Ok(Some(Object(Self { ours })))
    }

    /// # Errors
    /// [`AnnotationFault::Form`] for a time or a digest that is none; [`AnnotationFault::RunTooLong`].
    pub(crate) fn parse(&self) -> Result<Annotations, Error> {
        let Some(Object(wire)) = &self.ours else {
            return Ok(Annotations::default());
        };
        check_run(wire.run.as_ref())?;
        let time = |text: &String| text.parse::<Timestamp>().ok().map(SystemTime::from);
        Ok(Annotations {
            run: wire.run.clone(),
            step: wire.step,
            sequence: wire.sequence,
            created: read("created", wire.created.as_ref(), time)?,
            parent: read("parent", wire.parent.as_ref(), |hex| Digest::from_hex(hex))?,
        })
    }
}

fn check_run(run: Option<&String>) -> Result<(), AnnotationFault> {
    match run.map_or(0, String::len) {
        found if found > MAX_RUN_BYTES => Err(AnnotationFault::RunTooLong {
            found,
            limit: MAX_RUN_BYTES,
        }),
        _ => Ok(()),
    }
}

fn read<T>(
    field: &'static str,
    text: Option<&String>,
    parse: impl Fn(&String) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(text) = text else { return Ok(None) };
    let found = parse(text).ok_or_else(|| AnnotationFault::Form {
        field,
        found: text.clone(),
    });
    Ok(found.map(Some)?)
}
