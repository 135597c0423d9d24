//! What is said of it.

use super::Setting;
use crate::Sink;
use crate::config::{LogFormat, LogLevel};
use crate::show::Show;

pub(super) const ROWS: &[Setting] = &[
    Setting {
        variable: "MODEL_SIGNING_LOG_LEVEL",
        values: "debug, info, warning, error, critical, off",
        default: "info",
        about: "Lines on stderr: with `info` one for each signed checkpoint and for the first that a setting leaves out, with `debug` also one for each that was passed over, or replaced or removed before, with `warning` or `error` only what went wrong, with `critical` or `off` none.",
        show: Show::Whole,
        read: |config, value| {
            config.log_level = LogLevel::parse(value.to_str()?)?;
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_LOG_FORMAT",
        values: "text, json",
        default: "text",
        about: "What those lines look like: for people, or JSON as for MODEL_SIGNING_EVENTS.",
        show: Show::Whole,
        read: |config, value| {
            config.log_format = match value.to_str()? {
                "json" => LogFormat::Json,
                "text" => LogFormat::Text,
                _ => return None,
            };
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_EVENTS",
        values: "path, or - for stdout",
        default: "",
        about: "File that every event is appended to, whatever the log level is, one JSON object a line ([fields](events.md)).",
        show: Show::Path,
        read: |config, value| {
            config.events = Some(if value.text() == "-" {
                Sink::Stdout
            } else {
                Sink::File(value.path().filter(|_| !value.was_secret)?)
            });
            Some(())
        },
    },
    Setting {
        variable: "MODEL_SIGNING_CONFIG",
        values: "path",
        default: "",
        about: "A configuration file (see below) that goes before those in their usual places.",
        show: Show::Path,
        read: |_, value| value.path().map(drop),
    },
];
