//! A platform on loopback that answers as a test says, and the way from a token source to a real certificate.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use autosign_signing::{
    Bundle, Connection, Credentials, Deadline, Environment, Error, ExpectedSigner, KeylessSigner,
    KeylessVerifier, Sources, Surroundings, Verifier, seal,
};

use crate::stack::{Hurried, STACK, statement};

/// What was asked of a platform. Header names are in lower case.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// Status and body.
pub type Reply = (u16, String);

pub const SHORT: Duration = Duration::from_millis(700);
/// What a test does not expect to be seen.
pub const NONE: Reply = (418, String::new());

/// A server that answers every request by a function, and remembers them.
pub struct Platform {
    /// `127.0.0.1:PORT`
    pub address: String,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl Platform {
    pub fn new(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with_headers("", answer)
    }

    /// One whose every answer has these lines among its headers.
    pub fn with_headers(
        lines: &'static str,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&requests), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &seen, lines, &*answer));
            }
        });
        Self { address, requests }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn seen(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

/// One request a connection.
pub fn serve(
    stream: impl Read + Write,
    seen: &Mutex<Vec<Request>>,
    lines: &str,
    answer: &dyn Fn(&Request) -> Reply,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length").map_or("0", String::as_str);
    let mut body = vec![0; length.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let request = Request {
        method,
        target,
        headers,
        body: String::from_utf8(body).ok()?,
    };
    seen.lock().unwrap().push(request.clone());
    let (status, body) = answer(&request);
    let mut stream = reader.into_inner();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} -\r\nconnection: close\r\n{lines}content-length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    stream.flush().ok()
}

/// A machine with these variables, and `root` in the place of `/`. Nobody waits on it.
pub fn machine(variables: &[(&str, &str)], root: &Path) -> Surroundings {
    let environment: Environment = variables.iter().copied().collect();
    let connection = Connection::new(None, Arc::new(Hurried::default())).unwrap();
    let mut here = Surroundings::new(environment, connection);
    root.clone_into(&mut here.root);
    here
}

/// What the ambient sources of `here` give.
pub fn fetched(here: Surroundings) -> Result<(), Error> {
    fetched_within(here, Duration::from_secs(20))
}

/// The same, in so much time.
pub fn fetched_within(here: Surroundings, limit: Duration) -> Result<(), Error> {
    let deadline = Deadline::within(limit);
    ambient(here).fetch("sigstore", deadline).map(drop)
}

pub fn ambient(here: Surroundings) -> Sources {
    Sources::new(here, Vec::new(), &Credentials::default())
}

/// Signs with what the ambient sources of `here` find, through the real Fulcio; returns the signer as certified,
/// `IDENTITY (PROVIDER)`.
pub fn certified(here: Surroundings) -> Result<String, Error> {
    signed(ambient(here))
}

pub fn signed(sources: Sources) -> Result<String, Error> {
    let signer = KeylessSigner::new(STACK.trust("trust_config"), sources)?;
    let bytes = seal(&statement(b"weights"), &signer)?;
    let anybody = [
        "email",
        "gcp",
        "github",
        "gitlab",
        "kubernetes",
        "spiffe",
        "uri",
    ];
    let bundle = Bundle::parse(&bytes)?;
    for kind in anybody {
        let expected = ExpectedSigner::new("re:.*", &STACK.provider(kind))?;
        let verifier = KeylessVerifier::new(&STACK.trust("trust_config"), expected)?;
        if let Ok(verified) = verifier.verify(&bundle) {
            return Ok(verified.signer().to_owned());
        }
    }
    panic!("signed by nobody of this stack")
}

/// A shell script at `NAME` in `folder`.
pub fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    // A temporary file and a rename: a test that forks meanwhile could hold it open for writing, and "text file busy".
    let new = folder.join(format!("{name}.new"));
    std::fs::write(&new, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Puts `text` at the well-known `path` of the machine whose `/` is `root`.
pub fn put(root: &Path, path: &str, text: &str) -> String {
    let path = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::fs::File::options();
    let file = file.create(true).write(true).truncate(true).open(&path);
    file.unwrap().write_all(text.as_bytes()).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What the sources of this machine say when there is no time, so that nobody is asked.
pub fn at_once(here: Surroundings) -> String {
    fetch(here, Duration::ZERO).to_string()
}

/// Why there is no token within `limit`.
pub fn fetch(here: Surroundings, limit: Duration) -> Error {
    let fetched = ambient(here).fetch("sigstore", Deadline::within(limit));
    fetched.err().expect("a token")
}

/// A service that takes connections, and is silent.
pub fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Nobody answers, and the sources say so in time.
pub fn is_refused_soon(here: Surroundings, limit: Duration) {
    let start = Instant::now();
    let error = fetch(here, limit).to_string();
    assert!(start.elapsed() < Duration::from_secs(8), "{error}");
    assert!(error.contains("timeout"), "{error}");
}

/// The name in certificates for tokens of the kind `uri`.
pub fn trainer() -> String {
    format!("http://127.0.0.1/trainer ({})", STACK.provider("uri"))
}

/// The value of the field `name` of a form.
pub fn field<'a>(fields: &'a [(String, String)], name: &str) -> &'a str {
    &fields.iter().find(|(key, _)| key == name).unwrap().1
}
