//! Whom keyless signatures rest on: a [`TrustConfig`] is a trusted root (the keys and certificates of a Sigstore
//! instance, what verifying needs) and a signing config (its addresses, what signing needs).

mod tuf;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::fs::Mode;
use rustix::io::Errno;
use serde_json::{Value, json};
use sigstore_trust_root::{
    SIGSTORE_PRODUCTION_SIGNING_CONFIG, SIGSTORE_PRODUCTION_TRUSTED_ROOT,
    SIGSTORE_STAGING_SIGNING_CONFIG, SIGSTORE_STAGING_TRUSTED_ROOT, ServiceConfiguration,
    ServiceEndpoint, ServiceSelector, SigningConfig, TrustedRoot,
};
use ureq::http::Uri;

use crate::reading::read_capped;
use crate::services::LogVersion;
use crate::{Error, json as strict};

pub use tuf::{Known, TufRepository};

/// What most of these files are.
const CONFIG: &str = "trust config";
/// More than any trust file has.
const MAX_BYTES: u64 = 4 << 20;
const CLIENT_TRUST_CONFIG: &str = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json";
/// How the media types of all versions begin, the one with `+json;version=` among them.
const TRUSTED_ROOT: &str = "application/vnd.dev.sigstore.trustedroot";
/// Whose logs the whole world reads.
const PUBLIC_DOMAINS: [&str; 2] = ["sigstore.dev", "sigstage.dev"];

/// A trusted root, and a signing config where there is one. Values of JSON are kept as they were read.
#[derive(Clone)]
pub struct TrustConfig {
    root_json: Value,
    config_json: Option<Value>,
    root: TrustedRoot,
    config: Option<SigningConfig>,
}

/// The services that one signature asks, as the signing config selects them.
pub(crate) struct Services {
    pub(crate) authority: String,
    pub(crate) logs: Vec<(String, LogVersion)>,
    pub(crate) timestamps: Vec<String>,
}

impl TrustConfig {
    /// The public-good instance, as of this release.
    ///
    /// # Errors
    /// [`Error::TrustConfig`], which only a broken build could give.
    pub fn production() -> Result<Self, Error> {
        Self::from_parts(
            SIGSTORE_PRODUCTION_TRUSTED_ROOT.as_bytes(),
            Some(SIGSTORE_PRODUCTION_SIGNING_CONFIG.as_bytes()),
        )
    }

    /// Its staging instance, as of this release.
    ///
    /// # Errors
    /// [`Error::TrustConfig`], which only a broken build could give.
    pub fn staging() -> Result<Self, Error> {
        Self::from_parts(
            SIGSTORE_STAGING_TRUSTED_ROOT.as_bytes(),
            Some(SIGSTORE_STAGING_SIGNING_CONFIG.as_bytes()),
        )
    }

    /// Reads a `ClientTrustConfig` (upstream's `--trust-config`), or a trusted root alone, which can only verify.
    ///
    /// # Errors
    /// [`Error::Io`], and round the path [`Error::TrustConfig`], [`Error::TrustWritable`].
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::parse(&read_private(path, CONFIG)?).map_err(Error::at(path))
    }

    /// Reads cosign's two files, `trusted_root.json` and `signing_config.json`.
    ///
    /// # Errors
    /// As [`TrustConfig::read`].
    pub fn read_parts(trusted_root: &Path, signing_config: Option<&Path>) -> Result<Self, Error> {
        let root = Self::from_parts(&read_private(trusted_root, CONFIG)?, None);
        let root = root.map_err(Error::at(trusted_root))?;
        let Some(path) = signing_config else {
            return Ok(root);
        };
        let config = strict::parse(&read_private(path, CONFIG)?).map_err(wrong);
        let both = config.and_then(|config| Self::from_values(root.root_json, Some(config)));
        both.map_err(Error::at(path))
    }

    /// Parses what [`TrustConfig::read`] reads.
    ///
    /// # Errors
    /// [`Error::TrustConfig`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let value: Value = strict::parse(bytes).map_err(wrong)?;
        if value.get("trustedRoot").is_none() {
            return Self::from_values(value, None);
        }
        if value.get("mediaType") != Some(&json!(CLIENT_TRUST_CONFIG)) {
            return Err(wrong(format_args!(
                "media type {} is not {CLIENT_TRUST_CONFIG}",
                value.get("mediaType").unwrap_or(&Value::Null)
            )));
        }
        let part = |name: &str| value.get(name).cloned();
        Self::from_values(
            part("trustedRoot").unwrap_or_default(),
            part("signingConfig"),
        )
    }

    fn from_parts(root: &[u8], config: Option<&[u8]>) -> Result<Self, Error> {
        let config = config.map(strict::parse).transpose().map_err(wrong)?;
        Self::from_values(strict::parse(root).map_err(wrong)?, config)
    }

    fn from_values(root_json: Value, config_json: Option<Value>) -> Result<Self, Error> {
        let root = TrustedRoot::from_json(&root_json.to_string()).map_err(wrong)?;
        // All of its fields may be left out, so that many a file reads like one that believes nobody.
        if !root.media_type.starts_with(TRUSTED_ROOT) {
            return Err(wrong(format_args!(
                "media type {:?} is no trusted root's",
                root.media_type
            )));
        }
        let config = config_json
            .as_ref()
            .map(|json| SigningConfig::from_json(&json.to_string()));
        Ok(Self {
            root,
            config: config.transpose().map_err(wrong)?,
            root_json,
            config_json,
        })
    }

    /// The trusted root as JSON (cosign's `trusted_root.json`).
    #[must_use]
    pub fn trusted_root_json(&self) -> &Value {
        &self.root_json
    }

    /// The signing config as JSON (cosign's `signing_config.json`), where there is one.
    #[must_use]
    pub fn signing_config_json(&self) -> Option<&Value> {
        self.config_json.as_ref()
    }

    /// Both in one (`ClientTrustConfig`).
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut both = json!({"mediaType": CLIENT_TRUST_CONFIG, "trustedRoot": self.root_json});
        if let (Some(config), Some(both)) = (&self.config_json, both.as_object_mut()) {
            both.insert("signingConfig".to_owned(), config.clone());
        }
        both
    }

    /// Every address that signing may use, one line each: what it is, and its URL.
    #[must_use]
    pub fn addresses(&self) -> Vec<(&'static str, &str)> {
        let Some(config) = &self.config else {
            return Vec::new();
        };
        let kinds = [
            ("certificates", &config.ca_urls),
            ("log", &config.rekor_tlog_urls),
            ("timestamps", &config.tsa_urls),
            ("login", &config.oidc_urls),
        ];
        let all = kinds.into_iter().flat_map(|(kind, endpoints)| {
            endpoints.iter().map(move |one| (kind, one.url.as_str()))
        });
        all.collect()
    }

    /// The same, but signing asks only logs of this major version of Rekor.
    ///
    /// # Errors
    /// [`Error::NoSigningConfig`], and [`Error::NoRekor`] where the instance has no such log.
    pub fn with_rekor_version(mut self, wanted: u32) -> Result<Self, Error> {
        let config = self.config.as_ref().ok_or(Error::NoSigningConfig)?;
        let logs = config.rekor_tlog_urls.iter();
        let found: BTreeSet<_> = logs.map(|one| one.major_api_version).collect();
        if !found.contains(&wanted) {
            return Err(Error::NoRekor { wanted, found });
        }
        let logs = self.config_json.as_mut();
        let logs = logs.and_then(|json| json.get_mut("rekorTlogUrls")?.as_array_mut());
        if let Some(logs) = logs {
            logs.retain(|one| one.get("majorApiVersion") == Some(&json!(wanted)));
        }
        Self::from_values(self.root_json, self.config_json)
    }

    /// The same, but signing asks the timestamp authority at `url` (RFC 3161) instead of those that the instance names.
    /// Whether its timestamps are believed is still for the trusted root to say.
    ///
    /// # Errors
    /// [`Error::NoSigningConfig`].
    pub fn with_timestamp_authority(mut self, url: &str) -> Result<Self, Error> {
        let config = self.config_json.as_mut().and_then(Value::as_object_mut);
        let config = config.ok_or(Error::NoSigningConfig)?;
        let always = json!({"start": "1970-01-01T00:00:00Z"});
        let authority = json!({"url": url, "majorApiVersion": 1, "validFor": always});
        config.insert("tsaUrls".to_owned(), json!([authority]));
        config.insert("tsaConfig".to_owned(), json!({"selector": "ANY"}));
        Self::from_values(self.root_json, self.config_json)
    }

    /// Whether signing would write to a log that the whole world reads, and for ever. A timestamp authority, and whoever
    /// lets a person log in, write to none.
    #[must_use]
    pub fn is_public(&self) -> bool {
        let mut addresses = self.addresses().into_iter();
        addresses.any(|(kind, url)| {
            if !matches!(kind, "certificates" | "log") {
                return false;
            }
            let host = url.parse::<Uri>().ok();
            let host = host.as_ref().and_then(Uri::host).unwrap_or_default();
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            PUBLIC_DOMAINS.iter().any(|domain| {
                host.strip_suffix(domain)
                    .is_some_and(|left| left.is_empty() || left.ends_with('.'))
            })
        })
    }

    /// Where a person logs in at `now`, an issuer's URL: the first of the signing config's.
    ///
    /// # Errors
    /// [`Error::TrustConfig`] where it names none.
    pub fn login_issuer(&self, now: SystemTime) -> Result<&str, Error> {
        let now = Timestamp::try_from(now).map_err(wrong)?;
        let any = ServiceConfiguration::default();
        let config = self.config.as_ref();
        let issuers = config.map_or(&[][..], |config| &config.oidc_urls);
        let issuers = select("login service", issuers, &any, &[1], now)?;
        let issuer = issuers.first().map(|one| one.url.as_str());
        issuer.ok_or_else(|| wrong("it names no place to log in"))
    }

    pub(crate) fn trusted_root(&self) -> &TrustedRoot {
        &self.root
    }

    /// Which services one signature made at `now` asks (signing config v0.2).
    pub(crate) fn services(&self, now: SystemTime) -> Result<Services, Error> {
        let config = self.config.as_ref();
        let config = config.ok_or(Error::NoSigningConfig)?;
        let now = Timestamp::try_from(now).map_err(wrong)?;
        let any = ServiceConfiguration::default();
        let authority = select("certificate authority", &config.ca_urls, &any, &[1], now)?;
        let authority = authority.first().map(|one| one.url.clone());
        let logs = select(
            "log",
            &config.rekor_tlog_urls,
            &config.rekor_tlog_config,
            &[1, 2],
            now,
        )?;
        let stamps = select(
            "timestamp authority",
            &config.tsa_urls,
            &config.tsa_config,
            &[1],
            now,
        )?;
        if logs.is_empty() {
            return Err(wrong(
                "it names no log, and no verifier takes a signature without an entry",
            ));
        }
        let version = |one: &ServiceEndpoint| match one.major_api_version {
            2 => LogVersion::V2,
            _ => LogVersion::V1,
        };
        Ok(Services {
            authority: authority.ok_or_else(|| wrong("it names no certificate authority"))?,
            logs: logs
                .iter()
                .map(|one| (one.url.clone(), version(one)))
                .collect(),
            timestamps: stamps.iter().map(|one| one.url.clone()).collect(),
        })
    }
}

/// The rules of signing config v0.2: of those valid now the highest version we speak, one for each operator, as many as
/// the selector says.
fn select<'a>(
    what: &str,
    endpoints: &'a [ServiceEndpoint],
    how: &ServiceConfiguration,
    versions: &[u32],
    now: Timestamp,
) -> Result<Vec<&'a ServiceEndpoint>, Error> {
    let usable = |one: &&ServiceEndpoint| {
        versions.contains(&one.major_api_version) && one.valid_for.contains(now)
    };
    let usable: Vec<_> = endpoints.iter().filter(usable).collect();
    let highest = usable.iter().map(|one| one.major_api_version).max();
    let mut chosen: Vec<&ServiceEndpoint> = Vec::new();
    for one in usable {
        let taken =
            one.operator.is_some() && chosen.iter().any(|other| other.operator == one.operator);
        if Some(one.major_api_version) == highest && !taken {
            chosen.push(one);
        }
    }
    let wanted = match (how.selector, how.count) {
        (ServiceSelector::All, _) => chosen.len(),
        (ServiceSelector::Any, _) => chosen.len().min(1),
        (ServiceSelector::Exact, Some(count)) => usize::try_from(count).unwrap_or(usize::MAX),
        _ => {
            return Err(wrong(format_args!(
                "it does not say how many of its {what}s to use"
            )));
        }
    };
    if chosen.len() < wanted {
        return Err(wrong(format_args!(
            "it wants {wanted} of its {what}s, and {} can be used now",
            chosen.len()
        )));
    }
    chosen.truncate(wanted);
    Ok(chosen)
}

/// Reads a file that says whom to trust: whoever can write to it decides that. `what` it should be is for the error.
///
/// # Errors
/// Those of [`refuse_writable`] and of [`read_capped`].
pub fn read_private(path: &Path, what: &'static str) -> Result<Vec<u8>, Error> {
    let bytes = read_capped(path, what, MAX_BYTES)?;
    refuse_writable(path)?;
    Ok(bytes)
}

/// Refuses a file on which trust rests where others than its owner may write to it. The file need not exist. Of its folder nothing is
/// asked: those that Kubernetes mounts are everybody's to write to, were they not of one pod alone.
///
/// # Errors
/// [`Error::TrustWritable`], [`Error::Io`].
pub fn refuse_writable(path: &Path) -> Result<(), Error> {
    let mode = match rustix::fs::stat(path) {
        Ok(found) => Mode::from_raw_mode(found.st_mode),
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(Error::io("stat", path)(error.into())),
    };
    if mode.intersects(Mode::WGRP | Mode::WOTH) {
        return Err(Error::TrustWritable { path: path.into() });
    }
    Ok(())
}

fn wrong(reason: impl std::fmt::Display) -> Error {
    Error::TrustConfig {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str, version: u32, operator: &str, end: Option<&str>) -> ServiceEndpoint {
        let mut window = json!({"start": "2020-01-01T00:00:00Z"});
        if let Some(end) = end {
            window["end"] = json!(end);
        }
        serde_json::from_value(json!({
            "url": url, "majorApiVersion": version, "validFor": window, "operator": operator,
        }))
        .unwrap()
    }

    fn selected(endpoints: &[ServiceEndpoint], how: Value) -> Result<Vec<String>, Error> {
        let how = serde_json::from_value(how).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let chosen = select("log", endpoints, &how, &[1, 2], now)?;
        Ok(chosen.iter().map(|one| one.url.clone()).collect())
    }

    #[test]
    fn services_are_selected_as_the_signing_config_says() {
        let endpoints = [
            endpoint("old", 2, "a", Some("2025-01-01T00:00:00Z")),
            endpoint("v1", 1, "a", None),
            endpoint("v2-a", 2, "a", None),
            endpoint("v2-a-again", 2, "a", None),
            endpoint("v2-b", 2, "b", None),
            endpoint("v3", 3, "c", None),
        ];
        let all = selected(&endpoints, json!({"selector": "ALL"})).unwrap();
        assert_eq!(all, ["v2-a", "v2-b"]);
        assert_eq!(
            selected(&endpoints, json!({"selector": "ANY"})).unwrap(),
            ["v2-a"]
        );
        let exact = |count| selected(&endpoints, json!({"selector": "EXACT", "count": count}));
        assert_eq!(exact(2).unwrap(), ["v2-a", "v2-b"]);
        assert!(exact(3).is_err());
        assert!(
            selected(
                &endpoints,
                json!({"selector": "SERVICE_SELECTOR_UNDEFINED"})
            )
            .is_err()
        );
        assert_eq!(
            selected(&[], json!({"selector": "ANY"})).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_version_of_rekor_that_the_instance_lacks_is_told_with_those_it_has() {
        let mut both = TrustConfig::production().unwrap().to_json();
        let log = |version: u32, url: &str| {
            json!({"url": url, "majorApiVersion": version, "operator": "o",
                "validFor": {"start": "2020-01-01T00:00:00Z"}})
        };
        let mut logs = |logs: &[Value]| {
            both["signingConfig"]["rekorTlogUrls"] = json!(logs);
            TrustConfig::parse(both.to_string().as_bytes()).unwrap()
        };
        let now = SystemTime::now();
        let asked = |trust: TrustConfig| trust.services(now).unwrap().logs;
        let (one, two) = (log(1, "https://one"), log(2, "https://two"));
        let trust = logs(&[one.clone(), two, log(3, "https://three")]);
        for (version, url, speaks) in [
            (1, "https://one", LogVersion::V1),
            (2, "https://two", LogVersion::V2),
        ] {
            let chosen = trust.clone().with_rekor_version(version).unwrap();
            assert_eq!(asked(chosen), [(url.to_owned(), speaks)]);
        }
        let error = logs(&[one]).with_rekor_version(2).err().unwrap();
        assert_eq!(
            error.to_string(),
            "the Sigstore instance has no Rekor v2, but v1"
        );
        let error = logs(&[]).with_rekor_version(1).err().unwrap();
        assert!(error.to_string().ends_with("no Rekor v1, and no other log"));
    }

    #[test]
    fn a_timestamp_authority_takes_the_place_of_all_and_makes_nothing_public() {
        let trust = TrustConfig::production().unwrap();
        let url = "https://tsa.example/api/v1/timestamp";
        let stamped = trust.clone().with_timestamp_authority(url).unwrap();
        let services = stamped.services(SystemTime::now()).unwrap();
        assert_eq!(services.timestamps, [url]);
        assert_eq!(stamped.trusted_root_json(), trust.trusted_root_json());
        assert!(stamped.is_public());

        let mut private = trust.to_json();
        for kind in ["caUrls", "rekorTlogUrls"] {
            for one in private["signingConfig"][kind].as_array_mut().unwrap() {
                one["url"] = json!("https://sigstore.example");
            }
        }
        let private = TrustConfig::parse(private.to_string().as_bytes()).unwrap();
        let url = "https://timestamp.sigstore.dev/api/v1/timestamp";
        let stamped = private.with_timestamp_authority(url).unwrap();
        assert!(!stamped.is_public());
    }

    #[test]
    fn what_cannot_sign_says_which_file_is_missing() {
        let root = TrustConfig::production().unwrap();
        let root = TrustConfig::parse(root.trusted_root_json().to_string().as_bytes()).unwrap();
        for error in [
            root.clone().with_rekor_version(1).err().unwrap(),
            root.clone()
                .with_timestamp_authority("https://t")
                .err()
                .unwrap(),
            root.services(SystemTime::now()).err().unwrap(),
        ] {
            assert!(matches!(error, Error::NoSigningConfig), "{error}");
            assert!(error.hint().contains("MODEL_SIGNING_SIGNING_CONFIG"));
        }
    }

    #[test]
    fn the_public_instances_are_public_and_survive_conversion() {
        for trust in [
            TrustConfig::production().unwrap(),
            TrustConfig::staging().unwrap(),
        ] {
            assert!(trust.is_public());
            let again = TrustConfig::parse(trust.to_json().to_string().as_bytes()).unwrap();
            assert_eq!(again.to_json(), trust.to_json());
            let root =
                TrustConfig::parse(trust.trusted_root_json().to_string().as_bytes()).unwrap();
            assert!(root.signing_config_json().is_none() && !root.is_public());
        }
    }
}
