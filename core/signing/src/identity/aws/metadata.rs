//! The metadata server of an EC2 instance, version 2 (EC2 User Guide, "Use the Instance Metadata Service").

use super::super::{Detection, Surroundings};
use super::credentials::{Credentials, from_json};
use crate::services::{Answer, Http};
use crate::{Deadline, Error};

const OFF: &str = "AWS_EC2_METADATA_DISABLED";
const SERVER: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
const DEFAULT: &str = "http://169.254.169.254";
const NAME: &str = "the EC2 metadata server";
/// EC2 User Guide, "Detect whether a host is an EC2 instance": what of it is readable without root, on Nitro and Xen.
const MARKS: [(&str, &str); 2] = [
    ("/sys/devices/virtual/dmi/id/board_asset_tag", "i-"),
    ("/sys/hypervisor/uuid", "ec2"),
];

/// Whether there may be one.
pub(super) fn detect(here: &Surroundings) -> Detection {
    let off = here.environment.text(OFF);
    if off.is_some_and(|off| off.eq_ignore_ascii_case("true")) {
        return Detection::NotHere(format!("{OFF} is set"));
    }
    if here.environment.get(SERVER).is_some() {
        return Detection::Here(format!("{SERVER} is set"));
    }
    let mut marks = MARKS.iter();
    match marks.find(|(path, mark)| here.kernel(path).starts_with(mark)) {
        Some((path, _)) => Detection::Here(format!("{path} says EC2")),
        None => Detection::NotHere("this is no EC2 instance".to_owned()),
    }
}

/// A session with it.
pub(super) fn open(here: &Surroundings, deadline: Deadline) -> Result<Metadata<'_>, Error> {
    let server = here.environment.text(SERVER).unwrap_or(DEFAULT);
    let server = server.trim_end_matches('/');
    let http = here.connection.nearby(NAME, deadline);
    let http = http.with_header("x-aws-ec2-metadata-token-ttl-seconds", "60");
    let answer = http.put(&format!("{server}/latest/api/token"));
    let answer = answer.map_err(|error| match error {
        Error::Service {
            status: None,
            reason,
            ..
        } => Error::Token {
            reason: format!(
                "{NAME} did not answer, as it does in a container where the instance's hop limit is 1: {reason}"
            ),
        },
        other => other,
    })?;
    let token = text(&http, &answer)?;
    let http = here.connection.nearby(NAME, deadline);
    Ok(Metadata {
        http: http.with_header("x-aws-ec2-metadata-token", token),
        server: server.to_owned(),
    })
}

pub(super) struct Metadata<'a> {
    http: Http<'a>,
    server: String,
}

impl Metadata<'_> {
    pub(super) fn region(&self) -> Result<String, Error> {
        self.get("placement/region")
            .and_then(|answer| text(&self.http, &answer))
    }

    /// Those of the instance's role.
    pub(super) fn credentials(&self) -> Result<Credentials, Error> {
        let roles = "iam/security-credentials/";
        let role = self.get(roles).map_err(|error| match error {
            Error::Service {
                status: Some(404), ..
            } => Error::Token {
                reason: "this instance has no role: attach an instance profile to it".to_owned(),
            },
            other => other,
        })?;
        let role = text(&self.http, &role)?;
        // What IAM allows in a name.
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@-_".contains(&b);
        if !role.bytes().all(plain) {
            return Err(self.http.misbehaved("it names a role as no role is named"));
        }
        from_json(&self.http, &self.get(&format!("{roles}{role}"))?)
    }

    fn get(&self, path: &str) -> Result<Answer, Error> {
        self.http
            .get(&format!("{}/latest/meta-data/{path}", self.server))
    }
}

fn text(http: &Http<'_>, answer: &Answer) -> Result<String, Error> {
    let text = str::from_utf8(&answer.body).unwrap_or_default().trim();
    if text.is_empty() || text.contains(char::is_whitespace) {
        return Err(http.misbehaved("its answer is not one word"));
    }
    Ok(text.to_owned())
}
