//! `model-signing forget`

use std::io::Write;
use std::path::{Path, PathBuf};

use autosign_session::{Settings, Spooled};
use clap::Args;

use crate::{BAD, GOOD, USAGE, config, say, shown, spooled, spools_exist};

#[derive(Args)]
pub(crate) struct Forget {
    /// Checkpoints, as `model-signing status` names them; they stay unsigned.
    #[arg(required = true)]
    checkpoints: Vec<PathBuf>,
    /// The spool folder. Default: the one of MODEL_SIGNING_SPOOL.
    #[arg(long)]
    spool: Option<PathBuf>,
}

impl Forget {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        let Some(config) = config(settings, err) else {
            return USAGE;
        };
        if !spools_exist(&self.spool, err) {
            return USAGE;
        }
        let Some(folder) = self.spool.or_else(|| config.spool.clone()) else {
            if let Some(error) = config.without_spool(settings) {
                say(err, format_args!("{error}; {}", error.hint()));
            }
            return USAGE;
        };
        let Some(spooled) = spooled(folder, err) else {
            return BAD;
        };
        let mut all_known = true;
        for checkpoint in &self.checkpoints {
            let (word, is_known) = forget(&spooled, checkpoint);
            all_known &= is_known;
            let line = format!("{}: {word}", shown(checkpoint));
            say(if is_known { out } else { err }, format_args!("{line}"));
        }
        if all_known { GOOD } else { BAD }
    }
}

/// Forgets the records of `checkpoint`. What to say, and whether there were any.
fn forget(spooled: &[Spooled], checkpoint: &Path) -> (&'static str, bool) {
    let path = std::path::absolute(checkpoint).unwrap_or_else(|_| checkpoint.to_path_buf());
    let of_it = |one: &&Spooled| {
        let root = &one.record.checkpoint.root;
        *root == path || path.canonicalize().is_ok_and(|path| *root == path)
    };
    let mut found = spooled.iter().filter(of_it).peekable();
    if found.peek().is_none() {
        return ("the spool has no record of it", false);
    }
    if found.clone().any(|one| one.owned) {
        return ("its program runs and is going to sign it", false);
    }
    found.for_each(Spooled::forget);
    ("forgotten, and unsigned", true)
}
