//! Whose name a keyless signature carries: an [`IdentityToken`], and where it comes from, one file a source.

mod adc;
mod aws;
mod azure;
mod buildkite;
mod callback;
mod circleci;
mod command;
mod credentials;
mod exchange;
mod file;
mod gcp;
mod github;
mod gitlab;
mod guard;
mod impersonation;
mod issuer;
mod kubernetes;
mod literal;
mod login;
mod request;
mod sources;
mod spiffe;
mod vault;

pub use command::TokenCommand;
pub use credentials::Credentials;
pub use exchange::{SubjectType, TokenExchange};
pub use file::TokenFile;
pub use guard::Guard;
pub(crate) use issuer::{Issuer, known};
pub use literal::TokenText;
pub use login::{Login, Prompt};
pub use request::TokenRequest;
pub use sources::{Detection, Sources, Surroundings, TokenSource};

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{Error, json};

/// More than any token has.
const MAX_BYTES: usize = 64 << 10;
/// A token that ends sooner may end on its way.
const MARGIN: Duration = Duration::from_secs(30);

/// An OIDC identity token (RFC 7519). Its signature is Fulcio's to check. Has no `Debug`, and is wiped when dropped.
pub struct IdentityToken {
    text: Zeroizing<String>,
    claims: Claims,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(default)]
    aud: Value,
    exp: u64,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl IdentityToken {
    /// Reads the claims of a JWT in compact form; white space around it does not count.
    ///
    /// # Errors
    /// [`Error::Token`] where it is not one.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let wrong = |reason| Error::Token { reason };
        if text.is_empty() {
            return Err(wrong("it is empty".to_owned()));
        }
        if text.len() > MAX_BYTES {
            return Err(wrong(format!("it is longer than {MAX_BYTES} bytes")));
        }
        let mut parts = text.splitn(4, '.');
        let (Some(_), Some(claims), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong("it has not the three parts of a JWT".to_owned()));
        };
        let claims = URL_SAFE_NO_PAD.decode(claims).map(Zeroizing::new);
        let claims = claims.map_err(|_| wrong("its claims are not base64url".to_owned()))?;
        // The parser's message could quote the token.
        let claims = json::parse(&claims)
            .map_err(|_| wrong("its claims are not JSON with iss, sub and exp".to_owned()))?;
        Ok(Self {
            text: Zeroizing::new(text.to_owned()),
            claims,
        })
    }

    /// Whether it may be sent to a service that expects `audience`, and lives long enough after `now`.
    ///
    /// # Errors
    /// [`Error::Token`] that says what does not fit.
    pub fn check(&self, audience: &str, now: SystemTime) -> Result<(), Error> {
        let fits = match &self.claims.aud {
            Value::String(one) => one == audience,
            Value::Array(several) => several.iter().any(|one| one == audience),
            _ => false,
        };
        if !fits {
            return Err(Error::Token {
                reason: format!("its audience is {}, not {audience:?}", self.claims.aud),
            });
        }
        let left = self.ends().and_then(|ends| ends.duration_since(now).ok());
        if left.is_none_or(|left| left <= MARGIN) {
            return Err(Error::Token {
                reason: format!("it has expired, or does in {} s or less", MARGIN.as_secs()),
            });
        }
        Ok(())
    }

    /// When it ends. A claim.
    #[must_use]
    pub fn ends(&self) -> Option<SystemTime> {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.claims.exp))
    }

    /// Who issued it, a URL. A claim.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.claims.iss
    }

    /// Whom it names to its issuer. A claim.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.claims.sub
    }

    /// What the login that it was made for asked for. A claim.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.claim("nonce")?.as_str()
    }

    /// Another claim.
    pub(crate) fn claim(&self, name: &str) -> Option<&Value> {
        self.claims.others.get(name)
    }

    /// The mail address that it names, where its issuer says one. A claim.
    pub(crate) fn email(&self) -> Option<&str> {
        self.claim("email")?.as_str()
    }

    /// The token itself, for the one service that it is sent to.
    pub(crate) fn expose(&self) -> &str {
        &self.text
    }
}

/// No token, in the shape of one: for tests and for lines about tokens.
impl fmt::Display for IdentityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token of {:?} by {:?}", self.subject(), self.issuer())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> Result<IdentityToken, Error> {
        IdentityToken::parse(&format!("e30.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims)))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn why(result: Result<(), Error>) -> String {
        result.expect_err("accepted").to_string()
    }

    #[test]
    fn the_audience_is_a_text_or_a_list() {
        for aud in [r#""sigstore""#, r#"["other","sigstore"]"#] {
            let token = token(&format!(
                r#"{{"iss":"i","sub":"s","exp":1000,"aud":{aud}}}"#
            ))
            .unwrap();
            token.check("sigstore", at(900)).unwrap();
            assert!(why(token.check("other.example", at(900))).contains("audience"));
        }
        let token = token(r#"{"iss":"i","sub":"s","exp":1000}"#).unwrap();
        assert!(why(token.check("sigstore", at(900))).contains("audience"));
    }

    #[test]
    fn a_token_at_its_end_is_not_sent() {
        let token = token(r#"{"iss":"i","sub":"s","exp":1000,"aud":"sigstore"}"#).unwrap();
        token.check("sigstore", at(969)).unwrap();
        for late in [970, 1000, 2000] {
            assert!(why(token.check("sigstore", at(late))).contains("expired"));
        }
    }

    #[test]
    fn what_is_no_token_is_not_quoted() {
        let dots = ".".repeat(1_000_000);
        let secret = format!("e30.{}.s", URL_SAFE_NO_PAD.encode(r#"{"secret":1}"#));
        for text in ["", "a.b", "a.b.c.d", "a.!.c", &dots, &secret] {
            let error = IdentityToken::parse(text)
                .err()
                .expect("accepted")
                .to_string();
            assert!(!error.contains("secret") && error.len() < 100, "{error}");
        }
    }
}
