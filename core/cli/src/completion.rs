//! `model-signing completion`

use std::io::Write;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;

use crate::{Cli, GOOD};

#[derive(Args)]
pub(crate) struct Completion {
    /// The shell that is to complete.
    shell: Known,
}

#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Fish,
    Zsh,
}

impl Completion {
    pub(crate) fn run(self, out: &mut dyn Write) -> u8 {
        let shell = match self.shell {
            Known::Bash => Shell::Bash,
            Known::Fish => Shell::Fish,
            Known::Zsh => Shell::Zsh,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "model-signing", &mut script);
        let _ = out.write_all(&script);
        GOOD
    }
}
