//! A web service that gives out tokens: for what no other source knows.

use std::path::{Path, PathBuf};

use form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use super::file::read_secret;
use super::sources::token_in;
use super::{Detection, IdentityToken, Surroundings, TokenSource};
use crate::{Deadline, Error};

/// A GET request. Has no `Debug`: its headers may hold a secret.
pub struct TokenRequest {
    url: String,
    headers: Vec<Header>,
    headers_file: Option<PathBuf>,
    field: Option<String>,
}

/// Name and value.
type Header = (String, Zeroizing<String>);

impl TokenRequest {
    /// To `url`, in which `{audience}` stands for the audience, with `headers`, `NAME: VALUE; NAME: VALUE`. The answer is a
    /// JWT, or JSON that holds one at `field`: a JSON pointer (RFC 6901), or the name of a member of the outermost object.
    ///
    /// # Errors
    /// [`Error::Token`] where a header is none.
    pub fn new(url: String, headers: Option<&str>, field: Option<&str>) -> Result<Self, Error> {
        Ok(Self {
            url,
            headers: parse(headers.unwrap_or_default())?,
            headers_file: None,
            field: field.map(|field| match field.strip_prefix('/') {
                Some(_) => field.to_owned(),
                None => format!("/{}", field.replace('~', "~0").replace('/', "~1")),
            }),
        })
    }

    /// With the headers in the file at `path` instead, in the same form, on one line or several; read again for every
    /// token, so that what is in it can be renewed.
    #[must_use]
    pub fn with_headers_file(mut self, path: PathBuf) -> Self {
        self.headers_file = Some(path);
        self
    }
}

fn parse(text: &str) -> Result<Vec<Header>, Error> {
    let parse = |header: &str| {
        let (name, value) = header.split_once(':')?;
        let (name, value) = (name.trim(), value.trim());
        let good = !name.is_empty()
            && name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"-_".contains(&c))
            && value.bytes().all(|c| c.is_ascii_graphic() || c == b' ');
        good.then(|| (name.to_owned(), Zeroizing::new(value.to_owned())))
    };
    let headers = text.split(';').filter(|header| !header.trim().is_empty());
    let headers: Option<Vec<_>> = headers.map(parse).collect();
    headers.ok_or_else(|| Error::Token {
        reason: "a header of the request for it is not `NAME: VALUE`".to_owned(),
    })
}

fn read(path: &Path) -> Result<Vec<Header>, Error> {
    let text = read_secret(path)?;
    let lines = text.lines().map(parse).collect::<Result<Vec<_>, _>>();
    lines.map(|lines| lines.concat()).map_err(Error::at(path))
}

impl TokenSource for TokenRequest {
    fn name(&self) -> &'static str {
        "http"
    }

    fn detect(&self, _: &Surroundings) -> Detection {
        Detection::Here("a URL is given".to_owned())
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let audience: String = byte_serialize(audience.as_bytes()).collect();
        let url = self.url.replace("{audience}", &audience);
        let mut http = here.connection.to("the token service", deadline);
        let in_file = self.headers_file.as_deref().map(read).transpose()?;
        for (name, value) in in_file.as_ref().unwrap_or(&self.headers) {
            http = http.with_header(name, value.as_str());
        }
        token_in(&http.get(&url)?.body, self.field.as_deref())
    }
}
