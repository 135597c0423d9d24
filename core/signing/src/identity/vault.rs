//! Vault, and `OpenBao`: the identity secrets engine signs a token for whoever the Vault token at hand stands for
//! (`GET /v1/identity/oidc/token/ROLE`). Its audience is the role's `client_id`.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::file::read_secret;
use super::sources::{explained, token_at};
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

const ADDRESS: &str = "VAULT_ADDR";
const AUTHORITIES: &str = "VAULT_CACERT";
const NAMESPACE: &str = "VAULT_NAMESPACE";
const TOKEN: &str = "VAULT_TOKEN";
const ROLE: &str = "MODEL_SIGNING_VAULT_ROLE";

pub(super) struct Vault;

impl Vault {
    /// Where `vault login` leaves its token.
    fn file(here: &Surroundings) -> Option<PathBuf> {
        let home = here.environment.get("HOME")?;
        Some(Path::new(home).join(".vault-token"))
    }

    fn secret(here: &Surroundings) -> Result<Zeroizing<String>, Error> {
        if here.environment.get(TOKEN).is_some() {
            return Ok(Zeroizing::new(here.variable(TOKEN)?.trim().to_owned()));
        }
        let path = Self::file(here).ok_or_else(|| Error::Token {
            reason: format!("neither {TOKEN} nor HOME is set"),
        })?;
        Ok(Zeroizing::new(read_secret(&path)?.trim().to_owned()))
    }
}

impl TokenSource for Vault {
    fn name(&self) -> &'static str {
        "vault"
    }

    fn detect(&self, here: &Surroundings) -> Detection {
        let address = Detection::by_variable(here, ADDRESS);
        if !address.is_here() {
            return address;
        }
        if here.environment.get(ROLE).is_none() {
            return Detection::NotHere(format!(
                "{ROLE} is not set: name a role of identity/oidc whose client_id is Fulcio's audience"
            ));
        }
        let file = Self::file(here).is_some_and(|path| path.is_file());
        if !file && here.environment.get(TOKEN).is_none() {
            return Detection::NotHere(format!(
                "{TOKEN} is not set and $HOME/.vault-token is not there: run `vault login`"
            ));
        }
        Detection::Here(format!("{ADDRESS} and {ROLE} are set"))
    }

    fn fetch(
        &self,
        here: &Surroundings,
        _audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let address = here.variable(ADDRESS)?.trim_end_matches('/');
        let role = here.variable(ROLE)?;
        let secret = Self::secret(here)?;
        let connection = match here.environment.get(AUTHORITIES) {
            Some(path) => here.connection.with_authorities(Path::new(path))?,
            None => here.connection.clone(),
        };
        let http = connection.to("Vault", deadline);
        // Without it, a Vault agent may refuse: it shows that no browser was tricked into asking.
        let http = http.with_header("x-vault-request", "true");
        let http = http.with_header("x-vault-token", secret.as_str());
        let http = match here.environment.get(NAMESPACE) {
            Some(_) => http.with_header("x-vault-namespace", here.variable(NAMESPACE)?),
            None => http,
        };
        let url = format!("{address}/v1/identity/oidc/token/{}", segment(role));
        let answer = http.get(&url).map_err(|error| {
            let policy = format!(
                "log in again, or give the token's policy `read` on identity/oidc/token/{role}"
            );
            explained(error, 403, &policy)
        })?;
        token_at(&answer, "/data/token")
    }
}

/// `text` as one segment of a path (RFC 3986).
fn segment(text: &str) -> String {
    let form: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    // A form writes a space as `+`, and a plus as `%2B`.
    form.replace('+', "%20")
}

#[cfg(test)]
mod tests {
    use super::segment;

    #[test]
    fn a_role_is_one_segment() {
        for (role, expected) in [
            ("trainer-1_a.b", "trainer-1_a.b"),
            ("a b+c", "a%20b%2Bc"),
            ("../../sys/seal?x#y", "..%2F..%2Fsys%2Fseal%3Fx%23y"),
            ("ä%2f", "%C3%A4%252f"),
        ] {
            assert_eq!(segment(role), expected);
        }
    }
}
