//! Can this job sign here? What the settings are, what was found, and what to do about it.

use std::path::Path;
use std::time::SystemTime;

use autosign_signing::{
    Detection, Error as SigningError, Hashing, Ignore, Look, Pkcs11Look, Pkcs11Uri, Signer,
    Statement, hash, seal, url_shown,
};
use rustix::fs::{Access, access, statfs, statvfs};
use serde::Serialize;

use crate::values::size_text;
use crate::{
    Config, Error, Instance, Mode, PrivateKey, Rank, Settings, Spool, every_setting, host,
};

/// A framework that is installed and has a hook.
#[derive(Clone, Debug, Serialize)]
pub struct Installed {
    /// The name that it is installed under.
    pub name: String,
    /// The framework's version.
    pub version: String,
    /// What of `MODEL_SIGNING_HOOKS` has it hooked: names of hooks, and `auto` unless it is off by default.
    #[serde(skip)]
    pub hooks: Vec<String>,
}

/// How far a [`Report`] goes.
#[derive(Clone, Debug, Default)]
pub struct Examination {
    /// The frameworks of the interpreter that asks, if one does.
    pub installed: Vec<Installed>,
    /// Gets a token, and sends it nowhere.
    pub fetch: bool,
    /// Makes a signature of nothing that matters: with the staging instance in the place of production, else with the
    /// instance that is set.
    pub sign: bool,
}

/// What was found. Nothing in it is secret.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Of this program.
    pub version: &'static str,
    /// The machine's name.
    pub host: String,
    /// Which process of how many this one is, where a launcher says so.
    pub rank: Option<Rank>,
    /// Frameworks whose saves are signed.
    pub hooked: Vec<Installed>,
    /// Frameworks that `MODEL_SIGNING_HOOKS` leaves out.
    pub unhooked: Vec<Installed>,
    /// Nothing is to be signed here: mode `offline`. Without being asked to, nothing is then looked for but the spool.
    pub offline: bool,
    /// Settings that are set.
    pub settings: Vec<Set>,
    /// What is wrong with settings.
    pub problems: Vec<String>,
    /// `key`, `certificate` or `sigstore`.
    pub method: &'static str,
    /// The token that keeps the private key, where one does.
    pub key: Option<String>,
    /// Where a token may come from, in the order in which it is asked for.
    pub sources: Vec<Source>,
    /// The token that would be sent.
    pub token: Option<Token>,
    /// The services of the instance.
    pub services: Vec<Service>,
    /// Which instance, and of when its trust is.
    pub trust: Option<String>,
    /// Whether signatures go on public record.
    pub public_record: bool,
    /// Whether a signature was made to see whether it can be.
    pub signature_made: bool,
    /// The spool and what is in it.
    pub spool: Option<String>,
    /// How many settings have a value that cannot be used.
    pub wrong_settings: usize,
    /// Why nothing will be signed, each with what to do about it.
    pub obstacles: Vec<String>,
}

/// A setting that is set.
#[derive(Debug, Serialize)]
pub struct Set {
    /// The environment variable.
    pub variable: &'static str,
    /// Its value, as far as it may be shown.
    pub value: String,
    /// `environment`, or the configuration file that it is from.
    pub origin: String,
}

/// One source of tokens.
#[derive(Debug, Serialize)]
pub struct Source {
    /// Its name.
    pub name: &'static str,
    /// Whether it may have a token.
    pub here: bool,
    /// Why.
    pub reason: String,
}

/// What a token claims.
#[derive(Debug, Serialize)]
pub struct Token {
    /// Its issuer.
    pub issuer: String,
    /// Whom it names.
    pub subject: String,
    /// Seconds until it ends.
    pub seconds_left: Option<u64>,
    /// The name that the certificate will have.
    pub signs_as: Option<String>,
}

/// One service.
#[derive(Debug, Serialize)]
pub struct Service {
    /// What it is for.
    pub kind: &'static str,
    /// Its address.
    pub url: String,
    /// Milliseconds until it answered.
    pub milliseconds: Option<u128>,
    /// Seconds by which this machine's clock is ahead.
    pub clock_ahead: Option<i64>,
    /// Why it cannot be reached.
    pub error: Option<String>,
}

impl Report {
    /// Looks at everything that signing needs. Reads, and asks services; writes nothing, and sends no token unless
    /// `examination` says so.
    #[must_use]
    pub fn new(settings: &Settings, examination: &Examination) -> Self {
        let (config, errors) = Config::read(settings);
        let (hooked, unhooked) = examination
            .installed
            .iter()
            .cloned()
            .partition(|framework| {
                let chosen = |hook| framework.hooks.contains(hook);
                config.mode != Mode::Disabled && config.hooks.iter().any(chosen)
            });
        let set = every_setting().filter_map(|setting| {
            let value = settings.get(setting.variable)?;
            Some(Set {
                variable: setting.variable,
                value: setting.shown(value),
                origin: value.origin().to_string(),
            })
        });
        let warnings = settings.warnings();
        let mut report = Self {
            version: env!("CARGO_PKG_VERSION"),
            host: host(),
            rank: Rank::find(settings.environment()),
            hooked,
            unhooked,
            offline: config.mode == Mode::Offline,
            settings: set.collect(),
            problems: warnings
                .iter()
                .chain(&errors)
                .map(ToString::to_string)
                .collect(),
            method: if config.signs_with_certificate() {
                "certificate"
            } else if config.signs_with_key() {
                "key"
            } else {
                "sigstore"
            },
            key: None,
            sources: Vec::new(),
            token: None,
            services: Vec::new(),
            trust: None,
            public_record: false,
            signature_made: false,
            spool: None,
            wrong_settings: errors.len(),
            obstacles: errors.iter().map(advised).collect(),
        };
        if config.mode == Mode::Disabled {
            report.obstacles.push(advised(&Error::Disabled));
        }
        report.look_at_spool(settings, &config);
        let asked = examination.fetch || examination.sign;
        let outcome = if report.offline && !asked {
            let spool = config.spool.as_ref();
            let spool = spool.map(|folder| Spool::new(folder.clone(), String::new()));
            spool.map_or(Ok(()), |spool| spool.list().map(drop))
        } else if config.signs_with_key() {
            report.look_at_key(&config, examination)
        } else {
            report.look_at_keyless(&config, examination)
        };
        match outcome {
            Ok(()) => report.signature_made = examination.sign,
            Err(error) => report.obstacles.push(advised(&error)),
        }
        report
    }

    /// Whether what is saved will be signed, as far as can be told.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.obstacles.is_empty()
    }

    /// The same as JSON, with `ready`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(report) = value.as_object_mut() {
            report.insert("ready".to_owned(), self.is_ready().into());
        }
        format!("{value:#}")
    }

    fn look_at_spool(&mut self, settings: &Settings, config: &Config) {
        let Some(folder) = &config.spool else {
            let why = config.without_spool(settings);
            self.spool = why.as_ref().map(advised);
            return;
        };
        let listed = Spool::new(folder.clone(), String::new()).list();
        let records = match listed {
            Ok(records) => records.len(),
            Err(error) => {
                self.spool = Some(advised(&error));
                return;
            }
        };
        let mut text = format!("{}, {records} unsigned", folder.display());
        // It is made when it is first needed.
        let there = folder.ancestors().find(|folder| folder.exists());
        if let Some(there) = there {
            if let Ok(found) = statvfs(there) {
                let free = found.f_bavail.saturating_mul(found.f_frsize);
                text = format!("{text}, {} free", size_text(free));
            }
            if let Some(kind) = short_lived(there) {
                text = format!(
                    "{text}, on {kind}: what is unsigned then is forgotten; set MODEL_SIGNING_SPOOL to a folder on a volume that stays"
                );
            }
            if access(there, Access::WRITE_OK).is_err() {
                text =
                    format!("{text}, cannot be written: nothing would remember what is unsigned");
            }
        }
        self.spool = Some(text);
    }

    /// A PIN is tried only where somebody asked for it: a token locks itself after a few wrong ones.
    fn look_at_key(&mut self, config: &Config, examination: &Examination) -> Result<(), Error> {
        let Some(PrivateKey::Token(uri)) = &config.private_key else {
            return try_out(config.key_signer()?.as_ref());
        };
        let look = Pkcs11Uri::parse(uri)?.look()?;
        self.key = Some(on_token(&look, examination.sign));
        if config.signs_with_certificate() && config.certificate.is_none() {
            return Err(Error::NoCertificate);
        }
        if examination.sign {
            try_out(config.key_signer()?.as_ref())?;
        }
        Ok(())
    }

    fn look_at_keyless(&mut self, config: &Config, examination: &Examination) -> Result<(), Error> {
        let keyless = &config.keyless;
        let sources = keyless.sources()?;
        self.sources = sources.detect().into_iter().map(source).collect();
        let trust = keyless.signing_trust()?;
        self.public_record = trust.is_public();
        self.trust = Some(match keyless.repository() {
            Some(repository) => {
                let as_of = repository.known()?.as_of_text();
                format!("{} as of {as_of}", repository.url())
            }
            None => keyless.name(),
        });
        let connection = keyless.connection()?;
        for (kind, url) in trust.addresses() {
            let look = connection.look(kind, url);
            // Nobody logs in while training.
            if let (Err(error), false) = (&look, kind == "login") {
                self.obstacles.push(format!("{error}; {}", error.hint()));
            }
            self.services.push(service(kind, url, look));
        }
        let (signer, _) = keyless.signer()?;
        if examination.fetch {
            let introduced = signer.introduce()?;
            let left = introduced
                .ends
                .and_then(|ends| ends.duration_since(SystemTime::now()).ok());
            self.token = Some(Token {
                issuer: introduced.issuer,
                subject: introduced.subject,
                seconds_left: left.map(|left| left.as_secs()),
                signs_as: introduced.name,
            });
        }
        if examination.sign {
            let mut keyless = keyless.clone();
            if keyless.instance == Instance::Production {
                keyless.instance = Instance::Staging;
                // It has services of its own.
                (keyless.rekor_version, keyless.timestamp_url) = (None, None);
            }
            try_out(&keyless.signer()?.0)?;
        }
        Ok(())
    }
}

/// `error` and what to do about it; not to ask the doctor, who says this.
fn advised(error: &Error) -> String {
    let hint = match error {
        Error::NoIdentity => {
            "give the job one of the sources above, or set MODEL_SIGNING_PRIVATE_KEY to the path of a PEM key"
        }
        Error::Signing(error) if matches!(error.root(), SigningError::NoToken { .. }) => {
            "give the job one of these, as they say"
        }
        other => other.hint(),
    };
    format!("{error}; {hint}")
}

/// What a file system is that goes with its machine or container; nothing where it stays.
fn short_lived(folder: &Path) -> Option<&'static str> {
    // As linux/magic.h has them.
    match statfs(folder).ok()?.f_type {
        0x794c_7630 => Some("an overlay, which goes with its container"),
        0x0102_1994 => Some("a tmpfs, which goes with its machine or container"),
        _ => None,
    }
}

fn on_token(look: &Pkcs11Look, tried: bool) -> String {
    let Pkcs11Look {
        token,
        model,
        serial,
        ..
    } = look;
    let mut text = format!("on the token {token:?} ({model}, serial {serial})");
    if !look.key {
        text.push_str(", hidden until somebody logs in");
    }
    if look.refused {
        text.push_str(", which has refused a PIN since the last good one");
    }
    if look.pin && !tried {
        text.push_str("; the PIN is not tried without --sign-test");
    }
    text
}

/// Signs the program that runs here, and throws the signature away.
fn try_out(signer: &dyn Signer) -> Result<(), Error> {
    let ignore = Ignore::git();
    let program = std::env::current_exe().map_err(|source| SigningError::Io {
        action: "find",
        path: "/proc/self/exe".into(),
        source,
    })?;
    let manifest = hash(&program, &ignore, Hashing::default())?;
    seal(&Statement::new(manifest, ignore), signer)?;
    Ok(())
}

fn source((name, detection): (&'static str, Detection)) -> Source {
    let here = detection.is_here();
    let (Detection::Here(reason) | Detection::NotHere(reason)) = detection;
    Source { name, here, reason }
}

fn service(kind: &'static str, url: &str, look: Result<Look, SigningError>) -> Service {
    Service {
        kind,
        url: url_shown(url),
        milliseconds: look.as_ref().ok().map(|look| look.took.as_millis()),
        clock_ahead: look.as_ref().ok().and_then(|look| look.skew),
        error: look.err().map(|error| error.to_string()),
    }
}
