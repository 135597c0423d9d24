//! Fulcio, which turns a token into a certificate for a key (`POST /api/v2/signingCert`).

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Http;
use crate::identity::Issuer;
use crate::verifier::pem_block;
use crate::{Error, IdentityToken};

/// Hundreds of issuers, in bytes.
const MAX_CONFIGURATION: u64 = 1 << 20;

/// Borrowed, so that there is no other copy of the token.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    credentials: Credentials<'a>,
    certificate_signing_request: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Credentials<'a> {
    oidc_identity_token: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    signed_certificate_embedded_sct: Option<Chained>,
}

#[derive(Deserialize)]
struct Chained {
    chain: Chain,
}

#[derive(Deserialize)]
struct Chain {
    certificates: Vec<String>,
}

#[derive(Deserialize)]
struct Configuration {
    issuers: Vec<Issuer>,
}

/// The issuers whose tokens the authority at `url` takes; nothing where it does not tell.
pub(crate) fn configured_issuers(http: &Http<'_>, url: &str) -> Result<Option<Vec<Issuer>>, Error> {
    let url = format!("{}/api/v2/configuration", url.trim_end_matches('/'));
    let Some(answer) = http.find(&url, MAX_CONFIGURATION)? else {
        return Ok(None);
    };
    let configuration: Configuration = serde_json::from_slice(&answer)
        .map_err(|error| http.misbehaved(format!("its configuration is none: {error}")))?;
    Ok(Some(configuration.issuers))
}

/// The DER certificate that the authority at `url` gives for `request`, a PEM certificate request (RFC 2986), to whom
/// `token` names. The request's signature proves possession of the key; guessing which claim is the identity is
/// Fulcio's job.
pub(crate) fn request_certificate(
    http: &Http<'_>,
    url: &str,
    token: &IdentityToken,
    request: &str,
) -> Result<Vec<u8>, Error> {
    let body = serde_json::to_vec(&Request {
        credentials: Credentials {
            oidc_identity_token: token.expose(),
        },
        certificate_signing_request: base64_of(request),
    });
    let body = Zeroizing::new(body.map_err(|_| Error::SigningFailed)?);
    let url = format!("{}/api/v2/signingCert", url.trim_end_matches('/'));
    let answer = http.post(&url, "application/json", &body, &[200, 201])?;
    let answer: Answer = serde_json::from_slice(&answer.body)
        .map_err(|error| http.misbehaved(format!("its answer is no certificate: {error}")))?;
    let chained = answer
        .signed_certificate_embedded_sct
        .ok_or_else(|| http.misbehaved("its certificate has no embedded SCT"))?;
    let leaf = chained.chain.certificates.first();
    let leaf = leaf.ok_or_else(|| http.misbehaved("its answer holds no certificate"))?;
    let block = pem_block(leaf.as_bytes(), "certificate", &["CERTIFICATE"])
        .map_err(|error| http.misbehaved(error.to_string()))?;
    Ok(block.into_contents())
}

fn base64_of(text: &str) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
}
