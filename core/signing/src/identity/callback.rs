//! The address that a browser comes back to after a login, on this machine alone (RFC 8252 section 7.3).

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::login::{failed, refused};
use crate::Error;

const PATH: &str = "/auth/callback";
/// More than any request for the address has.
const MAX_REQUEST: usize = 16 << 10;
/// Browsers open connections in advance, and say nothing on them.
const PATIENCE: Duration = Duration::from_secs(1);
const DONE: &str = "The login reached model-signing. This window can be closed.";
const REFUSED: &str = "The login failed; the terminal says why. This window can be closed.";

/// A port of this machine that waits for one answer.
pub(super) struct Callback {
    listener: TcpListener,
    port: u16,
}

impl Callback {
    pub(super) fn listen() -> Result<Self, Error> {
        let listen = || {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
            // Whoever knocked may be gone by the time of `accept`.
            listener.set_nonblocking(true)?;
            let port = listener.local_addr()?.port();
            Ok(Self { listener, port })
        };
        listen().map_err(|error: std::io::Error| {
            failed(format!("this machine cannot listen for its login: {error}"))
        })
    }

    /// By name, not by address: so it is registered for the public instance's client.
    pub(super) fn redirect_uri(&self) -> String {
        format!("http://localhost:{}{PATH}", self.port)
    }

    /// The authorization code of the answer that carries `state`. Whatever a browser asks besides is not found.
    pub(super) fn wait(self, state: &str, limit: Duration) -> Result<Zeroizing<String>, Error> {
        let started = Instant::now();
        loop {
            let left = limit.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(failed("nobody has logged in in time"));
            }
            self.knock(left)?;
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::ConnectionAborted
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(failed(format!("the login cannot be heard: {error}"))),
            };
            let Some(query) = request(&stream) else {
                continue;
            };
            let code = code(&query, state);
            answer(&stream, "200 OK", if code.is_ok() { DONE } else { REFUSED });
            return code;
        }
    }

    fn knock(&self, limit: Duration) -> Result<(), Error> {
        let limit = Timespec::try_from(limit).ok();
        let mut waiting = [PollFd::new(&self.listener, PollFlags::IN)];
        // An interrupt is a person who presses Ctrl-C: Python only sees it once this function returns.
        poll(&mut waiting, limit.as_ref())
            .map(|_| ())
            .map_err(|error| failed(format!("the login was not waited for: {error}")))
    }
}

/// The query of a request for the address, where it is one; any other is answered here.
fn request(mut stream: &TcpStream) -> Option<Zeroizing<String>> {
    let started = Instant::now();
    // Some systems hand the listener's mode on.
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut head = Zeroizing::new(Vec::with_capacity(MAX_REQUEST));
    let mut piece = Zeroizing::new([0; 2048]);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let count = stream.read(&mut *piece).ok().filter(|count| *count > 0)?;
        head.extend_from_slice(piece.get(..count)?);
        if head.len() + piece.len() > MAX_REQUEST || started.elapsed() > PATIENCE {
            return None;
        }
    }
    let line = head.split(|byte| *byte == b'\r').next()?;
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if method != "GET" || path != PATH {
        answer(stream, "404 Not Found", "Nothing is here.");
        return None;
    }
    Some(Zeroizing::new(query.to_owned()))
}

/// A page of our own words only. A browser that does not want it has asked nevertheless.
fn answer(mut stream: &TcpStream, status: &str, words: &str) {
    let page =
        format!("<!doctype html><meta charset=utf-8><title>model-signing</title><p>{words}</p>\n");
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\nreferrer-policy: no-referrer\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
}

/// The code in an answer (RFC 6749 section 4.1.2), of which nothing is believed before its `state`.
fn code(query: &str, state: &str) -> Result<Zeroizing<String>, Error> {
    let parameters: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
    // None may be given twice (RFC 6749 section 3.1).
    let only = |name: &str| {
        let mut found = parameters.iter().filter(|(given, _)| given == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value.as_ref()),
            _ => None,
        }
    };
    if !only("state").is_some_and(|found| same(found, state)) {
        return Err(failed("an answer came that is not for this login"));
    }
    if parameters.iter().any(|(name, _)| name == "error") {
        return Err(refused(only("error").unwrap_or_default()));
    }
    let code = only("code").filter(|code| !code.is_empty());
    code.map(|code| Zeroizing::new(code.to_owned()))
        .ok_or_else(|| failed("the answer to the login holds no code"))
}

/// Digests are compared: how long that takes tells nothing about the texts.
fn same(left: &str, right: &str) -> bool {
    Sha256::digest(left) == Sha256::digest(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn why(query: &str) -> String {
        code(query, "s").expect_err(query).to_string()
    }

    #[test]
    fn the_state_goes_before_everything_else() {
        assert_eq!(*code("code=a%2Fb+c&state=s&scope=x", "s").unwrap(), "a/b c");
        for query in [
            "",
            "code=c",
            "code=c&state=",
            "code=c&state=t",
            "code=c&state=s&state=s",
            "code=c&state=t&state=s",
            "error=access_denied&state=t",
        ] {
            assert!(why(query).contains("not for this login"), "{query}");
        }
    }

    #[test]
    fn an_error_is_told_in_the_words_of_the_standard_only() {
        assert!(why("state=s&error=access_denied&code=c").contains("access_denied"));
        for query in ["error=%1b[2J", "error=SECRET", "error=a&error=b"] {
            let why = why(&format!("state=s&{query}"));
            assert!(
                why.contains("without a reason") && !why.contains("SECRET"),
                "{why}"
            );
        }
        for query in ["state=s", "state=s&code=", "state=s&code=a&code=b"] {
            assert!(why(query).contains("no code"), "{query}");
        }
    }
}
