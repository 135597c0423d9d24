//! Which sources are asked for a token, in which order.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::Value;
use zeroize::Zeroizing;

use super::aws::Aws;
use super::azure::Azure;
use super::buildkite::Buildkite;
use super::circleci::CircleCi;
use super::gcp::Gcp;
use super::github::GitHub;
use super::gitlab::GitLab;
use super::impersonation::Impersonation;
use super::kubernetes::{Kubernetes, KubernetesApi};
use super::spiffe::Spiffe;
use super::vault::Vault;
use super::{Credentials, IdentityToken};
use crate::reading::read_capped;
use crate::services::{Answer, Connection, Deadline};
use crate::{Environment, Error, json};

/// One source gets no more, so that there is time for the next.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that sources know of the world: what they look at, and how they reach others.
#[derive(Clone)]
pub struct Surroundings {
    /// The variables of this process.
    pub environment: Environment,
    /// The folder that well-known paths are under: `/`, but in tests.
    pub root: PathBuf,
    /// How services are reached.
    pub connection: Connection,
}

impl Surroundings {
    /// Those of a process with these variables.
    #[must_use]
    pub fn new(environment: Environment, connection: Connection) -> Self {
        Self {
            environment,
            root: PathBuf::from("/"),
            connection,
        }
    }

    /// The text of the variable `name`.
    pub(crate) fn variable(&self, name: &str) -> Result<&str, Error> {
        self.environment.text(name).ok_or_else(|| Error::Token {
            reason: format!("{name} is not set, or is no text"),
        })
    }

    /// The well-known `path`, which begins with `/`.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What the kernel says at the well-known `path`, such as `/sys/class/dmi/id/sys_vendor`; empty where it says
    /// nothing.
    pub(crate) fn kernel(&self, path: &str) -> String {
        let bytes = read_capped(&self.path(path), "attribute", 4096).unwrap_or_default();
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

/// What a source says of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detection {
    /// It may have a token, for this reason: "`GITHUB_ACTIONS` is set".
    Here(String),
    /// It has none, for this reason: "`GITHUB_ACTIONS` is not set".
    NotHere(String),
}

impl Detection {
    /// Here if the variable `name` is set.
    pub(crate) fn by_variable(here: &Surroundings, name: &str) -> Self {
        if here.environment.get(name).is_some() {
            Self::Here(format!("{name} is set"))
        } else {
            Self::NotHere(format!("{name} is not set"))
        }
    }

    /// Here if there is a file at `path`.
    pub(crate) fn by_file(path: &Path) -> Self {
        if path.is_file() {
            Self::Here(format!("{path:?} is there"))
        } else {
            Self::NotHere(format!("{path:?} is not there"))
        }
    }

    /// Whether it is here.
    #[must_use]
    pub fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }
}

/// Where tokens come from. Asked again for every certificate, because tokens are short-lived.
pub trait TokenSource: Send + Sync {
    /// Its name in settings and reports.
    fn name(&self) -> &'static str;

    /// Whether it may have a token here. Looks at variables and files only, quickly, and never fails.
    fn detect(&self, here: &Surroundings) -> Detection;

    /// The end of the only token that it will ever have, where that is so.
    fn ends(&self, _: &Surroundings, _audience: &str) -> Option<SystemTime> {
        None
    }

    /// Whether a person has to do something for each token.
    fn asks_a_person(&self) -> bool {
        false
    }

    /// A token for `audience`, as it is now, before `deadline`.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Io`], [`Error::Service`], [`Error::ServiceMisbehaved`]. Never with the token, or what
    /// it was asked for with, in it.
    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error>;
}

/// The token in `answer`, which is JSON, at `pointer` (RFC 6901).
pub(crate) fn token_at(answer: &Answer, pointer: &str) -> Result<IdentityToken, Error> {
    token_in_json(&answer.body, pointer)
}

/// The token that `text` is, or that is at `pointer` where it is a JSON object.
pub(crate) fn token_in(text: &[u8], pointer: Option<&str>) -> Result<IdentityToken, Error> {
    let text = str::from_utf8(text).map_err(|_| Error::Token {
        reason: "it is not text".to_owned(),
    })?;
    match pointer {
        Some(pointer) if text.trim_start().starts_with('{') => {
            token_in_json(text.as_bytes(), pointer)
        }
        _ => IdentityToken::parse(text),
    }
}

fn token_in_json(text: &[u8], pointer: &str) -> Result<IdentityToken, Error> {
    let wrong = |reason: String| Error::Token { reason };
    // The parser's message could quote the token.
    let mut value: Value = json::parse(text)
        .map_err(|_| wrong("the answer that should hold it is not JSON".to_owned()))?;
    match value.pointer_mut(pointer).map(Value::take) {
        Some(Value::String(token)) => IdentityToken::parse(&Zeroizing::new(token)),
        _ => Err(wrong(format!("the answer has no text at {pointer}"))),
    }
}

/// `error`, but a refusal with `status` says first what to change.
pub(crate) fn explained(error: Error, status: u16, what: &str) -> Error {
    match error {
        Error::Service {
            service,
            url,
            status: Some(found),
            reason,
        } if found == status => Error::Service {
            service,
            url,
            status: Some(found),
            reason: format!("{what}; it said: {reason}"),
        },
        other => other,
    }
}

/// `url`, which may have a query, with one more parameter.
pub(crate) fn with_query(url: &str, name: &str, value: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let separator = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    let query = query.append_pair(name, value).finish();
    format!("{url}{separator}{query}")
}

/// `fields` as `application/x-www-form-urlencoded`.
pub(crate) fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    Zeroizing::new(form.extend_pairs(fields).finish())
}

/// The sources that a job may find where it runs, in the order in which they are asked.
fn ambient() -> Vec<Box<dyn TokenSource>> {
    vec![
        Box::new(GitHub),
        Box::new(GitLab),
        Box::new(Buildkite),
        Box::new(CircleCi),
        Box::new(Kubernetes),
        Box::new(KubernetesApi),
        Box::new(Spiffe),
        Box::new(Impersonation),
        Box::new(Gcp),
        Box::new(Aws),
        Box::new(Azure),
        Box::new(Vault),
    ]
}

/// The sources to ask, in order.
pub struct Sources {
    here: Surroundings,
    list: Vec<Box<dyn TokenSource>>,
}

impl Sources {
    /// The sources `given` in settings if there are any, else those that a job may find where it runs, as far as
    /// `credentials` lets them; those that it names, whether given or found, in its order.
    #[must_use]
    pub fn new(
        here: Surroundings,
        given: Vec<Box<dyn TokenSource>>,
        credentials: &Credentials,
    ) -> Self {
        let found = if given.is_empty() || credentials.names_some() {
            ambient()
        } else {
            Vec::new()
        };
        let mut list: Vec<_> = given.into_iter().chain(found).collect();
        list.retain(|source| credentials.place(source.name()).is_some());
        list.sort_by_key(|source| credentials.place(source.name()));
        Self { here, list }
    }

    /// This one, which needs no surroundings.
    #[must_use]
    pub fn only(source: Box<dyn TokenSource>, connection: Connection) -> Self {
        Self {
            here: Surroundings::new(Environment::default(), connection),
            list: vec![source],
        }
    }

    /// What each says of this machine, in the order in which they are asked.
    #[must_use]
    pub fn detect(&self) -> Vec<(&'static str, Detection)> {
        let all = self.list.iter();
        all.map(|source| (source.name(), source.detect(&self.here)))
            .collect()
    }

    /// Until when a job can sign that has only a token which cannot be renewed (RFC 3339); nothing where it has better.
    #[must_use]
    pub fn covers_until(&self, audience: &str) -> Option<String> {
        let mut here = self.list.iter();
        let first = here.find(|source| source.detect(&self.here).is_here())?;
        let ends = Timestamp::try_from(first.ends(&self.here, audience)?).ok()?;
        Some(ends.to_string())
    }

    /// Whether any of them may have a token.
    #[must_use]
    pub fn any_is_here(&self) -> bool {
        self.detect()
            .iter()
            .any(|(_, detection)| detection.is_here())
    }

    /// Whether a person has to do something for a token.
    pub(crate) fn ask_a_person(&self) -> bool {
        self.list.iter().any(|source| source.asks_a_person())
    }

    /// The names of those that a job may find where it runs.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        ambient().iter().map(|source| source.name()).collect()
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.here.connection
    }

    /// The first token that may be sent to a service that expects `audience`. A source that fails stops no other one.
    ///
    /// # Errors
    /// That of the only source that is here, or [`Error::NoToken`] with those of all.
    pub fn fetch(&self, audience: &str, deadline: Deadline) -> Result<IdentityToken, Error> {
        self.fetch_admitted(audience, deadline, &|_| Ok(()))
    }

    /// The same, but of those that `gate` lets through.
    pub(crate) fn fetch_admitted(
        &self,
        audience: &str,
        deadline: Deadline,
        gate: &dyn Fn(&IdentityToken) -> Result<(), Error>,
    ) -> Result<IdentityToken, Error> {
        let (mut attempts, mut absent) = (Vec::new(), Vec::new());
        for source in &self.list {
            if let Detection::NotHere(reason) = source.detect(&self.here) {
                absent.push((source.name(), reason));
                continue;
            }
            let token = source.fetch(&self.here, audience, deadline.sooner(PATIENCE));
            let checked = token.and_then(|token| {
                token.check(audience, self.here.connection.now())?;
                gate(&token)?;
                Ok(token)
            });
            match checked {
                Ok(token) => return Ok(token),
                Err(error) => attempts.push((source.name(), error)),
            }
        }
        if attempts.len() == 1
            && let Some((_, error)) = attempts.pop()
        {
            return Err(error);
        }
        Err(Error::NoToken { attempts, absent })
    }
}

#[cfg(test)]
mod tests {
    use super::with_query;

    #[test]
    fn a_query_is_kept() {
        for (url, expected) in [
            ("http://a/b", "http://a/b?x=y+%26"),
            ("http://a/b?", "http://a/b?x=y+%26"),
            ("http://a/b?c=d", "http://a/b?c=d&x=y+%26"),
            ("http://a/b?c=d&#e", "http://a/b?c=d&x=y+%26"),
        ] {
            assert_eq!(with_query(url, "x", "y &"), expected);
        }
    }
}
