//! The real Sigstore on this machine (framework-tests/sigstore), and a proxy that makes one of its services lie.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    unreachable_pub
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use autosign_signing::{
    Bundle, Clock, Connection, Error, Hashing, Ignore, KeylessSigner, Sources, Statement,
    TokenText, TrustConfig, hash, seal,
};
use serde_json::{Value, json};

/// A running instance. It stops when its standard input closes: at the latest with this process.
pub struct Stack {
    told: Value,
    _child: Mutex<(Child, ChildStdin)>,
}

/// Two instances that know nothing of each other.
pub static STACK: LazyLock<Stack> = LazyLock::new(Stack::start);
pub static OTHER: LazyLock<Stack> = LazyLock::new(Stack::start);

impl Stack {
    fn start() -> Self {
        let start =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../framework-tests/sigstore/start.py");
        let mut child = Command::new("python3")
            .arg(start)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        Self {
            told: serde_json::from_str(&line).unwrap(),
            _child: Mutex::new((child, stdin)),
        }
    }

    pub fn told(&self, name: &str) -> &str {
        self.told[name].as_str().unwrap_or_else(|| panic!("{name}"))
    }

    /// The instance with Rekor v2 (`trust_config`) or with v1 alone (`trust_config_v1`).
    pub fn trust_json(&self, name: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.told(name)).unwrap()).unwrap()
    }

    pub fn trust(&self, name: &str) -> TrustConfig {
        parsed(&self.trust_json(name))
    }

    /// A token of `issuer`, with `claims` in the place of its usual ones.
    pub fn token(&self, issuer: &str, claims: &Value, query: &str) -> String {
        let url = format!("{}/{issuer}/token/mint?{query}", self.told("issuer"));
        let mut response = ureq::post(&url)
            .content_type("application/json")
            .send(claims.to_string())
            .unwrap();
        response.body_mut().read_to_string().unwrap()
    }

    /// The issuer's URL, as it stands in certificates.
    pub fn provider(&self, issuer: &str) -> String {
        format!("{}/{issuer}", self.told("issuer"))
    }

    /// A signer with a token of the email issuer, alice's.
    pub fn signer(&self, trust: TrustConfig) -> KeylessSigner {
        self.signer_at(trust, Arc::new(Hurried::default()))
    }

    pub fn signer_at(&self, trust: TrustConfig, clock: Arc<dyn Clock>) -> KeylessSigner {
        let token = TokenText::new(self.token("email", &json!({}), ""));
        let connection = Connection::new(None, clock).unwrap();
        KeylessSigner::new(trust, Sources::only(Box::new(token), connection)).unwrap()
    }

    /// The JSON of a bundle over one small file with `content`.
    pub fn bundle(&self, trust: &str, content: &[u8]) -> Value {
        let bytes = seal(&statement(content), &self.signer(self.trust(trust))).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }
}

/// A clock on which nobody waits; it counts the pauses.
#[derive(Default)]
pub struct Hurried(pub Mutex<Vec<Duration>>);

impl Clock for Hurried {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn sleep(&self, pause: Duration) {
        self.0.lock().unwrap().push(pause);
    }
}

pub fn parsed(trust: &Value) -> TrustConfig {
    TrustConfig::parse(trust.to_string().as_bytes()).unwrap()
}

pub fn statement(content: &[u8]) -> Statement {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.pt");
    std::fs::File::create_new(&path)
        .unwrap()
        .write_all(content)
        .unwrap();
    let manifest = hash(&path, &Ignore::git(), Hashing::default()).unwrap();

    Statement::new(manifest, Ignore::git())
}

pub fn parse(bundle: &Value) -> Result<Bundle, Error> {
    Bundle::parse(bundle.to_string().as_bytes())
}

/// What a service answered: status, headers, body.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

/// A service in front of another one, which it asks and then answers as `lie` says. Counts the requests.
pub struct Proxy {
    pub url: String,
    pub requests: Arc<Mutex<usize>>,
}

impl Proxy {
    /// `lie` gets the number of the request, from 0, and the honest answer.
    pub fn before(
        upstream: &str,
        lie: impl Fn(usize, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(0));
        let (upstream, count, lie) = (upstream.to_owned(), Arc::clone(&requests), Arc::new(lie));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (upstream, count) = (upstream.clone(), Arc::clone(&count));
                let lie = Arc::clone(&lie);
                std::thread::spawn(move || serve(stream.unwrap(), &upstream, &count, &*lie));
            }
        });
        Self { url, requests }
    }

    pub fn asked(&self) -> usize {
        *self.requests.lock().unwrap()
    }
}

/// One request a connection.
pub fn serve(
    stream: impl Read + Write,
    upstream: &str,
    count: &Mutex<usize>,
    lie: &dyn Fn(usize, Answer) -> Answer,
) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok()?;
    let mut words = request.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut kind) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        } else if let Some(value) = header.strip_prefix("content-type:") {
            value.trim().clone_into(&mut kind);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    // Which issuers Fulcio knows is asked once a signer; the lies here are about signatures.
    let counts = !path.ends_with("/configuration");
    let number = if counts {
        let mut count = count.lock().unwrap();
        *count += 1;
        *count - 1
    } else {
        0
    };
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .new_agent();
    let url = format!("{upstream}{path}");
    let mut response = match method.as_str() {
        "POST" => agent.post(&url).header("content-type", &kind).send(body),
        _ => agent.get(&url).call(),
    }
    .ok()?;
    let honest = Answer {
        status: response.status().as_u16(),
        headers: String::new(),
        body: response.body_mut().read_to_vec().ok()?,
    };
    let answer = if counts { lie(number, honest) } else { honest };
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 {} -\r\nconnection: close\r\ncontent-length: {}\r\n{}\r\n",
        answer.status,
        answer.body.len(),
        answer.headers
    )
    .ok()?;
    stream.write_all(&answer.body).ok()?;
    stream.flush().ok()
}

/// `trust` with the service of `kind` (`caUrls`, `rekorTlogUrls`, `tsaUrls`) at another address.
pub fn redirected(trust: &Value, kind: &str, proxy: &Proxy) -> TrustConfig {
    let mut trust = trust.clone();
    let url = &mut trust["signingConfig"][kind][0]["url"];
    let path = url
        .as_str()
        .unwrap()
        .splitn(4, '/')
        .nth(3)
        .unwrap_or("")
        .to_owned();
    *url = json!(format!("{}/{path}", proxy.url));
    parsed(&trust)
}

/// The address without its path.
pub fn origin(trust: &Value, kind: &str) -> String {
    let url = trust["signingConfig"][kind][0]["url"].as_str().unwrap();
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

pub fn scratch(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join(name)
}
