//! gRPC over plain HTTP/2, one call a connection: enough to ask an agent of this machine once (gRPC's
//! `PROTOCOL-HTTP2.md`). Time and size have limits; messages are bytes, never compressed.

use std::fmt;
use std::io::Cursor;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use zeroize::Zeroizing;

/// More than any message has.
const MAX_MESSAGE: usize = 1 << 20;
/// A flag of one byte, and a length of four.
const PREFIX: usize = 5;
/// More than all headers of an answer have.
const MAX_HEADERS: u32 = 16 << 10;
const OK: usize = 0;
const UNKNOWN: usize = 2;
const PERMISSION_DENIED: usize = 7;
const UNAVAILABLE: usize = 14;
/// The status codes by number.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A request of one message that has an answer of one message.
pub(crate) struct Call<'a> {
    pub(crate) endpoint: &'a Endpoint,
    /// `/SERVICE/METHOD`
    pub(crate) path: &'static str,
    pub(crate) metadata: (&'static str, &'static str),
    pub(crate) message: &'a [u8],
}

/// Why a call has no answer. Nothing of an answer's message is in it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No service says such a thing.
    Misbehaved(String),
    /// The service said so.
    Refused { code: usize, message: String },
    /// Nobody answered, or broke off.
    Unreachable(String),
}

impl Failure {
    fn misbehaved(error: impl fmt::Display) -> Self {
        Self::Misbehaved(error.to_string())
    }

    fn unreachable(error: impl fmt::Display) -> Self {
        Self::Unreachable(error.to_string())
    }

    /// Whether the service knows nobody like this process, or not yet.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == PERMISSION_DENIED)
    }

    /// Whether another try may help.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Misbehaved(_) => false,
            Self::Refused { code, .. } => matches!(*code, PERMISSION_DENIED | UNAVAILABLE),
            Self::Unreachable(_) => true,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Misbehaved(reason) | Self::Unreachable(reason) => f.write_str(reason),
            Self::Refused { code, message } => {
                let name = CODES.get(*code).copied().unwrap_or("UNKNOWN");
                write!(f, "{name}: {message}")
            }
        }
    }
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        if error.is_io() || error.is_remote() {
            Self::unreachable(error)
        } else {
            Self::misbehaved(error)
        }
    }
}

/// One type for both kinds of socket, so that HTTP/2 is compiled once.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Call<'_> {
    /// Asks once, and gives the answer's message.
    pub(crate) fn ask(&self, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let asked = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(Failure::unreachable)?;
            let answer = async { tokio::time::timeout(timeout, self.exchange(timeout)).await };
            runtime.block_on(answer).unwrap_or_else(|_| {
                Err(Failure::Unreachable(format!("no answer in {timeout:.1?}")))
            })
        };
        // No runtime can start on a thread that has one, and the caller's may.
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().spawn_scoped(scope, asked);
            let answer = thread.map_err(Failure::unreachable)?.join();
            answer.unwrap_or_else(|_| Err(Failure::misbehaved("the call broke off")))
        })
    }

    async fn connect(&self) -> std::io::Result<(Box<dyn Stream>, String)> {
        Ok(match self.endpoint {
            Endpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                (Box::new(stream), address.to_string())
            }
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path).await?;
                (Box::new(stream), "localhost".to_owned())
            }
        })
    }

    async fn exchange(&self, timeout: Duration) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let (stream, authority) = self.connect().await.map_err(Failure::unreachable)?;
        let (name, value) = self.metadata;
        let request = Request::post(format!("http://{authority}{}", self.path))
            .header("te", "trailers")
            .header("content-type", "application/grpc")
            .header("grpc-timeout", format!("{}m", timeout.as_millis()))
            .header(name, value)
            .body(())
            .map_err(Failure::misbehaved)?;
        let (requests, connection) = h2::client::Builder::new()
            .enable_push(false)
            .max_header_list_size(MAX_HEADERS)
            .handshake::<_, Cursor<Vec<u8>>>(stream)
            .await?;
        tokio::spawn(connection);
        let mut requests = requests.ready().await?;
        let (answer, mut sender) = requests.send_request(request, false)?;
        sender.send_data(Cursor::new(self.framed()?), true)?;

        let (head, mut body) = answer.await?.into_parts();
        // A refusal may come without a body, in the headers.
        if let Some(code) = code(&head.headers).filter(|code| *code != OK) {
            return Err(refused(code, &head.headers));
        }
        match head.status.as_u16() {
            200 => (),
            // gRPC's `http-grpc-status-mapping.md`
            status @ (429 | 502 | 503 | 504) => return Err(status_instead(UNAVAILABLE, status)),
            status => return Err(status_instead(UNKNOWN, status)),
        }
        let mut bytes = Zeroizing::new(Vec::new());
        while let Some(chunk) = body.data().await {
            let chunk = chunk?;
            if bytes.len() + chunk.len() > PREFIX + MAX_MESSAGE {
                return Err(Failure::misbehaved(format!(
                    "the answer is longer than {MAX_MESSAGE} bytes"
                )));
            }
            bytes.extend_from_slice(&chunk);
            body.flow_control().release_capacity(chunk.len())?;
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        match code(&trailers).or_else(|| code(&head.headers)) {
            Some(OK) => unframed(&bytes),
            Some(code) => Err(refused(code, &trailers)),
            None => Err(Failure::misbehaved("the answer ends without a status")),
        }
    }

    fn framed(&self) -> Result<Vec<u8>, Failure> {
        let length = u32::try_from(self.message.len()).map_err(Failure::misbehaved)?;
        Ok([&[0], &length.to_be_bytes()[..], self.message].concat())
    }
}

/// The one message in `bytes`.
fn unframed(bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let message = bytes
        .split_first_chunk::<PREFIX>()
        .and_then(|(prefix, message)| {
            let [0, length @ ..] = *prefix else {
                return None;
            };
            let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
            (message.len() == length).then(|| Zeroizing::new(message.to_vec()))
        });
    message.ok_or_else(|| Failure::misbehaved("the answer is not one message, uncompressed"))
}

fn code(headers: &HeaderMap) -> Option<usize> {
    let code = headers.get("grpc-status")?.to_str().ok();
    Some(code.and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN))
}

fn refused(code: usize, headers: &HeaderMap) -> Failure {
    let message = headers.get("grpc-message");
    let message = message.map(|message| String::from_utf8_lossy(message.as_bytes()).into_owned());
    let message = message.unwrap_or_default();
    Failure::Refused { code, message }
}

fn status_instead(code: usize, status: u16) -> Failure {
    let message = format!("it answered with HTTP status {status}");
    Failure::Refused { code, message }
}
