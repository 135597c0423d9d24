//! What the signatures of a run say of each other: each names the one that was signed before it on the same machine, so one
//! that is missing is missed, unless it was the last.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use autosign_signing::{Annotations, Digest};

/// A signature that was verified.
#[derive(Clone, Debug)]
pub struct Link {
    /// The signature file.
    pub path: PathBuf,
    /// The signed name of the model.
    pub model: String,
    /// What was signed: [`VerifiedManifest::payload_digest`](autosign_signing::VerifiedManifest::payload_digest).
    pub payload: Digest,
    /// What it says of its checkpoint.
    pub said: Annotations,
}

/// The signatures of one run.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    /// Those that are there, in the order in which the run saved.
    pub links: Vec<Link>,
    /// Those that name none before them: the first of each machine, or of each spool. More than these are somebody else's.
    pub beginnings: BTreeSet<Digest>,
    /// What one of them names, and is not there: it was removed together with its checkpoint, has been replaced, or was never
    /// published because signing failed.
    pub missing: BTreeSet<Digest>,
    /// What several of them name, each for itself: somebody else signed with the key, or from a copy of the spool.
    pub forks: BTreeSet<Digest>,
}

/// Sorts signatures by run. Those that name none come back by themselves.
///
/// ```
/// use autosign_session::{Link, chains};
/// use autosign_signing::{Annotations, Digest};
/// let link = |name: &str, parent: Option<&str>| Link {
///     path: name.into(),
///     model: name.into(),
///     payload: Digest::of(name.as_bytes()),
///     said: Annotations {
///         run: Some("tune-7".into()),
///         parent: parent.map(|parent| Digest::of(parent.as_bytes())),
///         ..Annotations::default()
///     },
/// };
/// let (runs, _) = chains([link("one", None), link("two", Some("one")), link("four", Some("three"))]);
/// assert_eq!(runs["tune-7"].missing.len(), 1);
/// assert!(runs["tune-7"].forks.is_empty());
/// assert_eq!(runs["tune-7"].beginnings, [Digest::of(b"one")].into());
/// ```
#[must_use]
pub fn chains(links: impl IntoIterator<Item = Link>) -> (BTreeMap<String, Chain>, Vec<Link>) {
    let mut runs: BTreeMap<String, Chain> = BTreeMap::new();
    let mut others = Vec::new();
    for link in links {
        match link.said.run.clone() {
            Some(run) => runs.entry(run).or_default().links.push(link),
            None => others.push(link),
        }
    }
    for chain in runs.values_mut() {
        chain.links.sort_by_key(|link| link.said.sequence);
        chain.close();
    }
    (runs, others)
}

impl Chain {
    fn close(&mut self) {
        let there: BTreeSet<Digest> = self.links.iter().map(|link| link.payload).collect();
        let mut named: BTreeMap<Digest, Digest> = BTreeMap::new();
        for link in &self.links {
            let Some(parent) = link.said.parent else {
                self.beginnings.insert(link.payload);
                continue;
            };
            if !there.contains(&parent) {
                self.missing.insert(parent);
            }
            // A copy of a signature is no second one.
            if *named.entry(parent).or_insert(link.payload) != link.payload {
                self.forks.insert(parent);
            }
        }
    }
}
