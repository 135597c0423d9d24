//! `model-signing trust`

use std::io::Write;
use std::path::{Path, PathBuf};

use autosign_session::{Error, Instance, Keyless, Settings};
use autosign_signing::{Manner, TrustConfig, TufRepository, publish};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::{GOOD, InstanceArgs, USAGE, config, failed, say, shown};

#[derive(Subcommand)]
pub(crate) enum Trust {
    /// Say which services sign, and which keys and certificates are believed.
    Show(InstanceArgs),
    /// Trust an instance that is no public one: what its TUF repository says, as far as it follows from its root.json.
    Add(Add),
    /// Fetch what the instance says now.
    Refresh(InstanceArgs),
    /// Make a trust config of cosign's two files.
    Import(Import),
    /// Make cosign's two files, trusted_root.json and signing_config.json, of a trust config.
    Export(Export),
}

#[derive(Args)]
pub(crate) struct Import {
    /// cosign's trusted_root.json.
    #[arg(long, value_name = "PATH")]
    trusted_root: PathBuf,
    /// cosign's signing_config.json. Without it the trust config can only verify.
    #[arg(long, value_name = "PATH")]
    signing_config: Option<PathBuf>,
    /// The trust config to write.
    output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Add {
    /// The TUF repository of the instance.
    url: String,
    /// Its root.json, from a person whom you trust.
    root: PathBuf,
}

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    instance: InstanceArgs,
    /// The folder to write to.
    output: PathBuf,
}

impl Trust {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Some(config) = config(settings, err) else {
            return USAGE;
        };
        let mut keyless = config.keyless;
        let done = match self {
            Self::Show(instance) => instance
                .apply(&mut keyless, settings)
                .and_then(|()| show(&keyless, out)),
            Self::Add(add) => add.run(keyless, out),
            Self::Refresh(instance) => instance
                .apply(&mut keyless, settings)
                .and_then(|()| refresh(&keyless, out)),
            Self::Import(import) => import.run(),
            Self::Export(export) => export
                .instance
                .apply(&mut keyless, settings)
                .and_then(|()| Ok(keyless.trust()?))
                .and_then(|trust| write_parts(&trust, &export.output)),
        };
        match done {
            Ok(()) => GOOD,
            Err(error) => failed(err, "Trust", &error),
        }
    }
}

impl Import {
    fn run(&self) -> Result<(), Error> {
        let config = self.signing_config.as_deref();
        let trust = TrustConfig::read_parts(&self.trusted_root, config)?;
        write(&self.output, &trust.to_json())
    }
}

fn write_parts(trust: &TrustConfig, folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| autosign_signing::Error::Io {
        action: "make",
        path: folder.into(),
        source,
    })?;
    write(&folder.join("trusted_root.json"), trust.trusted_root_json())?;
    if let Some(config) = trust.signing_config_json() {
        write(&folder.join("signing_config.json"), config)?;
    }
    Ok(())
}

fn write(path: &Path, json: &Value) -> Result<(), Error> {
    let mut text = format!("{json:#}").into_bytes();
    text.push(b'\n');
    publish(path, &text, Manner::Plain)?;
    Ok(())
}

impl Add {
    fn run(self, mut keyless: Keyless, out: &mut dyn Write) -> Result<(), Error> {
        keyless.instance = match Instance::named(&self.url) {
            Some(tuf @ Instance::Tuf(_)) => tuf,
            _ => Instance::Tuf(self.url),
        };
        repository(&keyless)?.trust(&self.root, &keyless.connection()?)?;
        show(&keyless, out)
    }
}

fn refresh(keyless: &Keyless, out: &mut dyn Write) -> Result<(), Error> {
    repository(keyless)?.refresh(&keyless.connection()?)?;
    show(keyless, out)
}

fn repository(keyless: &Keyless) -> Result<TufRepository, Error> {
    keyless.repository().ok_or(Error::NothingToFetch)
}

fn show(keyless: &Keyless, out: &mut dyn Write) -> Result<(), Error> {
    let known = keyless.repository().map(|repository| repository.known());
    let known = known.transpose()?;
    let from = match &keyless.instance {
        Instance::Production => "the public-good instance".to_owned(),
        Instance::Staging => "the staging instance".to_owned(),
        Instance::Files(files) => {
            let paths: Vec<_> = files.paths().map(shown).collect();
            paths.join(" and ")
        }
        Instance::Tuf(url) => format!("{url:?}"),
    };
    let trust = if let Some(known) = known {
        let as_of = known.as_of_text();
        say(out, format_args!("trust of {from} as of {as_of}"));
        known.trust
    } else {
        say(out, format_args!("trust of {from}"));
        keyless.trust()?
    };
    for (kind, url) in trust.addresses() {
        say(out, format_args!("{kind:13} {}", url.escape_debug()));
    }
    for (name, kind) in [
        ("certificateAuthorities", "believed CA"),
        ("timestampAuthorities", "believed TSA"),
        ("tlogs", "believed log"),
        ("ctlogs", "believed CT"),
    ] {
        let entries = trust
            .trusted_root_json()
            .get(name)
            .and_then(Value::as_array);
        for entry in entries.into_iter().flatten() {
            let text = |at: &str| entry.pointer(at).and_then(Value::as_str).unwrap_or("");
            let name = [text("/baseUrl"), text("/uri")].concat();
            let window = if entry.get("validFor").is_some() {
                "/validFor"
            } else {
                "/publicKey/validFor"
            };
            let (start, end) = (
                text(&format!("{window}/start")),
                text(&format!("{window}/end")),
            );
            let line = format!("{kind:13} {name} {start} to {end}");
            say(out, format_args!("{}", line.trim_end().escape_debug()));
        }
    }
    let public = if trust.is_public() { "yes" } else { "no" };
    say(out, format_args!("public record {public}"));
    Ok(())
}
