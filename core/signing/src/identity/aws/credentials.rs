//! Where the credentials of a job on AWS are, in the order of AWS's own SDKs (AWS SDKs and Tools Reference Guide,
//! "Standardized credential providers"). Profiles in `~/.aws` are not read: they belong to people.

use std::net::IpAddr;
use std::path::Path;

use serde::Deserialize;
use zeroize::Zeroizing;

use super::super::file::read_token;
use super::super::{Detection, Surroundings};
use super::metadata;
use super::sts::Sts;
use crate::reading::read_capped;
use crate::services::{Answer, Http, address, is_loopback};
use crate::{Deadline, Error, json};

const KEY: &str = "AWS_ACCESS_KEY_ID";
const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
const SESSION: &str = "AWS_SESSION_TOKEN";
const TOKEN_FILE: &str = "AWS_WEB_IDENTITY_TOKEN_FILE";
const ROLE: &str = "AWS_ROLE_ARN";
const ROLE_SESSION: &str = "AWS_ROLE_SESSION_NAME";
const RELATIVE: &str = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI";
const FULL: &str = "AWS_CONTAINER_CREDENTIALS_FULL_URI";
const AUTHORIZATION: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN";
const AUTHORIZATION_FILE: &str = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE";
const CONTAINER: &str = "the container's credentials server";
const ECS: &str = "http://169.254.170.2";
/// Of ECS and EKS: what may be asked in plain HTTP, beside this machine.
const CONTAINER_SERVERS: [&str; 3] = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"];

/// What a request is signed with. Has no `Debug`, and is wiped when dropped.
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: Zeroizing<String>,
    pub(super) session: Option<Zeroizing<String>>,
}

impl Credentials {
    /// Whether there may be some.
    pub(super) fn detect(here: &Surroundings) -> Detection {
        let mut names = [KEY, TOKEN_FILE, RELATIVE, FULL].into_iter();
        match names.find(|name| here.environment.get(name).is_some()) {
            Some(name) => Detection::Here(format!("{name} is set")),
            None => match metadata::detect(here) {
                Detection::NotHere(reason) => {
                    Detection::NotHere(format!("{reason}, and {KEY} is not set"))
                }
                here @ Detection::Here(_) => here,
            },
        }
    }

    pub(super) fn find(
        here: &Surroundings,
        sts: &Sts<'_>,
        deadline: Deadline,
    ) -> Result<Self, Error> {
        let environment = &here.environment;
        if environment.get(KEY).is_some() {
            let session = environment.text(SESSION);
            return Ok(Self {
                id: here.variable(KEY)?.to_owned(),
                secret: Zeroizing::new(here.variable(SECRET)?.to_owned()),
                session: session.map(|text| Zeroizing::new(text.to_owned())),
            });
        }
        if let Some(path) = environment.get(TOKEN_FILE) {
            let session = environment.text(ROLE_SESSION);
            let session = session.unwrap_or("model-signing-autosign");
            let token = read_token(path.as_ref())?;
            return sts.assume_role(here.variable(ROLE)?, session, &token);
        }
        if environment.get(RELATIVE).is_some() {
            let url = format!("{ECS}{}", here.variable(RELATIVE)?);
            return of_container(here, &url, deadline);
        }
        if environment.get(FULL).is_some() {
            return of_container(here, here.variable(FULL)?, deadline);
        }
        metadata::open(here, deadline)?.credentials()
    }
}

/// Those that ECS, or EKS Pod Identity, has for this container.
fn of_container(here: &Surroundings, url: &str, deadline: Deadline) -> Result<Credentials, Error> {
    let mut http = if is_near(url) {
        here.connection.nearby(CONTAINER, deadline)
    } else if url.starts_with("https://") {
        here.connection.to(CONTAINER, deadline)
    } else {
        return Err(Error::Token {
            reason: format!(
                "{FULL} is neither https nor of this machine, ECS or EKS: credentials do not come from there"
            ),
        });
    };
    let authorization = match here.environment.get(AUTHORIZATION_FILE) {
        Some(path) => Some(read_line(path.as_ref())?),
        None => here.environment.text(AUTHORIZATION).map(str::to_owned),
    };
    if let Some(authorization) = authorization {
        http = http.with_header("authorization", authorization);
    }
    from_json(&http, &http.get(url)?)
}

fn is_near(url: &str) -> bool {
    let known = |host: IpAddr| {
        let mut servers = CONTAINER_SERVERS.iter().map(|text| text.parse());
        servers.any(|server| server == Ok(host))
    };
    url.starts_with("http://") && (is_loopback(url) || address(url).is_some_and(known))
}

fn read_line(path: &Path) -> Result<String, Error> {
    let bytes = Zeroizing::new(read_capped(path, "authorization token", 64 << 10)?);
    let text = str::from_utf8(&bytes).unwrap_or_default().trim();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(Error::at(path)(Error::Token {
            reason: "it is not one line of text".to_owned(),
        }));
    }
    Ok(text.to_owned())
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    access_key_id: String,
    secret_access_key: Zeroizing<String>,
    token: Zeroizing<String>,
}

/// What metadata servers and containers' servers answer.
pub(super) fn from_json(http: &Http<'_>, answer: &Answer) -> Result<Credentials, Error> {
    // The parser's message could quote the secret.
    let wire: Result<Wire, _> = json::parse(&answer.body);
    let wire = wire.map_err(|_| http.misbehaved("its answer is no credentials"))?;
    Ok(Credentials {
        id: wire.access_key_id,
        secret: wire.secret_access_key,
        session: Some(wire.token),
    })
}

#[cfg(test)]
mod tests {
    use super::is_near;

    #[test]
    fn plain_http_stays_near() {
        for near in [
            "http://169.254.170.2/v2/credentials/1",
            "http://169.254.170.23/v1/credentials",
            "http://[fd00:ec2::23]/v1/credentials",
            "http://127.0.0.1:8080/",
            "http://localhost/",
        ] {
            assert!(is_near(near), "{near}");
        }
        for far in [
            "http://169.254.169.254/",
            "http://169.254.170.2.example/",
            "http://169.254.170.2@evil.example/",
            "http://10.0.0.1/",
            "https://127.0.0.1/",
            "ftp://127.0.0.1/",
        ] {
            assert!(!is_near(far), "{far}");
        }
    }
}
