//! No secret of a command line is repeated: what is wrong on one is often shown, and kept in logs.

use std::ffi::{OsStr, OsString};

use autosign_signing::{is_secret, without_secrets};

/// The options whose value may be a secret.
const SECRETS: [&str; 4] = [
    "--client-secret",
    "--identity-token",
    "--password",
    "--private-key",
];

/// The first of `args` that is a private key or a token where none belongs: the option that it stands behind.
pub(crate) fn misplaced(args: &[OsString]) -> Option<&str> {
    let mut option = None;
    for arg in args {
        let text = arg.to_str().unwrap_or_default();
        let (name, value) = match text.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (Some(name), value),
            _ => (option, text),
        };
        if is_secret(value) && !name.is_some_and(|name| takes_secret(name.as_ref())) {
            return name.filter(|name| !is_secret(name)).or(Some("an argument"));
        }
        option = Some(text).filter(|text| text.starts_with("--") && !text.contains('='));
    }
    None
}

/// `text` without keys and tokens, and without the PINs of PKCS#11 URIs.
pub(crate) fn clean(text: &str) -> String {
    const PIN: &str = "pin-value=";
    let text = without_secrets(text);
    let mut parts = text.split(PIN);
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['&', '\n']).unwrap_or(part.len());
        clean.push_str(PIN);
        clean.push('…');
        clean.push_str(part.get(end..).unwrap_or_default());
    }
    clean
}

/// Whether `arg` is an option whose value may be a secret, and look like an option.
pub(crate) fn takes_secret(arg: &OsStr) -> bool {
    SECRETS.iter().any(|secret| arg == *secret)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::fs;
    use std::path::Path;

    use autosign_session::Settings;
    use clap::{Arg, Command, CommandFactory};

    use super::*;
    use crate::{Cli, Interpreter, USAGE, run};

    /// Every command that does something, with the words that lead to it.
    fn commands(command: &Command, words: &[String], all: &mut Vec<(Vec<String>, Command)>) {
        for inner in command.get_subcommands() {
            let words = [words, &[inner.get_name().to_owned()]].concat();
            commands(inner, &words, all);
            if inner.get_subcommands().next().is_none() {
                all.push((words, inner.clone()));
            }
        }
    }

    /// A command line with `value` for `arg`, and something harmless wherever something must be.
    fn line(
        words: &[String],
        command: &Command,
        arg: &Arg,
        value: &str,
        folder: &Path,
    ) -> Vec<OsString> {
        let mut line = vec!["model-signing".into()];
        line.extend(words.iter().map(OsString::from));
        let nothing = folder.join("nothing").display().to_string();
        for other in command.get_arguments() {
            let text = match other.get_id() == arg.get_id() {
                true => value,
                false if other.is_required_set() => &nothing,
                false => continue,
            };
            line.extend(other.get_long().map(|name| format!("--{name}").into()));
            line.push(text.into());
        }
        line
    }

    #[test]
    fn no_option_repeats_a_secret_or_writes_one() {
        let read =
            |name: &str| fs::read_to_string(format!("../signing/tests/keys/{name}")).unwrap();
        let (key, locked) = (read("p256.pem"), read("p384.encrypted.pem"));
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ0cmFpbmVyIn0.c2lnbmF0dXJlLW9mLXRoYXQ";
        let url = "https://me:sesame-open-73550608@127.0.0.1:9/b?k=sesame-open-73550608";
        let secrets = [
            url,
            &key,
            &locked,
            &key.replace('\n', "\\n"),
            jwt,
            "sesame-open-73550608",
        ];
        // A password is known for one only where one, or its file, is asked for.
        let opaque = [
            "--client-secret",
            "--identity-token",
            "--identity-token-file",
            "--password",
            "--password-file",
        ];
        let mut all = Vec::new();
        commands(&Cli::command(), &[], &mut all);
        let mut looked_at = 0;
        for (words, command) in &all {
            for arg in command.get_arguments() {
                // What `run` runs is not ours, and may be told secrets.
                if !arg.get_action().takes_values() || words == &["run"] {
                    continue;
                }
                let name = format!("--{}", arg.get_long().unwrap_or_default());
                let is_url = ["--instance", "--oidc-issuer", "--timestamp-url"]
                    .contains(&name.as_str())
                    || arg.get_id() == "url";
                for secret in secrets {
                    let place = tempfile::tempdir().unwrap();
                    let line = line(words, command, arg, secret, place.path());
                    let known = if *secret == *url {
                        is_url
                    } else {
                        opaque.contains(&name.as_str())
                    };
                    if secret.contains("sesame") && !known {
                        continue;
                    }
                    looked_at += 1;
                    let (mut out, mut err) = (Vec::new(), Vec::new());
                    run(
                        line,
                        &Settings::default(),
                        Interpreter::default(),
                        &mut out,
                        &mut err,
                    );
                    let files = fs::read_dir(place.path()).unwrap();
                    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap());
                    let said = String::from_utf8([out, err].concat()).unwrap();
                    let said = said + &files.collect::<String>();
                    let parts = secret
                        .split(['\n', '\\', '.', '@', ':', '='])
                        .filter(|part| part.len() > 8 && !part.contains("---"));
                    for part in parts {
                        assert!(!said.contains(part), "{words:?} {name}: {said}");
                    }
                }
            }
        }
        assert!(looked_at > 300, "{looked_at}");
    }

    #[test]
    fn a_secret_in_the_place_of_something_else_is_named_by_its_option() {
        let jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJzIn0.c2ln";
        for (line, named) in [
            (vec!["m", "verify", "--signature", jwt], Some("--signature")),
            (vec!["m", "sign", "key", jwt], Some("an argument")),
            (vec!["m", "sign", "--identity-token", jwt], None),
            (vec!["m", "sign", "--identity-token=x", "x"], None),
        ] {
            let args: Vec<_> = line.iter().map(OsString::from).collect();
            assert_eq!(misplaced(&args), named, "{line:?}");
            let equals = format!("--trust-config={jwt}");
            let args = [args, vec![equals.into()]].concat();
            assert!(misplaced(&args).is_some());
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let args = ["m", "sign", "x", "--trust-config", jwt].map(OsString::from);
        let code = run(
            args,
            &Settings::default(),
            Interpreter::default(),
            &mut out,
            &mut err,
        );
        let said = String::from_utf8(err).unwrap();
        assert!(
            code == USAGE && said.contains("--trust-config is a private key"),
            "{said}"
        );
    }
}
