//! Azure: the managed identity of a virtual machine, an Azure ML job or an App Service gets access tokens of Entra,
//! for audiences that are registered in the tenant as an application ("How to use managed identities to acquire an
//! access token").

use std::net::IpAddr;
use std::time::Duration;

use super::sources::{token_at, with_query};
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::services::{Http, address};
use crate::{Deadline, Error};

/// App Service, Functions, Container Apps.
const IDENTITY: (&str, &str) = ("IDENTITY_ENDPOINT", "IDENTITY_HEADER");
/// Azure ML.
const MSI: (&str, &str) = ("MSI_ENDPOINT", "MSI_SECRET");
/// Which of several identities: what azure-identity reads, and what Azure ML sets.
const CLIENTS: [&str; 2] = ["AZURE_CLIENT_ID", "DEFAULT_IDENTITY_CLIENT_ID"];
/// The metadata server's origin, as azure-identity reads it.
const SERVER: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const DEFAULT: &str = "http://169.254.169.254";
const MARK: &str = "/sys/class/dmi/id/chassis_asset_tag";
/// "MSFT AZURE VM" in numbers: what Azure's machines have there, and other Hyper-V ones do not.
const AZURE: &str = "7783-7084-3265-9085-8269-3286-77";
/// A token that the server does not have yet, it asks Entra for.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Azure;

impl TokenSource for Azure {
    fn name(&self) -> &'static str {
        "azure"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        for (endpoint, secret) in [IDENTITY, MSI] {
            if here.environment.get(endpoint).is_some() {
                return match here.environment.get(secret) {
                    Some(_) => Detection::Here(format!("{endpoint} is set")),
                    None => Detection::NotHere(format!(
                        "{endpoint} is set, but not {secret}: this kind of identity is not supported"
                    )),
                };
            }
        }
        if here.kernel(MARK) == AZURE {
            return Detection::Here(format!("{MARK} says Azure"));
        }
        Detection::NotHere(format!(
            "{MARK} does not say Azure, and {} and {} are not set",
            MSI.0, IDENTITY.0
        ))
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let is_set = |name: &str| here.environment.get(name).is_some();
        let (http, url, client) = if is_set(IDENTITY.0) {
            let url = here.variable(IDENTITY.0)?;
            let http = identity_server(here, url, deadline)?;
            let http = http.with_header("x-identity-header", here.variable(IDENTITY.1)?);
            (http, versioned(url, "2019-08-01"), "client_id")
        } else if is_set(MSI.0) {
            let url = here.variable(MSI.0)?;
            let http = identity_server(here, url, deadline)?;
            let http = http.with_header("secret", here.variable(MSI.1)?);
            (http, versioned(url, "2017-09-01"), "clientid")
        } else {
            let server = here.environment.text(SERVER).unwrap_or(DEFAULT);
            let url = format!(
                "{}/metadata/identity/oauth2/token",
                server.trim_end_matches('/')
            );
            let http = here.connection.nearby("Azure's metadata server", deadline);
            let http = http.with_header("metadata", "true");
            (http, versioned(&url, "2018-02-01"), "client_id")
        };
        let mut url = with_query(&url, "resource", audience);
        if let Some(id) = here.environment.first(&CLIENTS) {
            url = with_query(&url, client, id);
        }
        let answer = http.patient(TIMEOUT).get(&url);
        let answer = answer.map_err(|error| explained(error, audience))?;
        token_at(&answer, "/access_token")
    }
}

fn versioned(url: &str, version: &str) -> String {
    with_query(url, "api-version", version)
}

/// Requests with a secret: in plain HTTP to this machine and its hypervisor only.
fn identity_server<'a>(
    here: &'a Surroundings,
    url: &str,
    deadline: Deadline,
) -> Result<Http<'a>, Error> {
    let name = "Azure's identity server";
    let near = |host: IpAddr| match host {
        IpAddr::V4(host) => host.is_loopback() || host.is_link_local(),
        IpAddr::V6(host) => host.is_loopback() || host.is_unicast_link_local(),
    };
    if url.starts_with("https://") {
        Ok(here.connection.to(name, deadline))
    } else if url.starts_with("http://") && address(url).is_some_and(near) {
        Ok(here.connection.nearby(name, deadline))
    } else {
        Err(Error::Token {
            reason: "the endpoint that Azure set is neither https nor of this machine: \
                     its secret is not sent there"
                .to_owned(),
        })
    }
}

fn explained(error: Error, audience: &str) -> Error {
    let advice = match &error {
        Error::Service {
            status: Some(400..=499),
            reason,
            ..
        } if reason.contains("invalid_resource") || reason.contains("AADSTS50001") => {
            format!("register an application with the URI {audience:?} in this tenant")
        }
        Error::Service {
            status: Some(400),
            reason,
            ..
        } if reason.contains("Identity not found") => {
            "assign a managed identity to this machine, or correct AZURE_CLIENT_ID".to_owned()
        }
        _ => return error,
    };
    Error::Token {
        reason: format!("Azure refused it; {advice} ({error})"),
    }
}
