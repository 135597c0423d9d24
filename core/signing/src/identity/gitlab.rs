//! GitLab CI: a job has a token for each audience that its `id_tokens` declare, in a variable that it names itself.

use std::time::SystemTime;

use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

pub(super) struct GitLab;

impl TokenSource for GitLab {
    fn name(&self) -> &'static str {
        "gitlab"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        match here.environment.text("GITLAB_CI") {
            Some("true") => Detection::Here("GITLAB_CI is true".to_owned()),
            _ => Detection::NotHere("GITLAB_CI is not true".to_owned()),
        }
    }

    fn ends(&self, here: &Surroundings, audience: &str) -> Option<SystemTime> {
        token(here, audience).ok()?.ends()
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        _: Deadline,
    ) -> Result<IdentityToken, Error> {
        token(here, audience)
    }
}

fn token(here: &Surroundings, audience: &str) -> Result<IdentityToken, Error> {
    let variable = variable(audience);
    let token = here.environment.text(&variable).ok_or_else(|| Error::Token {
        reason: format!(
            "{variable} is not set: declare `id_tokens: {{{variable}: {{aud: {audience}}}}}` in the job"
        ),
    })?;
    IdentityToken::parse(token)
}

/// The variable that Sigstore's tools agree on: `SIGSTORE_ID_TOKEN` for `sigstore`.
fn variable(audience: &str) -> String {
    let upper = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    audience.chars().map(upper).collect::<String>() + "_ID_TOKEN"
}

#[cfg(test)]
mod tests {
    use super::variable;

    #[test]
    fn the_variable_is_the_audience_s() {
        assert_eq!(variable("sigstore"), "SIGSTORE_ID_TOKEN");
        assert_eq!(
            variable("https://a-b.example"),
            "HTTPS___A_B_EXAMPLE_ID_TOKEN"
        );
    }
}
