//! The command line as clap knows it: upstream's spellings, and its default method.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::Command;

use crate::secrets::takes_secret;

/// The option of the whole command that takes a value.
const WITH_VALUE: &str = "--log-level";

/// `args` with `-` for `_` in the names of options, and with the default method. What follows `run` is not ours to
/// spell.
pub(crate) fn spelled(args: Vec<OsString>, cli: &Command) -> Vec<OsString> {
    let place = command_place(&args);
    let is_run = args.get(place).is_some_and(|command| command == "run");
    let end = if is_run {
        place
    } else {
        let end = args.iter().position(|arg| arg == "--");
        end.unwrap_or(args.len())
    };
    let mut is_secret = false;
    let args = args.into_iter().enumerate().map(|(at, arg)| {
        if at >= end || std::mem::take(&mut is_secret) {
            return arg;
        }
        let arg = hyphens(arg);
        is_secret = takes_secret(&arg);
        arg
    });
    with_method(args.collect(), place, cli)
}

/// Where the name of the command stands, behind the options of the whole.
fn command_place(args: &[OsString]) -> usize {
    let mut place = 1;
    while let Some(arg) = args.get(place) {
        if !arg.as_bytes().starts_with(b"-") {
            break;
        }
        place += if hyphens(arg.clone()) == WITH_VALUE {
            2
        } else {
            1
        };
    }
    place
}

/// `sign MODEL` to `sign sigstore MODEL`: the default method may be left out, as with upstream.
fn with_method(mut args: Vec<OsString>, place: usize, cli: &Command) -> Vec<OsString> {
    const HELP: [&str; 3] = ["help", "--help", "-h"];
    let command = args.get(place).and_then(|arg| arg.to_str());
    let command = command.filter(|name| matches!(*name, "sign" | "verify"));
    let command = command.and_then(|name| cli.find_subcommand(name));
    if let (Some(command), Some(next)) = (command, args.get(place + 1)) {
        let mut methods = command.get_subcommands().map(Command::get_name);
        if !methods.any(|method| next == method) && !HELP.iter().any(|help| next == help) {
            args.insert(place + 1, OsStr::new("sigstore").to_owned());
        }
    }
    args
}

/// `--private_key=a_b` to `--private-key=a_b`: upstream knows both spellings.
fn hyphens(arg: OsString) -> OsString {
    let bytes = arg.as_bytes();
    if !bytes.starts_with(b"--") {
        return arg;
    }
    let end = bytes
        .iter()
        .position(|&byte| byte == b'=')
        .unwrap_or(bytes.len());
    let spelled = bytes
        .iter()
        .enumerate()
        .map(|(at, &byte)| if at < end && byte == b'_' { b'-' } else { byte });
    OsString::from_vec(spelled.collect())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn spelled(line: &str) -> String {
        let args = line.split(' ').map(OsString::from).collect();
        let args = super::spelled(args, &crate::Cli::command());
        args.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn underscores_only_in_option_names() {
        for (line, expected) in [
            ("m digest --max_workers", "m digest --max-workers"),
            (
                "m sign key --private_key=my_key.pem",
                "m sign key --private-key=my_key.pem",
            ),
            (
                "m sign key --password --a_b --ignore_paths x",
                "m sign key --password --a_b --ignore-paths x",
            ),
            ("m digest my_model -x_y", "m digest my_model -x_y"),
            ("m digest -- --my_model", "m digest -- --my_model"),
            (
                "m --log_level debug run --a_b c_d",
                "m --log-level debug run --a_b c_d",
            ),
        ] {
            assert_eq!(spelled(line), expected);
        }
    }

    #[test]
    fn the_default_method_may_be_left_out() {
        for (line, expected) in [
            ("m sign a", "m sign sigstore a"),
            ("m verify --x a", "m verify sigstore --x a"),
            (
                "m --log_level=info sign a",
                "m --log-level=info sign sigstore a",
            ),
            (
                "m --log-level sign verify a",
                "m --log-level sign verify sigstore a",
            ),
        ] {
            assert_eq!(spelled(line), expected);
        }
        for same in [
            "m sign key a",
            "m verify certificate a",
            "m sign sigstore a",
            "m sign --help",
            "m sign",
            "m digest a",
            "m --version",
            "m",
        ] {
            assert_eq!(spelled(same), same);
        }
    }
}
