//! AWS: the Security Token Service makes a token of the role or user that this job is, for any audience, where the
//! account has outbound identity federation enabled (STS API Reference, `GetWebIdentityToken`).

mod credentials;
mod metadata;
mod signature;
mod sts;

use credentials::Credentials;

use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

const REGIONS: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
const ENDPOINTS: [&str; 2] = ["AWS_ENDPOINT_URL_STS", "AWS_ENDPOINT_URL"];

pub(super) struct Aws;

impl TokenSource for Aws {
    fn name(&self) -> &'static str {
        "aws"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        let credentials = Credentials::detect(here);
        let regional = here.environment.first(&REGIONS).is_some();
        match credentials {
            Detection::Here(reason) if !regional && !metadata::detect(here).is_here() => {
                Detection::NotHere(format!(
                    "{reason}, but AWS_REGION is not: STS makes tokens in a region only"
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
        let region = match here.environment.first(&REGIONS) {
            Some(region) => region.to_owned(),
            None => metadata::open(here, deadline)?.region()?,
        };
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !region.bytes().all(plain) {
            return Err(Error::Token {
                reason: format!("{region:?} is no region of AWS"),
            });
        }
        let endpoint = match here.environment.first(&ENDPOINTS) {
            Some(endpoint) => endpoint.to_owned(),
            None if region.starts_with("cn-") => format!("https://sts.{region}.amazonaws.com.cn"),
            None => format!("https://sts.{region}.amazonaws.com"),
        };
        let sts = sts::Sts {
            here,
            endpoint: endpoint.trim_end_matches('/'),
            region: &region,
            deadline,
        };
        let credentials = Credentials::find(here, &sts, deadline)?;
        sts.identity_token(audience, &credentials)
    }
}
