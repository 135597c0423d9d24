//! HTTP with every limit that a training job needs: time, size, no redirect, no plain text beyond this machine.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use ureq::http::{Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, RequestBuilder};

use zeroize::Zeroizing;

use crate::reading::read_capped;
use crate::redacted::{redacted, url_shown};
use crate::{Error, random};

const CONNECT: Duration = Duration::from_secs(5);
/// Tries of one request after the first, where nothing else is said.
const RETRIES: u32 = 4;
/// The first pause is below this; the limit doubles with every try.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// A service that asks for a longer pause is left to the spool.
const LONGEST_RETRY_AFTER: u64 = 60;
/// More than any answer has.
const MAX_ANSWER: u64 = 4 << 20;
/// So much of a refusal's text is kept, in characters.
const MAX_REASON: usize = 512;
/// So much of it is read, in bytes: a secret that is cut is not known for one.
const MAX_REFUSAL: u64 = 16 << 10;
/// Longer than anybody waits, and short enough to be counted from now.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);
/// A word of a header with fewer bytes is no secret.
const SECRET: usize = 8;

/// The time, and how to let it pass. Tests have one of their own, so that nobody waits.
pub trait Clock: Send + Sync {
    /// The time of day.
    fn now(&self) -> SystemTime;
    /// Blocks this thread.
    fn sleep(&self, pause: Duration);
}

/// The clock of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a pause between two tries, or between two signatures"
    )]
    fn sleep(&self, pause: Duration) {
        std::thread::sleep(pause);
    }
}

/// When a signature, or a token, must be there.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// So long from now, at most a year.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        Self(Instant::now() + limit.min(LONGEST))
    }

    /// The earlier of this one and one so long from now.
    pub(crate) fn sooner(self, limit: Duration) -> Self {
        Self(self.0.min(Self::within(limit).0))
    }

    /// What is left of it; zero when it is over.
    pub(crate) fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

/// What one look at a service showed.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Until it answered.
    pub took: Duration,
    /// By how many seconds the clock of this machine is ahead of the service's, where that told its time.
    pub skew: Option<i64>,
}

/// How services are reached.
#[derive(Clone)]
pub struct Connection {
    agent: Agent,
    clock: Arc<dyn Clock>,
    retries: u32,
}

impl Connection {
    /// Trusts the CA certificates of the PEM file `ca_bundle`, or the web's where there is none. Proxies are those of
    /// the environment (`HTTPS_PROXY`, `NO_PROXY`).
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::At`] round [`Error::KeyForm`] where the file holds no certificate.
    pub fn new(ca_bundle: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let roots = match ca_bundle {
            Some(path) => authorities(path)?,
            None => RootCerts::WebPki,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(provider)
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!(
                "model-signing-autosign/",
                env!("CARGO_PKG_VERSION")
            ))
            .timeout_connect(Some(CONNECT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_idle_connections_per_host(8)
            .build()
            .new_agent();
        Ok(Self {
            agent,
            clock,
            retries: RETRIES,
        })
    }

    /// The same, but a request that fails for a passing reason is tried so often again, instead of four times.
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The same, but trusts the CA certificates of the PEM file `ca_bundle` and no other.
    ///
    /// # Errors
    /// As [`Connection::new`].
    pub(crate) fn with_authorities(&self, ca_bundle: &Path) -> Result<Self, Error> {
        let other = Self::new(Some(ca_bundle), Arc::clone(&self.clock))?;
        Ok(other.with_retries(self.retries))
    }

    /// The time of day, by the clock that it was given.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Lets a random part of `limit` pass, and says how long.
    pub(crate) fn pause(&self, limit: Duration) -> Duration {
        let pause = jitter(limit);
        self.clock.sleep(pause);
        pause
    }

    /// Lets `pause` pass.
    pub(crate) fn wait(&self, pause: Duration) {
        self.clock.sleep(pause);
    }

    /// Whether the service at `url` can be reached, in one try of 5 s.
    ///
    /// # Errors
    /// [`Error::Service`].
    pub fn look(&self, service: &'static str, url: &str) -> Result<Look, Error> {
        let http = self.to(service, Deadline::within(CONNECT)).patient(CONNECT);
        http.look(url)
    }

    /// Requests to `service`, which the error messages name.
    pub(crate) fn to(&self, service: &'static str, deadline: Deadline) -> Http<'_> {
        Http {
            connection: self,
            service,
            deadline,
            timeout: Duration::from_secs(10),
            tries: self.retries.saturating_add(1),
            headers: Vec::new(),
            direct: false,
            nearby: false,
        }
    }

    /// Requests to a service of this machine or its hypervisor, such as a cloud's metadata server: in plain HTTP, past
    /// every proxy, and at most twice for a second each, since where there is none nobody answers.
    pub(crate) fn nearby(&self, service: &'static str, deadline: Deadline) -> Http<'_> {
        Http {
            timeout: Duration::from_secs(1),
            tries: self.retries.min(1) + 1,
            nearby: true,
            ..self.to(service, deadline)
        }
    }
}

fn authorities(path: &Path) -> Result<RootCerts, Error> {
    let pem = read_capped(path, "CA bundle", MAX_ANSWER)?;
    let blocks = pem::parse_many(&pem).unwrap_or_default();
    let certificates: Vec<_> = blocks
        .iter()
        .filter(|block| block.tag() == "CERTIFICATE")
        .map(|block| Certificate::from_der(block.contents()).to_owned())
        .collect();
    if certificates.is_empty() {
        return Err(Error::at(path)(Error::KeyForm {
            expected: "certificate",
            found: None,
        }));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// Requests to one service.
pub(crate) struct Http<'a> {
    connection: &'a Connection,
    service: &'static str,
    deadline: Deadline,
    timeout: Duration,
    tries: u32,
    headers: Vec<(String, Zeroizing<String>)>,
    direct: bool,
    nearby: bool,
}

/// What a service answered.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    /// `Metadata-Flavor`, by which Google's metadata server is known.
    pub(crate) metadata_flavor: Option<String>,
    /// It may hold a token.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

/// Why a try failed, and whether another one may help.
struct Failure {
    error: Error,
    again: Option<Duration>,
}

impl Http<'_> {
    /// Gives each try so long instead of 10 s.
    pub(crate) fn patient(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Goes past every proxy.
    pub(crate) fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Sends this header with every request. It may be a secret: no error shows it.
    pub(crate) fn with_header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers
            .push((name.to_owned(), Zeroizing::new(value.into())));
        self
    }

    /// Posts `body`; any status of `good` is an answer, every other one an error.
    pub(crate) fn post(
        &self,
        url: &str,
        content_type: &str,
        body: &[u8],
        good: &[u16],
    ) -> Result<Answer, Error> {
        self.retried(url, good, |agent, timeout| {
            let request = agent.post(url).header("content-type", content_type);
            self.limited(request, url, timeout).send(body)
        })
    }

    /// Puts nothing to `url`.
    pub(crate) fn put(&self, url: &str) -> Result<Answer, Error> {
        self.retried(url, &[200], |agent, timeout| {
            self.limited(agent.put(url), url, timeout).send_empty()
        })
    }

    /// Gets `url`.
    pub(crate) fn get(&self, url: &str) -> Result<Answer, Error> {
        self.retried(url, &[200], |agent, timeout| {
            self.limited(agent.get(url), url, timeout).call()
        })
    }

    /// Gets `url`, of at most `limit` bytes, or nothing where there is none.
    pub(crate) fn find(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        // Storage that does not list its content answers 403; what stands before a service and knows one verb, 405 or 501.
        let answer = self.retried(url, &[200, 403, 404, 405, 501], |agent, timeout| {
            self.limited(agent.get(url), url, timeout).call()
        })?;
        if answer.status != 200 {
            return Ok(None);
        }
        if u64::try_from(answer.body.len()).is_ok_and(|length| length <= limit) {
            return Ok(Some(answer.body.to_vec()));
        }
        Err(self.misbehaved(format!("its answer is longer than {limit} bytes")))
    }

    /// Asks `url` once, for whatever it answers: how long that takes, and what time it is there.
    fn look(&self, url: &str) -> Result<Look, Error> {
        let begin = Instant::now();
        let answer = self.limited(self.connection.agent.get(url), url, self.timeout);
        let answer = answer.call();
        let answer = answer.map_err(|error| self.failed(url, None, &error.to_string()))?;
        let took = begin.elapsed();
        let date = answer
            .headers()
            .get("date")
            .and_then(|date| date.to_str().ok());
        let there = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
        let here = Timestamp::try_from(self.connection.now()).ok();
        let skew = there
            .zip(here)
            .map(|(there, here)| here.duration_since(there).as_secs());
        Ok(Look { took, skew })
    }

    /// The answer cannot be what an honest service says. A parser's reason may quote it, and so what was sent.
    pub(crate) fn misbehaved(&self, reason: impl AsRef<str>) -> Error {
        let reason = redacted(reason.as_ref());
        Error::ServiceMisbehaved {
            service: self.service,
            reason: reason.chars().take(MAX_REASON).collect(),
        }
    }

    fn retried(
        &self,
        url: &str,
        good: &[u16],
        send: impl Fn(&Agent, Duration) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer, Error> {
        if !self.nearby && !is_loopback(url) && !url.starts_with("https://") {
            return Err(self.failed(url, None, "only https is spoken beyond this machine"));
        }
        if has_user(url) {
            return Err(self.failed("", None, "its URL has a user in it: give a header instead"));
        }
        let mut pause = FIRST_PAUSE;
        for tries_left in (0..self.tries).rev() {
            let timeout = self.timeout.min(self.deadline.left());
            if timeout.is_zero() {
                break;
            }
            let failure = match send(&self.connection.agent, timeout) {
                Ok(response) => match self.read(url, response, good) {
                    Ok(answer) => return Ok(answer),
                    Err(failure) => failure,
                },
                Err(error) => Failure {
                    again: is_transient(&error).then_some(Duration::ZERO),
                    error: self.failed(url, None, &error.to_string()),
                },
            };
            let Some(asked) = failure.again else {
                return Err(failure.error);
            };
            let wait = asked.max(jitter(pause));
            if tries_left == 0 || wait >= self.deadline.left() {
                return Err(failure.error);
            }
            self.connection.clock.sleep(wait);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Err(self.failed(url, None, "no time is left for this signature"))
    }

    fn read(
        &self,
        url: &str,
        mut response: Response<Body>,
        good: &[u16],
    ) -> Result<Answer, Failure> {
        let status = response.status().as_u16();
        let header = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let location = header("location");
        let metadata_flavor = header("metadata-flavor");
        if good.contains(&status) {
            let body = response
                .body_mut()
                .with_config()
                .limit(MAX_ANSWER)
                .read_to_vec();
            return match body {
                Ok(body) => Ok(Answer {
                    status,
                    location,
                    metadata_flavor,
                    body: Zeroizing::new(body),
                }),
                Err(error) => Err(Failure {
                    again: is_transient(&error).then_some(Duration::ZERO),
                    error: self.failed(url, Some(status), &error.to_string()),
                }),
            };
        }
        let asked = header("retry-after").and_then(|text| text.parse().ok());
        let again = matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504);
        let again = again && asked.is_none_or(|seconds| seconds <= LONGEST_RETRY_AFTER);
        let mut text = Zeroizing::new(Vec::new());
        let mut reader = std::io::Read::take(response.body_mut().as_reader(), MAX_REFUSAL);
        // Half a reason is better than none.
        let _ = std::io::Read::read_to_end(&mut reader, &mut text);
        let text = redacted(&String::from_utf8_lossy(&text));
        Err(Failure {
            error: self.failed(url, Some(status), &text),
            again: again.then(|| Duration::from_secs(asked.unwrap_or(0))),
        })
    }

    /// What stays on this machine goes past every proxy.
    fn limited<B>(
        &self,
        mut request: RequestBuilder<B>,
        url: &str,
        timeout: Duration,
    ) -> RequestBuilder<B> {
        for (name, value) in &self.headers {
            request = request.header(name, value.as_str());
        }
        let config = request.config().timeout_global(Some(timeout));
        let config = if self.direct || self.nearby || is_loopback(url) {
            config.proxy(None)
        } else {
            config
        };
        config.build()
    }

    fn failed(&self, url: &str, status: Option<u16>, reason: &str) -> Error {
        Error::Service {
            service: self.service,
            url: without_query(url),
            status,
            reason: self
                .without_secrets(reason.trim())
                .chars()
                .take(MAX_REASON)
                .collect(),
        }
    }

    /// `reason` without what was sent in headers: some services quote a request that they refuse.
    fn without_secrets(&self, reason: &str) -> String {
        let words = self.headers.iter().flat_map(|(_, value)| value.split(' '));
        let secrets = words.filter(|word| word.len() >= SECRET);
        secrets.fold(reason.to_owned(), |reason, secret| {
            reason.replace(secret, "[secret]")
        })
    }
}

/// Whether `url` is of this machine: there plain HTTP tells nobody anything.
pub(crate) fn is_loopback(url: &str) -> bool {
    let local = |url: Uri| url.host() == Some("localhost");
    url.parse().is_ok_and(local) || address(url).is_some_and(|ip| ip.is_loopback())
}

/// The host of `url` where it is an address, not a name.
pub(crate) fn address(url: &str) -> Option<IpAddr> {
    let url: Uri = url.parse().ok()?;
    let host = url.host()?.trim_start_matches('[').trim_end_matches(']');
    host.parse().ok()
}

/// Whether `url` has a user, and perhaps a password, before its host: it could be shown, and sent elsewhere than it seems.
fn has_user(url: &str) -> bool {
    let after = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = after.split(['/', '?', '#']).next().unwrap_or_default();
    authority.contains('@')
}

fn without_query(url: &str) -> String {
    url_shown(url.split(['?', '#']).next().unwrap_or_default())
}

fn is_transient(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::Timeout(_)
            | ureq::Error::Io(_)
            | ureq::Error::HostNotFound
            | ureq::Error::ConnectionFailed
            | ureq::Error::BodyStalled
            | ureq::Error::Protocol(_)
    )
}

/// A random part of `limit`: a thousand clients that failed together do not come back together.
fn jitter(limit: Duration) -> Duration {
    let share = u32::from_ne_bytes(random().unwrap_or_default());
    limit.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_an_address_not_a_name_that_looks_like_one() {
        for url in [
            "http://127.0.0.1:80/x",
            "http://localhost:1",
            "http://[::1]:5/",
            "http://127.9.9.9",
        ] {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://127.0.0.1.example/",
            "http://localhost.example",
            "http://10.0.0.1/",
            "http://127.0.0.1@evil.example/",
            "http://evil.example/127.0.0.1",
            "http:///x",
            "",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn pauses_differ_and_stay_below_their_limit() {
        let limit = Duration::from_secs(8);
        let pauses: Vec<_> = (0..50).map(|_| jitter(limit)).collect();
        assert!(pauses.iter().all(|pause| *pause <= limit));
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
    }
}
