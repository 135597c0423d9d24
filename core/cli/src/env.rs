//! `model-signing env`

use std::fmt::Write as _;
use std::io::Write;

use autosign_session::{Environment, SETTINGS, Setting};
use clap::Args;

use crate::{GOOD, USAGE, say, settings};

#[derive(Args)]
pub(crate) struct Env {
    /// Print the reference page instead, which says what each setting does.
    #[arg(long)]
    markdown: bool,
}

impl Env {
    pub(crate) fn run(
        self,
        environment: &Environment,
        out: &mut dyn Write,
        err: &mut dyn Write,
    ) -> u8 {
        if self.markdown {
            say(out, format_args!("{}", page().trim_end()));
            return GOOD;
        }
        for setting in SETTINGS {
            say(out, format_args!("{}", line(setting, environment)));
        }
        if settings(environment, err).is_some() {
            GOOD
        } else {
            USAGE
        }
    }
}

fn line(setting: &Setting, environment: &Environment) -> String {
    match environment.get(setting.variable) {
        Some(value) => format!(
            "{}={}",
            setting.variable,
            setting.shown(value).escape_debug()
        ),
        None => format!("# {}={}", setting.variable, setting.default),
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Settings\n\nEverything is set by environment variables, read once when signing is switched on. An empty \
         value is no value. A wrong value is reported and its default used; a variable that looks like a setting and is none is reported, too.\n\nThis page is printed by \
         `model-signing env --markdown`.\n\n| variable | values | default | what it does |\n|---|---|---|---|\n",
    );
    for Setting {
        variable,
        values,
        default,
        about,
        ..
    } in SETTINGS
    {
        let default = if default.is_empty() {
            "none".to_owned()
        } else {
            format!("`{default}`")
        };
        let _ = writeln!(page, "| `{variable}` | {values} | {default} | {about} |");
    }
    page
}
