//! SPIFFE: the Workload API of the agent on this machine, such as SPIRE's, gives the SVIDs of this process as JWTs for any
//! audience (SPIFFE Workload Endpoint, SPIFFE Workload API).

use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::redacted::redacted;
use crate::services::{Call, Endpoint, Failure};
use crate::{Deadline, Error};

const SERVICE: &str = "the SPIFFE Workload API";
const SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Which of several SVIDs.
const ID: &str = "MODEL_SIGNING_SPIFFE_ID";
const TRY: Duration = Duration::from_secs(10);
/// So long an agent may take to hear of this process. Not all of the signature's time: other sources come after.
const PATIENCE: Duration = Duration::from_secs(30);
/// The first pause is below this; the limit doubles with every try.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

pub(super) struct Spiffe;

struct Svid {
    id: String,
    token: Zeroizing<String>,
}

impl TokenSource for Spiffe {
    fn name(&self) -> &'static str {
        "spiffe"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        let variable = Detection::by_variable(here, SOCKET);
        match here.environment.text(SOCKET).and_then(endpoint) {
            Some(Endpoint::Unix(path)) if !path.exists() => Detection::NotHere(format!(
                "{SOCKET} is set but {path:?} is not there: mount the agent's socket"
            )),
            // What is wrong with it otherwise is to be told, not to be passed over.
            _ => variable,
        }
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let url = here.variable(SOCKET)?;
        let endpoint = endpoint(url).ok_or_else(|| Error::Token {
            reason: format!("{SOCKET} is neither unix:///PATH nor tcp://IP:PORT: {url:?}"),
        })?;
        let id = match here.environment.get(ID) {
            Some(_) => Some(here.variable(ID)?),
            None => None,
        };
        let call = Call {
            endpoint: &endpoint,
            path: "/SpiffeWorkloadAPI/FetchJWTSVID",
            metadata: ("workload.spiffe.io", "true"),
            message: &request(audience, id),
        };
        let answer = patiently(here, &call, deadline).map_err(|failure| told(&failure, url))?;
        let svids = svids(&answer)
            .ok_or_else(|| misbehaved("its answer is no JWTSVIDResponse".to_owned()))?;
        chosen(&svids, id)
    }
}

/// Tries again where the agent may not have heard of this process yet, or is starting itself.
fn patiently(
    here: &Surroundings,
    call: &Call<'_>,
    deadline: Deadline,
) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let deadline = deadline.sooner(PATIENCE);
    // Counted beside the deadline, since the pauses are by the connection's clock.
    let mut left = deadline.left();
    let mut limit = FIRST_PAUSE;
    loop {
        let failure = match call.ask(TRY.min(deadline.left())) {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        if !failure.is_passing() || limit >= left.min(deadline.left()) {
            return Err(failure);
        }
        left = left.saturating_sub(here.connection.pause(limit));
        limit = (limit * 2).min(LONGEST_PAUSE);
    }
}

fn told(failure: &Failure, url: &str) -> Error {
    let reason = redacted(&failure.to_string());
    match failure {
        Failure::Misbehaved(_) => misbehaved(reason),
        _ => Error::Service {
            service: SERVICE,
            url: url.to_owned(),
            status: None,
            reason: if failure.is_denied() {
                format!(
                    "{reason} (is there a registration entry for this process, and does it have {ID}?)"
                )
            } else {
                reason
            },
        },
    }
}

fn misbehaved(reason: String) -> Error {
    Error::ServiceMisbehaved {
        service: SERVICE,
        reason,
    }
}

/// The token of `id`, or the first one, which is the default identity of the standard's other profiles.
fn chosen(svids: &[Svid], id: Option<&str>) -> Result<IdentityToken, Error> {
    let found = svids.iter().find(|svid| id.is_none_or(|id| id == svid.id));
    let found = found.ok_or_else(|| {
        let others: Vec<_> = svids.iter().map(|svid| svid.id.as_str()).collect();
        Error::Token {
            reason: format!("{ID} is none of the identities of this process: {others:?}"),
        }
    })?;
    let token = IdentityToken::parse(&found.token).map_err(|error| match error {
        Error::Token { reason } => Error::Token {
            reason: format!(
                "{reason} (SPIRE puts `iss` there if its server's `jwt_issuer` is set)"
            ),
        },
        other => other,
    })?;
    if token.subject() == found.id {
        Ok(token)
    } else {
        Err(misbehaved(format!(
            "the SVID of {:?} names {:?}",
            found.id,
            token.subject()
        )))
    }
}

/// What the standard allows in `SPIFFE_ENDPOINT_SOCKET`.
fn endpoint(url: &str) -> Option<Endpoint> {
    if let Some(address) = url.strip_prefix("tcp://") {
        return address.parse().ok().map(Endpoint::Tcp);
    }
    let path = url.strip_prefix("unix:")?;
    let path = path.strip_prefix("//").unwrap_or(path);
    let good = path.starts_with('/') && !path.contains(['?', '#']);
    good.then(|| Endpoint::Unix(PathBuf::from(path)))
}

/// `JWTSVIDRequest { repeated string audience = 1; string spiffe_id = 2; }`
fn request(audience: &str, id: Option<&str>) -> Vec<u8> {
    let fields = [(1, Some(audience)), (2, id)];
    let mut message = Vec::new();
    for (number, text) in fields {
        let Some(text) = text else { continue };
        message.push(number << 3 | 2);
        let mut length = text.len();
        while length > 0x7f {
            message.push(0x80 | u8::try_from(length & 0x7f).unwrap_or_default());
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or_default());
        message.extend_from_slice(text.as_bytes());
    }
    message
}

/// `JWTSVIDResponse { repeated JWTSVID svids = 1; }`, `JWTSVID { string spiffe_id = 1; string svid = 2; ... }`
fn svids(mut message: &[u8]) -> Option<Vec<Svid>> {
    let mut svids = Vec::new();
    while !message.is_empty() {
        let (1, mut fields) = field(&mut message)? else {
            continue;
        };
        let mut svid = Svid {
            id: String::new(),
            token: Zeroizing::default(),
        };
        while !fields.is_empty() {
            match field(&mut fields)? {
                (1, id) => str::from_utf8(id).ok()?.clone_into(&mut svid.id),
                (2, token) => str::from_utf8(token).ok()?.clone_into(&mut svid.token),
                _ => (),
            }
        }
        svids.push(svid);
    }
    (!svids.is_empty()).then_some(svids)
}

/// Number and content of the next field of `message`; the number is 0 where the content is no text or message.
fn field<'a>(message: &mut &'a [u8]) -> Option<(u64, &'a [u8])> {
    let key = varint(message)?;
    let (number, length) = match key & 7 {
        0 => varint(message).map(|_| (0, 0))?,
        1 => (0, 8),
        2 => (key >> 3, usize::try_from(varint(message)?).ok()?),
        5 => (0, 4),
        _ => return None,
    };
    let (content, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some((number, content))
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
