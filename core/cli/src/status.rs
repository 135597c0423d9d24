//! `model-signing status`

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use autosign_session::{Settings, Spooled};
use clap::Args;
use serde_json::{Value, json};

use crate::{BAD, GOOD, USAGE, config, say, shown, spooled, spools_exist};

#[derive(Args)]
pub(crate) struct Status {
    /// The spool folder. Default: the one of MODEL_SIGNING_SPOOL.
    spool: Option<PathBuf>,
    /// Print JSON: one object for each checkpoint.
    #[arg(long)]
    json: bool,
}

impl Status {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Some(config) = config(settings, err) else {
            return USAGE;
        };
        if !spools_exist(&self.spool, err) {
            return USAGE;
        }
        let Some(folder) = self.spool.or_else(|| config.spool.clone()) else {
            let why = config.without_spool(settings);
            let why = why.map(|error| error.to_string()).unwrap_or_default();
            let nothing = if self.json { "[]" } else { &why };
            say(out, format_args!("{nothing}"));
            return GOOD;
        };
        let Some(spooled) = spooled(folder.clone(), err) else {
            return BAD;
        };
        if self.json {
            let all: Value = spooled.iter().map(object).collect();
            say(out, format_args!("{all:#}"));
            return GOOD;
        }
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        for one in &spooled {
            say(out, format_args!("{}", line(one, now)));
        }
        say(
            out,
            format_args!("{} unsigned in {}", spooled.len(), shown(folder)),
        );
        GOOD
    }
}

fn line(spooled: &Spooled, now: u64) -> String {
    let record = &spooled.record;
    let age = now.saturating_sub(record.saved);
    let state = if spooled.owned {
        "its program runs"
    } else {
        "waits for a flush"
    };
    let why = match (&record.error, &record.digest) {
        (Some(error), _) => error.as_str(),
        (None, Some(_)) => "hashed",
        (None, None) => "not tried yet",
    };
    format!(
        "{}  saved {age} s ago by {}, {state}: {why}",
        shown(&record.checkpoint.root),
        record.checkpoint.framework
    )
}

fn object(spooled: &Spooled) -> Value {
    let record = &spooled.record;
    json!({
        "path": record.checkpoint.root.to_string_lossy(),
        "framework": record.checkpoint.framework,
        "bytes": record.checkpoint.bytes(),
        "saved": record.saved,
        "digest": record.digest,
        "signer": record.signer,
        "error": record.error,
        "owned": spooled.owned,
    })
}
