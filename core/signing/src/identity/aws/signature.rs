//! AWS Signature Version 4 (IAM User Guide, "Create a signed AWS API request"), as far as a request without query needs
//! it.

use std::fmt::Write;
use std::time::SystemTime;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::credentials::Credentials;
use crate::{Digest, Error};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A request to sign.
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    /// It begins with `/`.
    pub(super) path: &'a str,
    /// Those that are signed, `host` and `x-amz-date` among them: names in lower case and in order.
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: &'a [u8],
}

/// What a signature is good for.
pub(super) struct Scope<'a> {
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    /// `x-amz-date`.
    pub(super) time: &'a str,
}

/// `now` as `x-amz-date` has it: `20150830T123600Z`.
pub(super) fn timestamp(now: SystemTime) -> Result<String, Error> {
    let now = Timestamp::try_from(now).map_err(|_| Error::SigningFailed)?;
    // RFC 3339 is the longer form of the same.
    Ok(format!("{now:.0}").replace(['-', ':'], ""))
}

/// The header `authorization` of `request`.
pub(super) fn authorization(
    request: &Request<'_>,
    scope: &Scope<'_>,
    credentials: &Credentials,
) -> String {
    let names: Vec<_> = request.headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let day = scope.time.split('T').next().unwrap_or_default();
    let (region, service) = (scope.region, scope.service);
    let within = format!("{day}/{region}/{service}/aws4_request");
    let canonical = Digest::of(canonical(request, &names).as_bytes());
    let message = format!("{ALGORITHM}\n{}\n{within}\n{canonical}", scope.time);

    let start = Zeroizing::new(format!("AWS4{}", *credentials.secret).into_bytes());
    let key = [day, region, service, "aws4_request"]
        .iter()
        .fold(start, |key, text| mac(&key, text));
    let mut signature = String::new();
    for byte in mac(&key, &message).iter() {
        // Writing to a text does not fail.
        let _ = write!(signature, "{byte:02x}");
    }
    let id = &credentials.id;
    format!("{ALGORITHM} Credential={id}/{within}, SignedHeaders={names}, Signature={signature}")
}

fn canonical(request: &Request<'_>, names: &str) -> Zeroizing<String> {
    let mut headers = Zeroizing::new(String::new());
    for (name, value) in request.headers {
        for part in [name, ":", value.trim(), "\n"] {
            headers.push_str(part);
        }
    }
    let body = Digest::of(request.body);
    let (method, path) = (request.method, request.path);
    Zeroizing::new(format!("{method}\n{path}\n\n{}\n{names}\n{body}", *headers))
}

/// HMAC-SHA-256 (RFC 2104).
fn mac(key: &[u8], text: &str) -> Zeroizing<Vec<u8>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let tag = hmac::sign(&key, text.as_bytes());
    Zeroizing::new(tag.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIME: &str = "20150830T123600Z";
    const HOST: (&str, &str) = ("host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("x-amz-date", TIME);

    /// A case of AWS's Signature Version 4 test suite.
    fn signed(method: &str, headers: &[(&str, &str)], body: &str) -> String {
        let request = Request {
            method,
            path: "/",
            headers,
            body: body.as_bytes(),
        };
        let scope = Scope {
            region: "us-east-1",
            service: "service",
            time: TIME,
        };
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let credentials = Credentials {
            id: "AKIDEXAMPLE".to_owned(),
            secret: Zeroizing::new(secret.to_owned()),
            session: None,
        };
        authorization(&request, &scope, &credentials)
    }

    fn expected(names: &str, signature: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
             SignedHeaders={names}, Signature={signature}"
        )
    }

    #[test]
    fn get_vanilla() {
        let signature = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
        assert_eq!(
            signed("GET", &[HOST, DATE], ""),
            expected("host;x-amz-date", signature)
        );
    }

    #[test]
    fn post_x_www_form_urlencoded() {
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a";
        assert_eq!(
            signed("POST", &[kind, HOST, DATE], "Param1=value1"),
            expected("content-type;host;x-amz-date", signature)
        );
    }

    #[test]
    fn post_sts_header_before() {
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let signature = "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead";
        assert_eq!(
            signed("POST", &[HOST, DATE, ("x-amz-security-token", token)], ""),
            expected("host;x-amz-date;x-amz-security-token", signature)
        );
    }

    #[test]
    fn the_time_is_utc_to_the_second() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_440_938_160_900);
        assert_eq!(timestamp(time).unwrap(), TIME);
    }
}
