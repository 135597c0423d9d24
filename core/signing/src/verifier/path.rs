//! From a leaf to a given root (RFC 5280 section 6.1): every certificate on the way keeps the rules of [`Certificate`], and
//! rustls-webpki, which knows nothing of ours, accepts the whole as well.
//!
//! It does not judge leaves that are a certificate authority's, which it refuses; those of upstream's examples are. There
//! our rules alone count, and no authority may constrain names.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, RevocationOptions, anchor_from_trusted_cert,
};

use super::revocation::{self, RevocationList};
use crate::certificate::Certificate;
use crate::{CertificateFault as Fault, Error};

/// As many authorities between leaf and root as rustls-webpki allows.
const MAX_BETWEEN: usize = 6;
/// A hostile bundle could hold many authorities of one name, and every order of them would be tried.
const MAX_TRIES: usize = 64;
/// `id-kp-codeSigning`, 1.3.6.1.5.5.7.3.3, in DER.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];

/// The certificates from `leaf` up to one of `roots`, each of which was issued by the next. `others` may lie between. Where
/// there are lists of `revoked` certificates, they must clear all below the root.
pub(super) fn path<'a>(
    leaf: &'a Certificate,
    roots: &'a [Certificate],
    others: impl IntoIterator<Item = &'a Certificate>,
    at: SystemTime,
    revoked: &[RevocationList],
) -> Result<Vec<&'a Certificate>, Error> {
    leaf.check_leaf()?;
    leaf.check_time(at)?;
    // A root that was not given leads nowhere.
    let is_root = |one: &Certificate| one.is_self_issued() && one.check_signature(one).is_ok();
    let mut search = Search {
        roots,
        others: others.into_iter().filter(|one| !is_root(one)).collect(),
        at,
        tries: MAX_TRIES,
        refusal: None,
    };
    let mut path = vec![leaf];
    if !search.reaches_a_root(&mut path) {
        return Err(search
            .refusal
            .map_or_else(|| unknown(leaf), |(_, error)| error));
    }
    match path.as_slice() {
        // It is itself a given root: nobody else vouches for it.
        [_] => {}
        [_, above @ ..] if leaf.is_authority() => {
            if let Some(one) = above.iter().find(|one| one.constrains_names()) {
                return Err(one.refused(Fault::NameConstraints));
            }
            if !revoked.is_empty() {
                let reason = "it is an authority's own, for which lists are not looked at";
                let reason = reason.to_owned();
                return Err(leaf.refused(Fault::RevocationUnknown { reason }));
            }
        }
        path => ask_webpki(path, at, revoked)?,
    }
    Ok(path)
}

struct Search<'a> {
    roots: &'a [Certificate],
    others: Vec<&'a Certificate>,
    at: SystemTime,
    /// Signatures that may still be looked at.
    tries: usize,
    /// Why the way that looked best ends, and how good it looked.
    refusal: Option<((usize, bool), Error)>,
}

impl<'a> Search<'a> {
    /// Extends `path` to a root, depth first.
    fn reaches_a_root(&mut self, path: &mut Vec<&'a Certificate>) -> bool {
        let Some(last) = path.last().copied() else {
            return false;
        };
        if self.roots.iter().any(|root| root.der() == last.der()) {
            return true;
        }
        let others = self.others.iter().copied();
        let all = self.roots.iter().chain(others);
        let issuers = all.filter(|one| one.is_named(last.issuer()));
        let fresh = issuers.filter(|one| path.iter().all(|other| other.der() != one.der()));
        let fresh: Vec<_> = fresh.collect();
        if fresh.is_empty() {
            self.note(path.len(), true, unknown(last));
        }
        for issuer in fresh {
            let is_root = self.roots.iter().any(|root| root.der() == issuer.der());
            if self.tries == 0 || (path.len() > MAX_BETWEEN && !is_root) {
                let limit = MAX_BETWEEN;
                self.note(path.len(), true, last.refused(Fault::PathTooLong { limit }));
                return false;
            }
            self.tries -= 1;
            if let Err(error) = last.check_signature(issuer) {
                self.note(path.len(), false, error);
                continue;
            }
            let sound = issuer
                .check_authority(path.len() - 1)
                .and_then(|()| issuer.check_time(self.at));
            if let Err(error) = sound {
                self.note(path.len(), true, error);
                continue;
            }
            path.push(issuer);
            if self.reaches_a_root(path) {
                return true;
            }
            path.pop();
        }
        false
    }

    /// What is told is the first error of the longest way; another authority of the same name is no way.
    fn note(&mut self, length: usize, is_way: bool, error: Error) {
        let rank = (length, is_way);
        if self.refusal.as_ref().is_none_or(|(best, _)| *best < rank) {
            self.refusal = Some((rank, error));
        }
    }
}

fn unknown(last: &Certificate) -> Error {
    let issuer = last.issuer().to_string();
    last.refused(Fault::IssuerUnknown { issuer })
}

/// A second opinion on `path`, which is at least two long. It applies name constraints and lists of revoked certificates,
/// too.
fn ask_webpki(
    path: &[&Certificate],
    at: SystemTime,
    revoked: &[RevocationList],
) -> Result<(), Error> {
    let [leaf, between @ .., root] = path else {
        return Ok(());
    };
    let refused = |error: webpki::Error| {
        let reason = error.to_string();
        leaf.refused(match error {
            webpki::Error::CertRevoked => Fault::Revoked,
            webpki::Error::UnknownRevocationStatus | webpki::Error::CrlExpired { .. } => {
                Fault::RevocationUnknown { reason }
            }
            _ => Fault::Refused { reason },
        })
    };
    let root = CertificateDer::from(root.der());
    let roots = [anchor_from_trusted_cert(&root).map_err(refused)?];
    let between: Vec<_> = between
        .iter()
        .map(|one| CertificateDer::from(one.der()))
        .collect();
    let der = CertificateDer::from(leaf.der());
    let judged = EndEntityCert::try_from(&der).map_err(refused)?;
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let judge = |revocation: Option<RevocationOptions<'_>>| {
        let verified = judged.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &roots,
            &between,
            UnixTime::since_unix_epoch(since),
            KeyUsage::required_if_present(CODE_SIGNING),
            revocation,
            None,
        );
        verified.map(drop)
    };
    revocation::ask(revoked, judge).map_err(refused)
}
