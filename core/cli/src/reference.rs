//! `model-signing reference`: the page of every command and option, from what clap knows.

use std::fmt::Write as _;
use std::io::Write;

use clap::{Arg, ArgAction, Command, CommandFactory};

use crate::{Cli, GOOD, log, say, show, verdict};

pub(crate) fn run(out: &mut dyn Write) -> u8 {
    say(out, format_args!("{}", page().trim_end()));
    GOOD
}

fn page() -> String {
    let mut cli = Cli::command();
    cli.build();
    let mut page = String::from(BEFORE);
    tell(&mut cli, &mut page);
    for (heading, fields) in [
        (JSON, verdict::FIELDS),
        (SHOWN, show::FIELDS),
        (AUDIT, log::FIELDS),
    ] {
        page.push_str(heading);
        for (field, about) in fields {
            let _ = writeln!(page, "| `{field}` | {about} |");
        }
    }
    page
}

const BEFORE: &str = "# Commands

Every option may be spelled with `_` for `-`, and of one that is given twice the last counts, unless it may be given several
times. Exit codes: 0 good, 1 bad, 2 wrong usage, 3 unsigned; `run` and `doctor` say their own.

This page is printed by `model-signing reference`.
";

const JSON: &str = "
## `verify --json`

One object on stdout in the place of all that stdout says else; stderr and exit codes are as without it. A command that cannot
be understood gets no JSON. There may be fields that are not listed here.

| field | |
|---|---|
";

const SHOWN: &str = "
## `show --json`

One object on stdout: what the signature file says of itself. Nothing of it has been verified.

| field | |
|---|---|
";

const AUDIT: &str = "
## `log verify --json`

One object on stdout; stderr and exit codes are as without it.

| field | |
|---|---|
";

fn tell(command: &mut Command, page: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let about = command.get_long_about().or(command.get_about());
    let about = about
        .map(ToString::to_string)
        .map(sentence)
        .unwrap_or_default();
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let _ = write!(page, "\n## `{name}`\n\n{about}\n\n```text\n{usage}\n```\n");
    let shown = |arg: &&Arg| !arg.is_hide_set() && arg.get_id() != "help";
    let args: Vec<_> = command.get_arguments().filter(shown).collect();
    if !args.is_empty() {
        page.push_str("\n| | |\n|---|---|\n");
        for arg in args {
            let _ = writeln!(page, "| {} | {} |", spelled(arg), about_arg(arg));
        }
    }
    if let Some(after) = command.get_after_help() {
        let _ = write!(page, "\n{after}\n");
    }
    for sub in command.get_subcommands_mut() {
        tell(sub, page);
    }
}

fn spelled(arg: &Arg) -> String {
    let text = if arg.is_positional() {
        arg.to_string()
    } else {
        // Without the mark of what may be given several times, which the text says.
        arg.to_string().trim_end_matches("...").to_owned()
    };
    format!("`{}`", text.replace('|', "\\|"))
}

/// With the full stop that clap takes away.
fn sentence(mut text: String) -> String {
    if !text.ends_with(['.', ')']) {
        text.push('.');
    }
    text
}

fn about_arg(arg: &Arg) -> String {
    let help = arg.get_long_help().or(arg.get_help());
    let text = help.map(ToString::to_string);
    let mut text = text.map(sentence).unwrap_or_default();
    text = text
        .replace('\n', " ")
        .replace('|', "\\|")
        .replace('<', "\\<");
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let values: Vec<_> = arg
        .get_possible_values()
        .iter()
        .filter(|value| takes_value && !value.is_hide_set())
        .map(|value| format!("`{}`", value.get_name()))
        .collect();
    if !values.is_empty() {
        let _ = write!(text, " One of {}.", values.join(", "));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .filter(|_| takes_value)
        .map(|value| format!("`{}`", value.to_string_lossy()))
        .collect();
    if !defaults.is_empty() {
        let _ = write!(text, " Default: {}.", defaults.join(", "));
    }
    if arg.is_required_set() && !arg.is_positional() {
        text.push_str(" Required.");
    }
    text
}
