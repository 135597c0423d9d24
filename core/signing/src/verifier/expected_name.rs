//! Which name of a certificate is expected. Each kind is compared with its own: a DNS name may be spelled like a subject, a URI may
//! end like an email address, and a common name may be anything.

use x509_cert::ext::pkix::name::GeneralName;

use crate::Error;
use crate::certificate::Certificate;
use crate::pattern::Pattern;

/// A name, or a pattern of names, of one kind.
pub(super) struct ExpectedName {
    pattern: Pattern,
    kind: Kind,
}

/// What the text tells of its kind.
enum Kind {
    /// It begins as RFC 4514 writes a subject: `CN=`.
    Subject,
    /// It has a `://`.
    Uri,
    /// It has an `@`.
    Email,
    /// Neither: a DNS name, or a pattern for whichever subject alternative name there is.
    Alternative,
}

impl Kind {
    fn of(text: &str) -> Self {
        let text = text.strip_prefix("glob:").unwrap_or(text);
        let text = text.strip_prefix("re:").unwrap_or(text);
        let attribute = text.split_once('=').map(|(attribute, _)| attribute);
        let is_attribute = |name: &str| {
            let known = |c: char| c.is_ascii_alphanumeric() || c == '.';
            !name.is_empty() && name.chars().all(known)
        };
        if attribute.is_some_and(is_attribute) {
            Self::Subject
        } else if text.contains("://") {
            Self::Uri
        } else if text.contains('@') {
            Self::Email
        } else {
            Self::Alternative
        }
    }
}

impl ExpectedName {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self {
            pattern: Pattern::parse(text)?,
            kind: Kind::of(text),
        })
    }

    pub(super) fn text(&self) -> &str {
        self.pattern.text()
    }

    /// Whether `leaf` has such a name.
    pub(super) fn is_of(&self, leaf: &Certificate) -> bool {
        let any = |of_kind: fn(&GeneralName) -> Option<&str>| {
            let mut names = leaf.all_names().iter().filter_map(of_kind);
            names.any(|name| self.pattern.matches(name))
        };
        match self.kind {
            Kind::Subject => self.pattern.matches(&leaf.subject()),
            Kind::Uri => any(|name| match name {
                GeneralName::UniformResourceIdentifier(uri) => Some(uri.as_str()),
                _ => None,
            }),
            Kind::Email => any(|name| match name {
                GeneralName::Rfc822Name(email) => Some(email.as_str()),
                _ => None,
            }),
            Kind::Alternative => leaf
                .alternative_names()
                .any(|name| self.pattern.matches(name)),
        }
    }
}
