//! The two actions of the Security Token Service that a token needs.

use zeroize::Zeroizing;

use super::super::sources::form;
use super::super::{IdentityToken, Surroundings};
use super::credentials::Credentials;
use super::signature::{Request, Scope, authorization, timestamp};
use crate::services::Http;
use crate::{Deadline, Error};

const FORM: &str = "application/x-www-form-urlencoded";
const VERSION: (&str, &str) = ("Version", "2011-06-15");

pub(super) struct Sts<'a> {
    pub(super) here: &'a Surroundings,
    /// Without a slash at its end.
    pub(super) endpoint: &'a str,
    pub(super) region: &'a str,
    pub(super) deadline: Deadline,
}

impl Sts<'_> {
    /// `GetWebIdentityToken`: the token of whose `credentials` these are.
    pub(super) fn identity_token(
        &self,
        audience: &str,
        credentials: &Credentials,
    ) -> Result<IdentityToken, Error> {
        let body = form(&[
            ("Action", "GetWebIdentityToken"),
            VERSION,
            ("Audience.member.1", audience),
            ("SigningAlgorithm", "ES384"),
            // Seconds. It is sent to Fulcio at once.
            ("DurationSeconds", "300"),
        ]);
        let time = timestamp(self.here.connection.now())?;
        let address = self.endpoint.split_once("://").map_or("", |(_, rest)| rest);
        let host = address.split('/').next().unwrap_or_default();
        let path = format!("{}/", address.get(host.len()..).unwrap_or_default());
        let mut headers = vec![
            ("content-type", FORM),
            ("host", host),
            ("x-amz-date", &time),
        ];
        if let Some(session) = &credentials.session {
            headers.push(("x-amz-security-token", session));
        }
        let request = Request {
            method: "POST",
            path: &path,
            headers: &headers,
            body: body.as_bytes(),
        };
        let scope = Scope {
            region: self.region,
            service: "sts",
            time: &time,
        };
        let mut http = self.http();
        http = http.with_header(
            "authorization",
            authorization(&request, &scope, credentials),
        );
        for (name, value) in headers.into_iter().skip(1) {
            http = http.with_header(name, value);
        }
        let answer = self.post(&http, &body, |code| match code {
            "AccessDenied" => Some("allow this role the action sts:GetWebIdentityToken"),
            _ if code.starts_with("OutboundWebIdentityFederationDisabled") => Some(
                "let an administrator enable it for this account: \
                 iam:EnableOutboundWebIdentityFederation",
            ),
            _ => None,
        })?;
        IdentityToken::parse(element(&http, &answer, "WebIdentityToken")?)
    }

    /// `AssumeRoleWithWebIdentity`: the credentials of `role` for the token of a Kubernetes service account, whose
    /// audience is STS. The one request without a signature.
    pub(super) fn assume_role(
        &self,
        role: &str,
        session: &str,
        token: &IdentityToken,
    ) -> Result<Credentials, Error> {
        let body = form(&[
            ("Action", "AssumeRoleWithWebIdentity"),
            VERSION,
            ("RoleArn", role),
            ("RoleSessionName", session),
            ("WebIdentityToken", token.expose()),
        ]);
        let http = self.http();
        let answer = self.post(&http, &body, |code| {
            (code == "AccessDenied").then_some(
                "let the trust policy of AWS_ROLE_ARN name this service account, for \
                 sts:AssumeRoleWithWebIdentity",
            )
        })?;
        let text = |name| element(&http, &answer, name).map(str::to_owned);
        Ok(Credentials {
            id: text("AccessKeyId")?,
            secret: Zeroizing::new(text("SecretAccessKey")?),
            session: Some(Zeroizing::new(text("SessionToken")?)),
        })
    }

    fn http(&self) -> Http<'_> {
        self.here.connection.to("AWS STS", self.deadline)
    }

    /// Posts `body`; `advice` says what helps against an error code of AWS.
    fn post(
        &self,
        http: &Http<'_>,
        body: &str,
        advice: impl Fn(&str) -> Option<&'static str>,
    ) -> Result<Zeroizing<String>, Error> {
        let url = format!("{}/", self.endpoint);
        let answer = http.post(&url, FORM, body.as_bytes(), &[200]);
        let answer = answer.map_err(|error| explained(error, advice))?;
        let text = str::from_utf8(&answer.body);
        let text = text.map_err(|_| http.misbehaved("its answer is not text"))?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// The refusal without its XML, and with `advice`.
fn explained(error: Error, advice: impl Fn(&str) -> Option<&'static str>) -> Error {
    let Error::Service {
        service,
        url,
        status,
        reason,
    } = error
    else {
        return error;
    };
    // It may be cut in the middle of its message.
    let part = |name: &str| {
        let (_, rest) = reason.split_once(&format!("<{name}>"))?;
        rest.split('<').next()
    };
    let Some(code) = part("Code") else {
        return Error::Service {
            service,
            url,
            status,
            reason,
        };
    };
    let said = format!("{code}: {}", part("Message").unwrap_or_default());
    match advice(code) {
        Some(advice) => Error::Token {
            reason: format!("AWS STS refused it; {advice} ({said})"),
        },
        None => Error::Service {
            service,
            url,
            status,
            reason: said,
        },
    }
}

/// The text of the one element `name`. What STS answers with needs no entity, so there is no more of XML than this.
fn element<'a>(http: &Http<'_>, xml: &'a str, name: &str) -> Result<&'a str, Error> {
    only(xml, name).ok_or_else(|| http.misbehaved(format!("its answer has not one text {name}")))
}

fn only<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (before, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, after) = rest.split_once(&format!("</{name}>"))?;
    let once = !before.contains("<!") && !after.contains(&format!("<{name}>"));
    (once && !text.is_empty() && !text.contains(['<', '>', '&'])).then(|| text.trim())
}

#[cfg(test)]
mod tests {
    use super::only;

    #[test]
    fn one_element_with_plain_text() {
        assert_eq!(only("<a><T>x.y.z</T><b>c</b></a>", "T"), Some("x.y.z"));
        for wrong in [
            "",
            "<T>x",
            "<T></T>",
            "x</T>",
            "<T>x</T><T>y</T>",
            "<T>x<b/></T>",
            "<T>&x;</T>",
            "<!-- <T>x</T> -->",
            "<![CDATA[<T>x</T>]]>",
        ] {
            assert_eq!(only(wrong, "T"), None, "{wrong}");
        }
    }
}
