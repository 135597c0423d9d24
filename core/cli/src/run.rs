//! `model-signing run`

use std::env::{JoinPathsError, join_paths, split_paths};
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use autosign_session::{Config, Mode, OnError, Settings};
use clap::Args;

use crate::{failed, say, shown};

// Those of env(1), so that they are not taken for the program's own.
const NOT_TRIED: u8 = 125;
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

#[derive(Args)]
#[command(override_usage = "model-signing run -- COMMAND [ARGS]...", after_help = AFTER_HELP)]
pub(crate) struct Run {
    /// The program and its arguments.
    #[arg(
        value_name = "COMMAND [ARGS]",
        required = true,
        trailing_var_arg = true
    )]
    command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
Each Python 3 that the program is or starts, with this package installed, does as if `import model_signing.autosign` were \
the first line of its script. To tell it so, PYTHONPATH gets one folder more; a Python started with -I, -E or -S does \
not look there.

The program takes the place of this process. Exit codes: the program's own; 125 it was not tried, 126 it cannot be \
executed, 127 it was not found.

Example: model-signing run -- torchrun --nproc-per-node 2 train.py";

impl Run {
    pub(crate) fn run(
        self,
        settings: &Settings,
        startup: Option<PathBuf>,
        err: &mut dyn Write,
    ) -> u8 {
        let (config, errors) = Config::read(settings);
        // Other policies hear of a wrong setting from the program, which runs all the same.
        if let (OnError::Raise, Some(error)) = (config.on_error, errors.first()) {
            failed(err, "Starting", error);
            return NOT_TRIED;
        }
        let Some(startup) = startup else {
            say(
                err,
                format_args!(
                    "This `model-signing` belongs to no Python: install the Python package model-signing-autosign, and use the one that comes with it"
                ),
            );
            return NOT_TRIED;
        };
        let mut words = self.command.into_iter();
        let program = words.next().unwrap_or_default();
        let mut command = Command::new(&program);
        command.args(words);
        command.envs(settings.options());
        if config.mode != Mode::Disabled {
            match pythonpath(&startup, settings.environment().get("PYTHONPATH")) {
                Ok(path) => _ = command.env("PYTHONPATH", path),
                Err(error) => {
                    say(
                        err,
                        format_args!("{} cannot be in PYTHONPATH: {error}", shown(&startup)),
                    );
                    return NOT_TRIED;
                }
            }
        }
        let error = command.exec(); // comes back only with one
        say(
            err,
            format_args!("Starting {} failed with error: {error}", shown(&program)),
        );
        match error.kind() {
            ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        }
    }
}

/// `startup`, then what was there; once only, where one `run` starts another.
fn pythonpath(startup: &Path, before: Option<&OsStr>) -> Result<OsString, JoinPathsError> {
    let before = before.into_iter().flat_map(split_paths);
    let others = before.filter(|folder| folder != startup);
    join_paths(std::iter::once(startup.to_owned()).chain(others))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythonpath_keeps_what_was_there() {
        for (before, after) in [
            (None, "/s"),
            (Some("/a"), "/s:/a"),
            (Some("/a:rel/ative:~"), "/s:/a:rel/ative:~"),
            (Some(":/a::/b/:"), "/s::/a::/b/:"), // empty is the working directory
            (Some("/s"), "/s"),
            (Some("/a:/s:/b:/s"), "/s:/a:/b"),
            (Some("/s:"), "/s:"),
        ] {
            let path = pythonpath(Path::new("/s"), before.map(OsStr::new)).unwrap();
            assert_eq!(path, after, "{before:?}");
        }
        assert!(pythonpath(Path::new("/s:t"), None).is_err());
    }
}
