//! GitHub Actions: the runner mints a token for any audience, as often as it is asked, where the workflow has the
//! permission `id-token: write`.

use super::sources::{token_at, with_query};
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

const URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const SECRET: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";

pub(super) struct GitHub;

impl TokenSource for GitHub {
    fn name(&self) -> &'static str {
        "github"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        match Detection::by_variable(here, "GITHUB_ACTIONS") {
            Detection::Here(_) if here.environment.text(URL).is_none() => Detection::NotHere(
                format!("{URL} is not set: give the workflow `permissions: id-token: write`"),
            ),
            other => other,
        }
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let url = here.variable(URL)?;
        let secret = here.variable(SECRET)?;
        let http = here.connection.to("GitHub's runner", deadline);
        let http = http.with_header("authorization", format!("bearer {secret}"));
        let answer = http.get(&with_query(url, "audience", audience))?;
        token_at(&answer, "/value")
    }
}
