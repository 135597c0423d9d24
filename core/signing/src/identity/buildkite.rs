//! Buildkite: the agent's API mints a token for any audience; where its address is not in the container, the agent does.

use serde_json::json;

use super::command::{on_path, run};
use super::sources::{token_at, token_in};
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

const SECRET: &str = "BUILDKITE_AGENT_ACCESS_TOKEN";
const ENDPOINT: &str = "https://agent.buildkite.com/v3";
const AGENT: &str = "buildkite-agent";

pub(super) struct Buildkite;

impl TokenSource for Buildkite {
    fn name(&self) -> &'static str {
        "buildkite"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        match Detection::by_variable(here, "BUILDKITE_JOB_ID") {
            Detection::Here(_)
                if here.environment.get(SECRET).is_none() && on_path(here, AGENT).is_none() =>
            {
                Detection::NotHere(format!(
                    "neither {SECRET} nor {AGENT} is in this container: propagate the environment, or mount the agent"
                ))
            }
            other => other,
        }
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let agent = on_path(here, AGENT);
        let first = match agent {
            // So that there is time for the agent.
            Some(_) => deadline.sooner(deadline.left() / 2),
            None => deadline,
        };
        let answered = api(here, audience, first);
        match agent {
            Some(agent) if answered.is_err() => {
                let words = ["oidc", "request-token", "--audience", audience].map(Into::into);
                let words = [&[agent.into_os_string()], &words[..]].concat();
                token_in(&run(&words, here, audience, deadline)?, None)
            }
            _ => answered,
        }
    }
}

fn api(here: &Surroundings, audience: &str, deadline: Deadline) -> Result<IdentityToken, Error> {
    let secret = here.variable(SECRET)?;
    let job = here.variable("BUILDKITE_JOB_ID")?;
    if !job.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-') {
        return Err(Error::Token {
            reason: "BUILDKITE_JOB_ID is no UUID".to_owned(),
        });
    }
    let endpoint = here.environment.text("BUILDKITE_AGENT_ENDPOINT");
    let endpoint = endpoint.unwrap_or(ENDPOINT).trim_end_matches('/');
    let http = here.connection.to("Buildkite", deadline);
    let http = http.with_header("authorization", format!("Token {secret}"));
    let body = json!({"audience": audience}).to_string();
    let url = format!("{endpoint}/jobs/{job}/oidc/tokens");
    let answer = http.post(&url, "application/json", body.as_bytes(), &[200, 201])?;
    token_at(&answer, "/token")
}
