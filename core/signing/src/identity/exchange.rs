//! An identity provider of one's own that gives a token for another one (OAuth 2.0 Token Exchange, RFC 8693): Fulcio then
//! needs to know one issuer, whatever the jobs have. Dex and Keycloak do it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::login::refused;
use super::{Detection, IdentityToken, Sources, Surroundings, TokenSource};
use crate::{Deadline, Error, json};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// What the token to exchange is called (RFC 8693 section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubjectType {
    /// An access token of the provider itself: all that Keycloak's standard token exchange takes.
    AccessToken,
    /// An ID token, of whatever issuer the provider knows, as Dex takes it.
    #[default]
    IdToken,
    /// A JWT of any other kind.
    Jwt,
}

impl SubjectType {
    fn urn(self) -> &'static str {
        match self {
            Self::AccessToken => ACCESS_TOKEN,
            Self::IdToken => ID_TOKEN,
            Self::Jwt => JWT,
        }
    }
}

/// Exchanges what other sources find. Has no `Debug`: it may hold a secret.
pub struct TokenExchange {
    /// The provider's token endpoint.
    pub url: String,
    /// As whom this asks.
    pub client_id: Option<String>,
    /// The client's secret, where it has one.
    pub client_secret: Option<Zeroizing<String>>,
    /// Dex's connector that judges the token.
    pub connector: Option<String>,
    /// What the token to exchange is called.
    pub subject_type: SubjectType,
    /// The audience of the token to exchange. The issued one is for Fulcio.
    pub subject_audience: String,
    /// Where the token to exchange comes from.
    pub subject: Sources,
}

/// RFC 8693 section 2.2.1, with the ID token apart as Dex has it; RFC 6749 section 5.2.
#[derive(Deserialize)]
struct Answer {
    access_token: Option<Zeroizing<String>>,
    id_token: Option<Zeroizing<String>>,
    issued_token_type: Option<String>,
    error: Option<String>,
}

impl TokenSource for TokenExchange {
    fn name(&self) -> &'static str {
        "exchange"
    }

    fn detect(&self, _: &Surroundings) -> Detection {
        let mut found = self.subject.detect().into_iter();
        match found.find(|(_, detection)| detection.is_here()) {
            Some((name, _)) => Detection::Here(format!("{name} has a token to exchange")),
            None => Detection::NotHere("there is no token to exchange".to_owned()),
        }
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let subject = self.subject.fetch(&self.subject_audience, deadline)?;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", GRANT)
            .append_pair("subject_token", subject.expose())
            .append_pair("subject_token_type", self.subject_type.urn())
            .append_pair("requested_token_type", ID_TOKEN)
            .append_pair("audience", audience)
            .append_pair("scope", "openid email");
        if let Some(connector) = &self.connector {
            form.append_pair("connector_id", connector);
        }
        let mut http = here.connection.to("the token exchange", deadline);
        match (&self.client_id, &self.client_secret) {
            (Some(id), Some(secret)) => http = http.with_header("authorization", basic(id, secret)),
            (Some(id), None) => {
                form.append_pair("client_id", id);
            }
            (None, _) => {}
        }
        let form = Zeroizing::new(form.finish());
        let content_type = "application/x-www-form-urlencoded";
        let answer = http.post(&self.url, content_type, form.as_bytes(), &[200, 400, 401])?;
        // The parser's message could quote a token.
        let answer: Answer = json::parse(&answer.body)
            .map_err(|_| http.misbehaved("its answer is not that of a token endpoint"))?;
        // Some call every token that they issue an access token, and say in its type what it is.
        let issued = match answer.issued_token_type.as_deref() {
            None | Some(ID_TOKEN | JWT) => answer.access_token,
            Some(_) => None,
        };
        match answer.id_token.or(issued) {
            Some(token) if answer.error.is_none() => IdentityToken::parse(&token),
            _ => Err(refused(answer.error.as_deref().unwrap_or_default())),
        }
    }
}

/// RFC 6749 section 2.3.1: both are form-encoded before they are joined.
fn basic(id: &str, secret: &str) -> String {
    let encoded = |text: &str| -> String { byte_serialize(text.as_bytes()).collect() };
    let both = Zeroizing::new(format!("{}:{}", encoded(id), encoded(secret)));
    format!("Basic {}", STANDARD.encode(both.as_bytes()))
}
