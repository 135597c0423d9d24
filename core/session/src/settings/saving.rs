//! What is signed, and when.

use autosign_signing::Placement;

use super::Setting;
use crate::config::{Mode, OnError};
use crate::selection::globs;
use crate::show::Show;
use crate::values;

pub(super) const ROWS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_MODE",
        values: "background, inline, offline, disabled",
        default: "background",
        about: "Sign after the save has returned, before it returns, elsewhere, or not at all (the import then does nothing). `offline` hashes after the save has returned, leaves the digest in the spool for `model-signing flush`, and asks for no key and no network.",
        show: Show::Whole,
        read: |config, value| {
            config.mode = match value.to_str()? {
                "background" => Mode::Background,
                "disabled" => Mode::Disabled,
                "inline" => Mode::Inline,
                "offline" => Mode::Offline,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_ON_ERROR",
        values: "warn, raise, ignore",
        default: "warn",
        about: "What a failed signature does: one line on stderr, an exception from the save (which then waits for its signature), or nothing. The checkpoint stays in the spool in every case.",
        show: Show::Whole,
        read: |config, value| {
            config.on_error = match value.to_str()? {
                "ignore" => OnError::Ignore,
                "raise" => OnError::Raise,
                "warn" => OnError::Warn,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_HOOKS",
        values: "auto, none, or a list of accelerate, datasets, deepspeed, diffusers, flax, gguf, joblib, keras, lightgbm, lightning, mlflow, numpy, onnx, orbax, peft, safetensors, tensorflow, torch, torch_distributed, transformers, wandb, xgboost",
        default: "auto",
        about: "Whose saves are signed. `auto` is every framework that the program imports, but joblib, lightgbm, mlflow, numpy, onnx, wandb and xgboost, which are to be named: `auto,joblib`.",
        show: Show::Whole,
        read: |config, value| {
            config.hooks = names(value.to_str()?);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_PLUGINS",
        values: "list of lightning",
        default: "",
        about: "Frameworks that are to load our callback by themselves, where signing is not switched on otherwise.",
        show: Show::Whole,
        read: |config, value| {
            config.plugins = names(value.to_str()?);
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_INCLUDE",
        values: "list of globs",
        default: "",
        about: "Sign only what matches one of these: `*` and `?` stand for anything but `/`, `**` for any folders, `[ab]` for one of these letters. A glob without `/` is for the last name of the saved path, one with `/` for all of it, absolute and without symbolic links.",
        show: Show::Whole,
        read: |config, value| {
            config.selection.include = globs(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EXCLUDE",
        values: "list of globs",
        default: "",
        about: "Do not sign what matches one of these, even if it is included.",
        show: Show::Whole,
        read: |config, value| {
            config.selection.exclude = globs(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_MIN_SIZE",
        values: "size, such as 4096, 10MB or 1GiB",
        default: "0",
        about: "Do not sign what is smaller, all its files together. Units: B, kB, MB, GB, TB, KiB, MiB, GiB, TiB.",
        show: Show::Whole,
        read: |config, value| {
            config.selection.min_size = values::size(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EVERY",
        values: "number from 1",
        default: "1",
        about: "Sign only each n-th of the saves that one framework makes in one folder, and the last one: that is held until a flush or the program's end.",
        show: Show::Whole,
        read: |config, value| {
            config.selection.every = value.to_str()?.parse().ok()?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SIGNATURE",
        values: "auto, beside, hidden",
        default: "auto",
        about: "Where the signature of a file goes: `NAME.sig` beside it, or `.signatures/files/NAME.sig`, for scripts that resume from whatever is the newest file of a folder. `auto` is beside, but hidden for Keras and datasets, whose guides or readers take every file of a folder for a checkpoint or for data. Verifying finds both. That of a folder is `model.sig` in it.",
        show: Show::Whole,
        read: |config, value| {
            config.placement = match value.to_str()? {
                "auto" => None,
                "beside" => Some(Placement::Beside),
                "hidden" => Some(Placement::Hidden),
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SETTLE",
        values: "duration, such as 2s or 1m",
        default: "2s",
        about: "How long a folder must have been left alone before it is signed in the background: other saves into it often follow the first. A flush and the program's end do not wait for it.",
        show: Show::Whole,
        read: |config, value| {
            config.settle = values::duration(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_RUN",
        values: "text of at most 256 bytes",
        default: "a random one for each process",
        about: "Which training this is, the same when it is started again: it is signed with each checkpoint, as are the step where the framework tells it, the time, and which one was signed before. `verify --run`, `--min-step`, `--max-age` and `--last-seen` then refuse an older one in the place of a newer.",
        show: Show::Whole,
        read: |config, value| {
            config.run = Some(values::run_name(value.to_str()?)?.to_owned());
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_IGNORE_GIT_PATHS",
        values: "true, false (or 1, 0, yes, no, on, off)",
        default: "true",
        about: "Leave .git, .gitattributes, .github and .gitignore at the top of a folder out of what is signed.",
        show: Show::Whole,
        read: |config, value| {
            config.ignore_git_paths = values::boolean(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_THREADS",
        values: "auto, or a number from 1",
        default: "auto",
        about: "Threads that hash. `auto`: one while training goes on, every core while the program waits.",
        show: Show::Whole,
        read: |config, value| {
            config.threads = match value.to_str()? {
                "auto" => None,
                number => Some(number.parse().ok()?),
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_SPOOL",
        values: "path, or off",
        default: "$XDG_STATE_HOME/model-signing/spool",
        about: "Folder that remembers unsigned checkpoints until `model-signing flush` or the next start signs them. $XDG_STATE_HOME is ~/.local/state where it is not set; without $HOME there is no spool, and a line says so.",
        show: Show::Path,
        read: |config, value| {
            config.spool = if value.text() == "off" {
                None
            } else {
                Some(value.path().filter(|_| !value.was_secret)?)
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_DRAIN_TIMEOUT",
        values: "duration, such as 90s or 5m",
        default: "120s",
        about: "How long the program's end may wait for signatures. What is left then stays in the spool.",
        show: Show::Whole,
        read: |config, value| {
            config.drain_timeout = values::duration(value.to_str()?)?;
            Some(())
        },
    },
];

fn names(list: &str) -> Vec<String> {
    let names = list.split(',').map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}
