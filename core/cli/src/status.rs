//! `model-signing status`

use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use autosign_session::{Settings, Spool, Spooled};
use clap::Args;

use crate::{BAD, GOOD, USAGE, config, say, shown};

#[derive(Args)]
pub(crate) struct Status {
    /// The spool folder. Default: the one of MODEL_SIGNING_SPOOL.
    spool: Option<PathBuf>,
}

impl Status {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Some(config) = config(settings, err) else {
            return USAGE;
        };
        let Some(folder) = self.spool.or(config.spool) else {
            say(out, format_args!("There is no spool"));
            return GOOD;
        };
        let spooled = match Spool::new(folder.clone(), String::new()).list() {
            Ok(spooled) => spooled,
            Err(error) => {
                say(err, format_args!("{error}; {}", error.hint()));
                return BAD;
            }
        };
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
    let why = record.error.as_deref().unwrap_or("not tried yet");
    format!(
        "{}  saved {age} s ago by {}, {state}: {why}",
        shown(&record.checkpoint.root),
        record.checkpoint.framework
    )
}
