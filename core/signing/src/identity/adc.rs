//! Google's Application Default Credentials: access tokens of the account that this job has.

use std::path::Path;
use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::Surroundings;
use super::gcp::ask_metadata;
use super::sources::form;
use crate::reading::read_capped;
use crate::services::Answer;
use crate::{Deadline, Error, json};

/// The file with an account's key. Where it is not set, the metadata server knows the account.
pub(super) const CREDENTIALS: &str = "GOOGLE_APPLICATION_CREDENTIALS";
/// The address of the token endpoint where it is not the public one, as gcloud reads it.
const ENDPOINT: &str = "CLOUDSDK_AUTH_TOKEN_HOST";
const PUBLIC: &str = "https://oauth2.googleapis.com/token";
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const FORM: &str = "application/x-www-form-urlencoded";
/// In seconds. An assertion is used at once.
const LIFETIME: u64 = 300;

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum KeyFile {
    AuthorizedUser {
        client_id: String,
        client_secret: Zeroizing<String>,
        refresh_token: Zeroizing<String>,
    },
    ServiceAccount {
        client_email: String,
        private_key: Zeroizing<String>,
        private_key_id: Option<String>,
        token_uri: Option<String>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Access {
    access_token: Zeroizing<String>,
}

/// An access token for Google's APIs.
pub(super) fn access_token(
    here: &Surroundings,
    deadline: Deadline,
) -> Result<Zeroizing<String>, Error> {
    let answer = match here.environment.get(CREDENTIALS) {
        Some(path) => exchange(here, path.as_ref(), deadline)?,
        None => ask_metadata(here, "token", deadline)?,
    };
    // The parser's message could quote the token.
    let access: Result<Access, _> = json::parse(&answer.body);
    access
        .map(|access| access.access_token)
        .map_err(|_| Error::Token {
            reason: "Google's answer has no access_token".to_owned(),
        })
}

/// Exchanges what is in the file at `path` for an access token (RFC 6749 section 6, RFC 7523 section 2.1).
fn exchange(here: &Surroundings, path: &Path, deadline: Deadline) -> Result<Answer, Error> {
    let endpoint = here.environment.text(ENDPOINT).unwrap_or(PUBLIC);
    let wrong = |reason: &str| {
        Error::at(path)(Error::Token {
            reason: reason.to_owned(),
        })
    };
    let bytes = Zeroizing::new(read_capped(path, "credentials file", 64 << 10)?);
    // The parser's message could quote a key.
    let file = json::parse(&bytes).map_err(|_| wrong("it is no credentials file of Google"))?;
    let (endpoint, body) = match file {
        KeyFile::AuthorizedUser {
            client_id,
            client_secret,
            refresh_token,
        } => {
            let body = form(&[
                ("grant_type", "refresh_token"),
                ("client_id", &client_id),
                ("client_secret", &client_secret),
                ("refresh_token", &refresh_token),
            ]);
            (endpoint.to_owned(), body)
        }
        KeyFile::ServiceAccount {
            client_email,
            private_key,
            private_key_id,
            token_uri,
        } => {
            let endpoint = token_uri.unwrap_or_else(|| endpoint.to_owned());
            let now = here.connection.now();
            let now = now.duration_since(SystemTime::UNIX_EPOCH);
            let now = now.map_err(|_| Error::SigningFailed)?.as_secs();
            let header = json!({"alg": "RS256", "typ": "JWT", "kid": private_key_id});
            let claims = json!({"iss": client_email, "scope": SCOPE, "aud": endpoint,
                "iat": now, "exp": now.saturating_add(LIFETIME)});
            let key = key(&private_key).ok_or_else(|| wrong("its private_key is no RSA key"))?;
            let assertion = signed(&key, &header.to_string(), &claims.to_string())?;
            let body = form(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", &assertion),
            ]);
            (endpoint, body)
        }
        KeyFile::Other => {
            return Err(wrong(
                "its type is neither authorized_user nor service_account",
            ));
        }
    };
    let http = here.connection.to("Google's token endpoint", deadline);
    http.post(&endpoint, FORM, body.as_bytes(), &[200])
}

fn key(pem: &str) -> Option<KeyPair> {
    let block = pem::parse(pem).ok()?;
    let der = Zeroizing::new(block.into_contents());
    KeyPair::from_pkcs8(&der).ok()
}

/// A JWT by RS256 (RFC 7518 section 3.3).
fn signed(key: &KeyPair, header: &str, claims: &str) -> Result<Zeroizing<String>, Error> {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(
        &RSA_PKCS1_SHA256,
        &SystemRandom::new(),
        message.as_bytes(),
        &mut signature,
    )
    .map_err(|_| Error::SigningFailed)?;
    let signature = URL_SAFE_NO_PAD.encode(signature);
    Ok(Zeroizing::new(format!("{message}.{signature}")))
}
