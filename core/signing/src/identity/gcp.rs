//! Google Cloud: the metadata server of a machine, a pod or a Cloud Run job makes tokens of its service account, for
//! any audience (Compute Engine, "Verify the identity of instances").

use super::sources::with_query;
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::services::Answer;
use crate::{Deadline, Error};

/// Whose tokens are wanted, where it is not the machine's own account. The variable that cosign reads.
pub(super) const ACCOUNT: &str = "GOOGLE_SERVICE_ACCOUNT_NAME";
/// Turns the metadata server off, as in Google's own libraries.
const OFF: &str = "NO_GCE_CHECK";
/// `HOST` or `HOST:PORT` of the metadata server.
const SERVERS: [&str; 2] = ["GCE_METADATA_HOST", "GCE_METADATA_IP"];
const SERVER: &str = "metadata.google.internal";
/// What Cloud Run and Vertex AI set, where the files of the machine are not to be seen.
const PLATFORMS: [&str; 3] = ["CLOUD_ML_PROJECT_ID", "CLOUD_RUN_JOB", "K_SERVICE"];
const PRODUCT: &str = "/sys/class/dmi/id/product_name";

pub(super) struct Gcp;

impl TokenSource for Gcp {
    fn name(&self) -> &'static str {
        "gcp"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        // The machine's own account would be the wrong signer.
        if here.environment.get(ACCOUNT).is_some() {
            return Detection::NotHere(format!("{ACCOUNT} asks for the token of another account"));
        }
        detect_metadata(here)
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let wrong = |reason: &str| Error::Token {
            reason: reason.to_owned(),
        };
        // Without `format=full` it does not name the account.
        let path = with_query("identity", "audience", audience) + "&format=full";
        let answer = ask_metadata(here, &path, deadline)?;
        let text = str::from_utf8(&answer.body).map_err(|_| wrong("it is not text"))?;
        let token = IdentityToken::parse(text)?;
        if token.email().is_none() {
            return Err(wrong(
                "it has no email claim: the metadata server ignored format=full",
            ));
        }
        Ok(token)
    }
}

/// Whether there may be a metadata server.
pub(super) fn detect_metadata(here: &Surroundings) -> Detection {
    let off = here.environment.text(OFF);
    if off.is_some_and(|off| off.eq_ignore_ascii_case("true")) {
        return Detection::NotHere(format!("{OFF} is set"));
    }
    let mut names = SERVERS.iter().chain(&PLATFORMS);
    if let Some(name) = names.find(|name| here.environment.get(name).is_some()) {
        return Detection::Here(format!("{name} is set"));
    }
    if here.kernel(PRODUCT).starts_with("Google") {
        return Detection::Here(format!("{PRODUCT} says Google"));
    }
    Detection::NotHere(format!(
        "{PRODUCT} does not say Google, and GCE_METADATA_HOST is not set"
    ))
}

/// What the metadata server says of the machine's service account at `path`.
pub(super) fn ask_metadata(
    here: &Surroundings,
    path: &str,
    deadline: Deadline,
) -> Result<Answer, Error> {
    let server = here.environment.first(&SERVERS).unwrap_or(SERVER);
    let url =
        format!("http://{server}/computeMetadata/v1/instance/service-accounts/default/{path}");
    let http = here.connection.nearby("Google's metadata server", deadline);
    let http = http.with_header("metadata-flavor", "Google");
    let answer = http.get(&url).map_err(|error| match error {
        Error::Service {
            status: Some(404), ..
        } => Error::Token {
            reason: "the metadata server knows no service account: attach one to this machine"
                .to_owned(),
        },
        other => other,
    })?;
    // Another server may have that name in another network.
    if answer.metadata_flavor.as_deref() == Some("Google") {
        Ok(answer)
    } else {
        Err(http.misbehaved("it answered without `Metadata-Flavor: Google`"))
    }
}
