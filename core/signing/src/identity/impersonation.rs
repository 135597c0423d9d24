//! Google Cloud, as another service account: the account that this job has asks for tokens of the one that
//! `GOOGLE_SERVICE_ACCOUNT_NAME` names (IAM Service Account Credentials API, `generateIdToken`).

use serde_json::json;

use super::adc::{self, CREDENTIALS};
use super::gcp::{ACCOUNT, detect_metadata};
use super::sources::token_at;
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

/// The address of the API where it is not the public one, as gcloud reads it.
const ENDPOINT: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS";
const PUBLIC: &str = "https://iamcredentials.googleapis.com/";

pub(super) struct Impersonation;

impl TokenSource for Impersonation {
    fn name(&self) -> &'static str {
        "gcp-impersonation"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        let asked = Detection::by_variable(here, ACCOUNT);
        if !asked.is_here() || here.environment.get(CREDENTIALS).is_some() {
            return asked;
        }
        match detect_metadata(here) {
            Detection::Here(reason) => Detection::Here(format!("{ACCOUNT} is set, and {reason}")),
            Detection::NotHere(reason) => Detection::NotHere(format!(
                "{ACCOUNT} is set, but no account of this job: {CREDENTIALS} is not set, and {reason}"
            )),
        }
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let account = here.variable(ACCOUNT)?;
        if !is_address(account) {
            return Err(Error::Token {
                reason: format!("{ACCOUNT} is {account:?}, not the mail address of an account"),
            });
        }
        let own = adc::access_token(here, deadline)?;
        let endpoint = here.environment.text(ENDPOINT).unwrap_or(PUBLIC);
        let endpoint = endpoint.trim_end_matches('/');
        let url = format!("{endpoint}/v1/projects/-/serviceAccounts/{account}:generateIdToken");
        let body = json!({"audience": audience, "includeEmail": true}).to_string();
        let http = here.connection.to("Google's IAM Credentials API", deadline);
        let http = http.with_header("authorization", format!("Bearer {}", *own));
        let answer = http.post(&url, "application/json", body.as_bytes(), &[200]);
        token_at(
            &answer.map_err(|error| explained(error, account))?,
            "/token",
        )
    }
}

fn explained(error: Error, account: &str) -> Error {
    match error {
        Error::Service {
            status: Some(403),
            reason,
            ..
        } => Error::Token {
            reason: format!(
                "Google refused it; the account of this job needs \
                 roles/iam.serviceAccountOpenIdTokenCreator on {account}: {reason}"
            ),
        },
        other => other,
    }
}

/// Whether `text` looks like a mail address, and fits into a path.
fn is_address(text: &str) -> bool {
    let fits = |part: &str| {
        let mut bytes = part.bytes();
        !part.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    text.split_once('@')
        .is_some_and(|(name, domain)| fits(name) && fits(domain) && domain.contains('.'))
}

#[cfg(test)]
mod tests {
    use super::is_address;

    #[test]
    fn only_an_address_goes_into_a_path() {
        for good in [
            "trainer@proj.iam.gserviceaccount.com",
            "1-compute@developer.gserviceaccount.com",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "",
            "trainer",
            "@proj.example",
            "trainer@",
            "trainer@proj",
            "../x@proj.example",
            "a@b.example:signBlob?x=",
            "a@b@c.example",
            "a b@c.example",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
