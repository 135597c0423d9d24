//! `model-signing env`

use std::fmt::Write as _;
use std::io::Write;

use autosign_session::{SETTINGS, Setting, Settings, every_setting};
use clap::Args;

use crate::{GOOD, USAGE, config, say};

#[derive(Args)]
pub(crate) struct Env {
    /// Print the reference page instead, which says what each setting does.
    #[arg(long)]
    markdown: bool,
    /// Say where each value came from, too: the command line, the environment, a configuration file, one that locks it, or default.
    #[arg(long)]
    origin: bool,
}

impl Env {
    pub(crate) fn run(self, settings: &Settings, out: &mut dyn Write, err: &mut dyn Write) -> u8 {
        if self.markdown {
            say(out, format_args!("{}", page().trim_end()));
            return GOOD;
        }
        for setting in every_setting() {
            say(out, format_args!("{}", self.line(setting, settings)));
        }
        if config(settings, err).is_some() {
            GOOD
        } else {
            USAGE
        }
    }

    fn line(&self, setting: &Setting, settings: &Settings) -> String {
        let (line, origin) = match settings.get(setting.variable) {
            Some(value) => {
                let shown = setting.shown(value);
                let line = format!("{}={}", setting.variable, shown.escape_debug());
                (line, value.origin().to_string())
            }
            None => (
                format!("# {}={}", setting.variable, setting.default),
                "default".to_owned(),
            ),
        };
        if self.origin {
            format!("{line}  ({})", origin.escape_debug())
        } else {
            line
        }
    }
}

fn page() -> String {
    let mut page = String::from(BEFORE);
    for (about, rows) in SETTINGS {
        let _ = write!(
            page,
            "\n## {about}\n\n| variable | values | default | what it does |\n|---|---|---|---|\n"
        );
        for row in *rows {
            let default = match row.default {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            let Setting {
                variable,
                values,
                about,
                ..
            } = row;
            let _ = writeln!(page, "| `{variable}` | {values} | {default} | {about} |");
        }
    }
    page.push_str(FILES);
    page
}

const BEFORE: &str = "# Settings

Everything can be set by environment variables and in files, read once when signing is switched on. An empty value is no
value. A wrong value is reported and its default used; what looks like a setting and is none is reported, too.
`model-signing env --origin` prints every value and where it came from.

This page is printed by `model-signing env --markdown`.
";

const FILES: &str = r#"
## Files

A configuration file is TOML. A key is the name of a setting in lower case without `MODEL_SIGNING_`; its value is text, a
whole number, `true` or `false`, or a list. A path that is not absolute starts at the file's folder, one
that begins with `~/`, as in a variable, at $HOME.

```toml
instance = "production"
hooks = ["torch", "safetensors"]
threads = 4

[locked]
public_log = "deny"
```

From the strongest to the weakest:

1. `[locked]` of `/etc/model-signing/config.toml`, for who administers a machine or an image: nothing else changes these,
   not an option of the command line either.
2. An argument of a function, an option of a command.
3. The environment.
4. The file that `MODEL_SIGNING_CONFIG` names.
5. `$XDG_CONFIG_HOME/model-signing/config.toml`; $XDG_CONFIG_HOME is `~/.config` where it is not set.
6. The rest of `/etc/model-signing/config.toml`.

Settings that answer one question overrule each other: a trust config in the environment goes before an instance in a
file. Nothing is read from the working directory or from a model's folder. A secret does not belong into these files: each
has a setting that names a file of its own.

Where the file in `/etc` cannot be read, or locks what cannot be understood, nothing is signed: checkpoints are hashed and
wait in the spool, and a line says why.
"#;
