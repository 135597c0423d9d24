//! A person logs in: the authorization code flow (RFC 6749 section 4.1) of a native application (RFC 8252) with PKCE
//! (RFC 7636) and a nonce (`OpenID` Connect Core section 3.1). Only for a person at a terminal, who is asked through
//! [`Prompt`]: nothing here prints, reads or opens a browser.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::callback::Callback;
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::services::{Connection, Http, is_loopback};
use crate::{Deadline, Error, json, random};

/// The client that the public instance knows, which has no secret.
const CLIENT: &str = "sigstore";
const SCOPE: &str = "openid email";
/// The page shows the code, and the person carries it over.
const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
/// For a person, who may have to look for a second factor.
const LIMIT: Duration = Duration::from_secs(300);
/// For one request, retries and all.
const REQUEST: Duration = Duration::from_secs(30);

/// How a person is asked to log in.
pub trait Prompt: Send + Sync {
    /// Shows `url`, and opens it where there is a browser. Returns before the person has logged in.
    fn open(&self, url: &str);

    /// Shows `url`, and reads the code that its page gives to the person.
    ///
    /// # Errors
    /// [`Error::Token`], [`Error::Io`]. Never with the code in it.
    fn code(&self, url: &str) -> Result<Zeroizing<String>, Error>;
}

/// Tokens from a person who logs in, anew for every token. Has no `Debug`: it may hold a secret.
pub struct Login {
    issuer: String,
    client_id: String,
    client_secret: Option<Zeroizing<String>>,
    out_of_band: bool,
    limit: Duration,
    connection: Connection,
    prompt: Box<dyn Prompt>,
}

/// What the issuer says of itself (`OpenID` Connect Discovery section 3).
#[derive(Deserialize)]
struct Provider {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
}

/// What a code is exchanged for (`OpenID` Connect Core section 3.1.3.3), or why not (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Redeemed {
    id_token: Option<Zeroizing<String>>,
    error: Option<String>,
}

/// What binds the answers to this one login.
struct Secrets {
    state: Zeroizing<String>,
    nonce: Zeroizing<String>,
    verifier: Zeroizing<String>,
}

impl Secrets {
    fn new() -> Result<Self, Error> {
        let secret = || -> Result<_, Error> {
            let bytes = Zeroizing::new(random::<32>()?);
            Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice())))
        };
        Ok(Self {
            state: secret()?,
            nonce: secret()?,
            verifier: secret()?,
        })
    }
}

impl Login {
    /// Logs in at `issuer`, an https URL, as the client of the public instance.
    #[must_use]
    pub fn new(issuer: String, connection: Connection, prompt: Box<dyn Prompt>) -> Self {
        Self {
            issuer,
            client_id: CLIENT.to_owned(),
            client_secret: None,
            out_of_band: false,
            limit: LIMIT,
            connection,
            prompt,
        }
    }

    /// As another client, which may have a secret.
    #[must_use]
    pub fn with_client(mut self, id: String, secret: Option<Zeroizing<String>>) -> Self {
        self.client_id = id;
        self.client_secret = secret;
        self
    }

    /// For a machine whose ports no browser reaches: the person carries the code over.
    #[must_use]
    pub fn out_of_band(mut self) -> Self {
        self.out_of_band = true;
        self
    }

    /// Waits so long for the person instead of five minutes.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    fn http(&self) -> Http<'_> {
        self.connection
            .to("the login service", Deadline::within(REQUEST))
    }

    fn provider(&self) -> Result<Provider, Error> {
        let http = self.http();
        let issuer = self.issuer.trim_end_matches('/');
        let answer = http.get(&format!("{issuer}/.well-known/openid-configuration"))?;
        let provider: Provider = json::parse(&answer.body)
            .map_err(|error| http.misbehaved(format!("its configuration is none: {error}")))?;
        // OpenID Connect Discovery section 4.3: or another issuer's answer could be passed off as this one's.
        if provider.issuer != self.issuer {
            return Err(http.misbehaved(format!("it calls itself {:?}", provider.issuer)));
        }
        // Shown in a terminal and handed to a browser. The token endpoint is looked at when it is asked.
        let page = &provider.authorization_endpoint;
        let schemed =
            page.starts_with("https://") || page.starts_with("http://") && is_loopback(page);
        if !schemed || page.contains('#') || !page.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(http.misbehaved(format!("its login page is at {page:?}")));
        }
        Ok(provider)
    }

    /// Where the person logs in (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
    fn page(&self, provider: &Provider, secrets: &Secrets, redirect_uri: &str) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(secrets.verifier.as_bytes()));
        let page = &provider.authorization_endpoint;
        let separator = if page.contains('?') { '&' } else { '?' };
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("scope", SCOPE)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("state", &secrets.state)
            .append_pair("nonce", &secrets.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        format!("{page}{separator}{query}")
    }

    /// Asks the person: the code, and the address that it was given to.
    fn authorize(
        &self,
        provider: &Provider,
        secrets: &Secrets,
    ) -> Result<(Zeroizing<String>, String), Error> {
        if self.out_of_band {
            let code = self
                .prompt
                .code(&self.page(provider, secrets, OUT_OF_BAND))?;
            let code = Zeroizing::new(code.trim().to_owned());
            if code.is_empty() {
                return Err(failed("no code was given"));
            }
            return Ok((code, OUT_OF_BAND.to_owned()));
        }
        let callback = Callback::listen()?;
        let redirect_uri = callback.redirect_uri();
        self.prompt
            .open(&self.page(provider, secrets, &redirect_uri));
        Ok((callback.wait(&secrets.state, self.limit)?, redirect_uri))
    }

    /// The token for `code` (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    fn redeem(
        &self,
        provider: &Provider,
        secrets: &Secrets,
        code: &str,
        redirect_uri: &str,
    ) -> Result<IdentityToken, Error> {
        let http = self.http();
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "authorization_code")
            .append_pair("code", code)
            .append_pair("redirect_uri", redirect_uri)
            .append_pair("client_id", &self.client_id)
            .append_pair("code_verifier", &secrets.verifier);
        if let Some(secret) = &self.client_secret {
            form.append_pair("client_secret", secret);
        }
        let form = Zeroizing::new(form.finish());
        let kind = "application/x-www-form-urlencoded";
        let answer = http.post(
            &provider.token_endpoint,
            kind,
            form.as_bytes(),
            &[200, 400, 401],
        );
        let answer = answer.map_err(wordless)?;
        // The parser's message could quote a token.
        let redeemed: Redeemed = json::parse(&answer.body)
            .map_err(|_| http.misbehaved("its answer to the code is not the JSON it should be"))?;
        match redeemed.id_token.filter(|_| answer.status == 200) {
            Some(text) => IdentityToken::parse(&text),
            None if answer.status == 200 => {
                Err(http.misbehaved("its answer holds no identity token"))
            }
            None => Err(refused(redeemed.error.as_deref().unwrap_or_default())),
        }
    }
}

impl TokenSource for Login {
    fn name(&self) -> &'static str {
        "login"
    }

    fn detect(&self, _: &Surroundings) -> Detection {
        Detection::Here("a person is asked".to_owned())
    }

    fn asks_a_person(&self) -> bool {
        true
    }

    /// Takes as long as the person does.
    fn fetch(&self, _: &Surroundings, _: &str, _: Deadline) -> Result<IdentityToken, Error> {
        let provider = self.provider()?;
        let secrets = Secrets::new()?;
        let (code, redirect_uri) = self.authorize(&provider, &secrets)?;
        let token = self.redeem(&provider, &secrets, &code, &redirect_uri)?;
        // OpenID Connect Core section 3.1.3.7; audience and time are checked for every token, the signature by Fulcio.
        if token.issuer() != self.issuer {
            return Err(failed(format!("its issuer is {:?}", token.issuer())));
        }
        if token.nonce() != Some(secrets.nonce.as_str()) {
            return Err(failed("it was made for another login"));
        }
        Ok(token)
    }
}

pub(super) fn failed(reason: impl Into<String>) -> Error {
    Error::Token {
        reason: reason.into(),
    }
}

/// The issuer said no. Only the word of the standard is repeated: the description beside it is anybody's text.
pub(super) fn refused(error: &str) -> Error {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if error.is_empty() || error.len() > 64 || !error.bytes().all(word) {
        return failed("the issuer refused the login without a reason");
    }
    failed(format!("the issuer refused the login: {error}"))
}

/// A token endpoint's text could repeat what was sent.
fn wordless(error: Error) -> Error {
    match error {
        Error::Service {
            service,
            url,
            status: Some(status),
            ..
        } => Error::Service {
            service,
            url,
            status: Some(status),
            reason: "it gave no token".to_owned(),
        },
        other => other,
    }
}
