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

/// `sign MODEL` to `sign sigstore MODEL`: the method may be left out, as with upstream. It is the first that has all the
/// options which are given, so that `verify MODEL --public-key KEY` is `verify key`.
fn with_method(mut args: Vec<OsString>, place: usize, cli: &Command) -> Vec<OsString> {
    const HELP: [&str; 3] = ["help", "--help", "-h"];
    let name = |at: usize| args.get(at).and_then(|arg| arg.to_str());
    let (command, place) = match (name(place), name(place + 1)) {
        (Some(command @ ("sign" | "verify")), _) => (cli.find_subcommand(command), place + 1),
        (Some("log"), Some("verify")) => {
            let log = cli.find_subcommand("log");
            let verify = log.and_then(|log| log.find_subcommand("verify"));
            (verify, place + 2)
        }
        _ => return args,
    };
    let (Some(command), Some(next)) = (command, name(place)) else {
        return args;
    };
    let mut methods = command.get_subcommands();
    if HELP.contains(&next) || methods.any(|method| next == method.get_name()) {
        return args;
    }
    let given = options(args.get(place..).unwrap_or_default());
    let mut methods = command.get_subcommands();
    let method = methods.find(|method| given.iter().all(|name| has_option(method, name)));
    let method = method.map_or("sigstore", Command::get_name);
    args.insert(place, OsStr::new(method).to_owned());
    args
}

/// The names of the long options in `args`, without their dashes.
fn options(args: &[OsString]) -> Vec<&str> {
    let args = args.iter().map(|arg| arg.to_str().unwrap_or_default());
    let args = args.take_while(|arg| *arg != "--");
    let mut is_secret = false;
    let named = args.filter(|arg| {
        let is_value = std::mem::replace(&mut is_secret, takes_secret(arg.as_ref()));
        !is_value
    });
    let named = named.filter_map(|arg| arg.strip_prefix("--"));
    named
        .map(|name| name.split('=').next().unwrap_or_default())
        .filter(|name| *name != "help")
        .collect()
}

fn has_option(method: &Command, name: &str) -> bool {
    let mut arguments = method.get_arguments();
    arguments.any(|argument| argument.get_long() == Some(name))
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
            ("m verify a --public-key k", "m verify key a --public-key k"),
            (
                "m verify --public_key=k --ignore-paths b a",
                "m verify key --public-key=k --ignore-paths b a",
            ),
            (
                "m verify a --certificate-chain c --help",
                "m verify certificate a --certificate-chain c --help",
            ),
            ("m verify a --policy p", "m verify policy a --policy p"),
            (
                "m verify a --identity i --identity-provider p",
                "m verify sigstore a --identity i --identity-provider p",
            ),
            (
                "m verify a --identity i --public-key k",
                "m verify sigstore a --identity i --public-key k",
            ),
            ("m log verify a", "m log verify sigstore a"),
            (
                "m log verify a --public-key k",
                "m log verify key a --public-key k",
            ),
            ("m verify a --json", "m verify sigstore a --json"),
            (
                "m verify a -- --public-key",
                "m verify sigstore a -- --public-key",
            ),
            ("m sign a --private-key k", "m sign key a --private-key k"),
            (
                "m sign a --identity-token --private-key",
                "m sign sigstore a --identity-token --private-key",
            ),
            (
                "m sign a --private-key k --signing-certificate c",
                "m sign certificate a --private-key k --signing-certificate c",
            ),
            (
                "m sign a --pkcs11-uri u",
                "m sign pkcs11-key a --pkcs11-uri u",
            ),
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
            "m log verify key a",
            "m log verify --help",
            "m log verify",
            "m sign",
            "m digest a",
            "m --version",
            "m",
        ] {
            assert_eq!(spelled(same), same);
        }
    }
}
