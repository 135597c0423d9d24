//! The stand-alone `model-signing` command.

use std::io::{stderr, stdout};
use std::process::ExitCode;

use autosign_cli::Interpreter;
use autosign_session::Settings;

fn main() -> ExitCode {
    let args = std::env::args_os();
    ExitCode::from(autosign_cli::run(
        args,
        &Settings::of_process(),
        Interpreter::default(),
        &mut stdout(),
        &mut stderr(),
    ))
}
