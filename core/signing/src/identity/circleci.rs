//! `CircleCI`: its command line tool mints a token for any audience. The tokens in the environment are for the audience of
//! the organisation and are never used.

use serde_json::json;

use super::command::{on_path, run};
use super::sources::token_in;
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

const TOOL: &str = "circleci";

pub(super) struct CircleCi;

impl TokenSource for CircleCi {
    fn name(&self) -> &'static str {
        "circleci"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        if here.environment.text("CIRCLECI") != Some("true") {
            return Detection::NotHere("CIRCLECI is not true".to_owned());
        }
        match on_path(here, TOOL) {
            Some(tool) => Detection::Here(format!("{tool:?} is there")),
            None => Detection::NotHere(format!("{TOOL} is not on the PATH of this container")),
        }
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let tool = on_path(here, TOOL).unwrap_or_else(|| TOOL.into());
        let claims = json!({"aud": audience}).to_string();
        let words = ["run", "oidc", "get", "--root-issuer", "--claims", &claims].map(Into::into);
        let words = [&[tool.into_os_string()], &words[..]].concat();
        token_in(&run(&words, here, audience, deadline)?, None)
    }
}
