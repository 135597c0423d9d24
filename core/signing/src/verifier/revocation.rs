//! Lists of revoked certificates (RFC 5280 section 5), which rustls-webpki reads and applies.

use std::path::Path;

use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};

use crate::Error;
use crate::reading::read_capped;

/// Those of large public authorities have some megabytes.
const MAX_LIST: u64 = 64 << 20;

/// The lists of one PEM file, or the one of a DER file; at least one.
pub(super) fn read(path: &Path) -> Result<Vec<CertRevocationList<'static>>, Error> {
    let bytes = read_capped(path, "list of revoked certificates", MAX_LIST)?;
    parse(&bytes).map_err(Error::at(path))
}

fn parse(bytes: &[u8]) -> Result<Vec<CertRevocationList<'static>>, Error> {
    let list = |der: &[u8]| match OwnedCertRevocationList::from_der(der) {
        Ok(list) => Ok(CertRevocationList::Owned(list)),
        Err(error) => Err(Error::RevocationList {
            reason: error.to_string(),
        }),
    };
    let blocks = pem::parse_many(bytes).unwrap_or_default();
    if blocks.is_empty() {
        return Ok(vec![list(bytes)?]);
    }
    let lists = blocks.iter().filter(|block| block.tag() == "X509 CRL");
    let lists: Vec<_> = lists
        .map(|block| list(block.contents()))
        .collect::<Result<_, _>>()?;
    if lists.is_empty() {
        return Err(Error::KeyForm {
            expected: "list of revoked certificates",
            found: blocks.first().map(|block| block.tag().to_owned()),
        });
    }
    Ok(lists)
}

/// Each certificate below a root must be on none of `lists`, and one of them must be its issuer's, and not have ended.
/// Nothing where no list was given.
pub(super) fn options<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
) -> Option<RevocationOptions<'a>> {
    let options = RevocationOptionsBuilder::new(lists).ok()?;
    let options = options
        .with_depth(RevocationCheckDepth::Chain)
        .with_status_policy(UnknownStatusPolicy::Deny)
        .with_expiration_policy(ExpirationPolicy::Enforce);
    Some(options.build())
}
