//! Lists of revoked certificates (RFC 5280 section 5), which rustls-webpki reads and applies. Of several lists of one issuer it asks
//! the first alone. So each is asked by itself whether it has a certificate on it, and the newest comes first where a list must clear
//! one.

use std::cmp::Reverse;
use std::path::Path;

use webpki::{
    CertRevocationList, ExpirationPolicy, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptions, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;

use crate::Error;
use crate::reading::read_capped;

/// Those of large public authorities have some megabytes.
const MAX_LIST: u64 = 64 << 20;

/// A list, and when it was issued, in seconds since 1970.
pub(super) struct RevocationList {
    issued: u64,
    list: CertRevocationList<'static>,
}

/// The lists of one PEM file, or the one of a DER file; at least one.
pub(super) fn read(path: &Path) -> Result<Vec<RevocationList>, Error> {
    let bytes = read_capped(path, "list of revoked certificates", MAX_LIST)?;
    parse(&bytes).map_err(Error::at(path))
}

fn parse(bytes: &[u8]) -> Result<Vec<RevocationList>, Error> {
    let wrong = |reason: String| Error::RevocationList { reason };
    let list = |der: &[u8]| {
        let list = OwnedCertRevocationList::from_der(der).map_err(|e| wrong(e.to_string()))?;
        let read = CertificateList::from_der(der).map_err(|e| wrong(e.to_string()))?;
        let issued = read.tbs_cert_list.this_update.to_unix_duration().as_secs();
        Ok::<_, Error>(RevocationList {
            issued,
            list: CertRevocationList::Owned(list),
        })
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

/// Asks `judge` of a path: no certificate below the root may be on one of `lists`, be that old or ended, and the newest of its issuer
/// must not have ended. `judge` is asked with nothing where no list was given.
pub(super) fn ask(
    lists: &[RevocationList],
    judge: impl Fn(Option<RevocationOptions<'_>>) -> Result<(), webpki::Error>,
) -> Result<(), webpki::Error> {
    for RevocationList { list, .. } in lists {
        let revoked = Err(webpki::Error::CertRevoked);
        if judge(options(
            &[list],
            UnknownStatusPolicy::Allow,
            ExpirationPolicy::Ignore,
        )) == revoked
        {
            return revoked;
        }
    }
    let mut newest: Vec<_> = lists.iter().collect();
    newest.sort_by_key(|list| Reverse(list.issued));
    let newest: Vec<_> = newest.into_iter().map(|list| &list.list).collect();
    judge(options(
        &newest,
        UnknownStatusPolicy::Deny,
        ExpirationPolicy::Enforce,
    ))
}

fn options<'a>(
    lists: &'a [&'a CertRevocationList<'a>],
    unknown: UnknownStatusPolicy,
    ended: ExpirationPolicy,
) -> Option<RevocationOptions<'a>> {
    let options = RevocationOptionsBuilder::new(lists).ok()?;
    let options = options
        .with_depth(RevocationCheckDepth::Chain)
        .with_status_policy(unknown)
        .with_expiration_policy(ended);
    Some(options.build())
}
