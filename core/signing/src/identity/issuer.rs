//! What an instance's Fulcio says of the issuers it takes tokens from, and the name it will give to whom a token names.

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use super::IdentityToken;
use crate::Error;

/// One issuer of Fulcio's configuration (`GET /api/v2/configuration`, `OIDCIssuer`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Issuer {
    issuer_url: String,
    /// With `*` in the place of any label.
    wildcard_issuer_url: String,
    audience: String,
    issuer_type: String,
    subject_domain: String,
}

/// The issuer of `token` among `issuers`, if a token for `audience` is what Fulcio wants of it.
pub(crate) fn known<'a>(
    issuers: &'a [Issuer],
    token: &IdentityToken,
    audience: &str,
) -> Result<&'a Issuer, Error> {
    let found = issuers.iter().find(|issuer| issuer.is(token.issuer()));
    let found = found.ok_or_else(|| Error::Token {
        reason: format!(
            "this Fulcio takes none of {:?}; that is for its operator to change",
            token.issuer()
        ),
    })?;
    if !found.audience.is_empty() && found.audience != audience {
        return Err(Error::Token {
            reason: format!(
                "its audience is {audience:?}, and this Fulcio wants {wanted:?}: set MODEL_SIGNING_AUDIENCE to {wanted:?}",
                wanted = found.audience
            ),
        });
    }
    Ok(found)
}

impl Issuer {
    fn is(&self, url: &str) -> bool {
        if self.wildcard_issuer_url.is_empty() {
            return self.issuer_url == url;
        }
        // As Fulcio has it (pkg/config): a star is letters, digits, `-` and `_`.
        let escaped = regex::escape(&self.wildcard_issuer_url);
        let whole = format!(r"\A{}\z", escaped.replace(r"\*", "[-_a-zA-Z0-9]+"));
        Regex::new(&whole).is_ok_and(|whole| whole.is_match(url))
    }

    /// The subject alternative name that the certificate for `token` will have, where that can be told.
    pub(crate) fn name(&self, token: &IdentityToken) -> Option<String> {
        let text = |claim: &str| token.claim(claim).and_then(Value::as_str);
        match self.issuer_type.as_str() {
            "email" => Some(text("email")?.to_owned()),
            "kubernetes" => {
                let claims = token.claim("kubernetes.io")?;
                let text = |pointer: &str| claims.pointer(pointer).and_then(Value::as_str);
                let (namespace, account) = (text("/namespace")?, text("/serviceaccount/name")?);
                Some(format!(
                    "https://kubernetes.io/namespaces/{namespace}/serviceaccounts/{account}"
                ))
            }
            "spiffe" | "uri" => Some(token.subject().to_owned()),
            "username" => Some(format!("{}!{}", token.subject(), self.subject_domain)),
            // Their names are templates of Fulcio's configuration, which it does not show: those of the public instance.
            "ci-provider" | "github-workflow" | "gitlab-pipeline" | "buildkite-job" => {
                if let Some(workflow) = text("job_workflow_ref") {
                    return Some(format!("https://github.com/{workflow}"));
                }
                if let Some(config) = text("ci_config_ref_uri") {
                    return Some(format!("https://{config}"));
                }
                let (owner, pipeline) = (text("organization_slug")?, text("pipeline_slug")?);
                Some(format!("https://buildkite.com/{owner}/{pipeline}"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_label() {
        let issuer = Issuer {
            wildcard_issuer_url: "https://oidc.eks.*.amazonaws.com/id/*".to_owned(),
            ..Issuer::default()
        };
        assert!(issuer.is("https://oidc.eks.us-west-2.amazonaws.com/id/B02C"));
        for other in [
            "https://oidc.eks.us-west-2.amazonaws.com/id/",
            "https://oidc.eks.us-west-2.amazonaws.com.cn/id/B02C",
            "https://oidc.eks.a.evil.example/x.amazonaws.com/id/B02C",
            "https://oidc-eks.us-west-2.amazonaws.com/id/B02C",
        ] {
            assert!(!issuer.is(other), "{other}");
        }
    }
}
