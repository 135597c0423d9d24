//! A SPIFFE agent on loopback or on a Unix socket: real HTTP/2, gRPC and protobuf, with answers as a test says.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, unreachable_pub)]

use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex};

use h2::server::SendResponse;
use http::{HeaderMap, HeaderName, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// `JWTSVIDRequest`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    pub audience: Vec<String>,
    pub spiffe_id: String,
}

#[derive(Clone)]
pub struct Reply {
    pub http_status: u16,
    pub headers: Vec<(&'static str, String)>,
    /// Length-prefixed messages; with none and no trailers, the headers are all.
    pub body: Vec<u8>,
    pub trailers: Vec<(&'static str, String)>,
}

impl Reply {
    /// One message, and that all is well.
    pub fn message(message: &[u8]) -> Self {
        let length = u32::try_from(message.len()).unwrap();
        Self {
            http_status: 200,
            headers: Vec::new(),
            body: [&[0], &length.to_be_bytes()[..], message].concat(),
            trailers: vec![("grpc-status", "0".to_owned())],
        }
    }

    pub fn svids(svids: &[(&str, &str)]) -> Self {
        Self::message(&response(svids))
    }

    /// A refusal in the headers, as grpc-go sends it.
    pub fn refusal(code: u32, message: &str) -> Self {
        Self {
            http_status: 200,
            headers: vec![
                ("grpc-status", code.to_string()),
                ("grpc-message", message.to_owned()),
            ],
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// A refusal after the headers.
    pub fn late_refusal(code: u32, message: &str) -> Self {
        let early = Self::refusal(code, message);
        Self {
            headers: Vec::new(),
            trailers: early.headers,
            ..early
        }
    }
}

/// `JWTSVIDResponse` with these SPIFFE IDs and JWTs, and hints.
pub fn response(svids: &[(&str, &str)]) -> Vec<u8> {
    let svids = svids.iter().map(|(id, token)| {
        let svid = [
            field(1, id.as_bytes()),
            field(2, token.as_bytes()),
            field(3, b"hint"),
        ];
        field(1, &svid.concat())
    });
    svids.collect::<Vec<_>>().concat()
}

/// A field of wire type 2.
pub fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number * 8 + 2];
    let mut length = content.len();
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).unwrap() + 128);
        length /= 128;
    }
    bytes.push(u8::try_from(length).unwrap());
    [bytes, content.to_vec()].concat()
}

/// A request is small here: all lengths have one byte.
fn asked(mut message: &[u8]) -> Asked {
    let mut asked = Asked::default();
    while let [key, length, rest @ ..] = message {
        let (text, rest) = rest.split_at(usize::from(*length));
        let text = String::from_utf8(text.to_vec()).unwrap();
        match key {
            0x0a => asked.audience.push(text),
            0x12 => asked.spiffe_id = text,
            _ => panic!("no field of a JWTSVIDRequest"),
        }
        message = rest;
    }
    asked
}

type Answer = Arc<dyn Fn(usize, &Asked) -> Reply + Send + Sync>;

#[derive(Clone)]
struct Agent {
    requests: Arc<Mutex<Vec<Asked>>>,
    answer: Answer,
}

pub struct WorkloadApi {
    /// `SPIFFE_ENDPOINT_SOCKET`
    pub socket: String,
    pub requests: Arc<Mutex<Vec<Asked>>>,
}

impl WorkloadApi {
    /// `answer` gets the number of the request, from 0.
    pub fn tcp(answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = format!("tcp://{}", listener.local_addr().unwrap());
        listener.set_nonblocking(true).unwrap();
        Self::serving(socket, answer, |agent| async move {
            let listener = TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(agent.clone().serve(stream));
            }
        })
    }

    pub fn unix(
        path: &Path,
        answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
        listener.set_nonblocking(true).unwrap();
        let socket = format!("unix://{}", path.display());
        Self::serving(socket, answer, |agent| async move {
            let listener = UnixListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(agent.clone().serve(stream));
            }
        })
    }

    fn serving<F: Future<Output = ()>>(
        socket: String,
        answer: impl Fn(usize, &Asked) -> Reply + Send + Sync + 'static,
        listen: impl FnOnce(Agent) -> F + Send + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let agent = Agent {
            requests: Arc::clone(&requests),
            answer: Arc::new(answer),
        };
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(listen(agent));
        });
        Self { socket, requests }
    }

    pub fn seen(&self) -> Vec<Asked> {
        self.requests.lock().unwrap().clone()
    }
}

impl Agent {
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let builder = h2::server::Builder::new();
        let mut connection = builder
            .handshake::<_, Cursor<Vec<u8>>>(stream)
            .await
            .unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(self.clone().respond(request, respond));
        }
    }

    async fn respond(
        self,
        request: Request<h2::RecvStream>,
        mut respond: SendResponse<Cursor<Vec<u8>>>,
    ) {
        let (head, mut body) = request.into_parts();
        let mut bytes = Vec::new();
        while let Some(chunk) = body.data().await {
            bytes.extend_from_slice(&chunk.unwrap());
        }
        let header = |name: &str| head.headers.get(name).map_or("", |v| v.to_str().unwrap());
        assert_eq!(header("content-type"), "application/grpc");
        assert_eq!(header("te"), "trailers");
        let reply = if head.uri.path() != "/SpiffeWorkloadAPI/FetchJWTSVID" {
            Reply::refusal(12, "unknown method")
        } else if header("workload.spiffe.io") != "true" {
            Reply::refusal(3, "security header missing from request")
        } else {
            let asked = asked(&bytes[5..]);
            let number = {
                let mut requests = self.requests.lock().unwrap();
                requests.push(asked.clone());
                requests.len() - 1
            };
            (self.answer)(number, &asked)
        };
        let mut response = Response::builder()
            .status(reply.http_status)
            .header("content-type", "application/grpc");
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        let only_headers = reply.body.is_empty() && reply.trailers.is_empty();
        let response = response.body(()).unwrap();
        let Ok(mut stream) = respond.send_response(response, only_headers) else {
            return;
        };
        if only_headers {
            return;
        }
        // A client that has read enough breaks off.
        let _ = stream.send_data(Cursor::new(reply.body), reply.trailers.is_empty());
        if !reply.trailers.is_empty() {
            let trailers = reply.trailers.into_iter();
            let trailers: HeaderMap = trailers
                .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                .collect();
            let _ = stream.send_trailers(trailers);
        }
    }
}
