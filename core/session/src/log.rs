//! Where events go: lines on stderr, and JSON lines in a file or on stdout.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::config::{LogFormat, LogLevel, OnError};
use crate::{Config, Error, Event, Listener, Settings};

/// Which of the standard streams are the program's: where it was started without one, the first file that it opens has that number.
static NO_STDERR: AtomicBool = AtomicBool::new(false);
static NO_STDOUT: AtomicBool = AtomicBool::new(false);

/// Tells which standard streams this process was started with. Nothing is written to those that it was started without.
pub fn standard_streams(stdout: bool, stderr: bool) {
    NO_STDOUT.store(!stdout, Ordering::Relaxed);
    NO_STDERR.store(!stderr, Ordering::Relaxed);
}

/// Where JSON lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sink {
    /// This file, an absolute path.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// The listener of a running program: what `config` asks for. It never fails and never buffers.
#[must_use]
pub fn listener(config: &Config) -> Listener {
    let (level, format, on_error) = (config.log_level, config.log_format, config.on_error);
    let said = Mutex::new(Said::default());
    let say = move |event: &Event| {
        let (needs, line) = said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .line(event);
        let hushed = on_error == OnError::Ignore && needs == LogLevel::Warning;
        let is_heard = !hushed && !NO_STDERR.load(Ordering::Relaxed);
        if needs <= level && is_heard {
            let line = match format {
                LogFormat::Json => format!("{}\n", event.json()),
                LogFormat::Text => format!("model-signing: {line}\n"),
            };
            // One write, so that lines of several threads and processes do not mix. Nobody is left to tell on failure.
            let _ = io::stderr().write_all(line.as_bytes());
        }
    };
    let events = config.events.clone();
    let told = AtomicBool::new(false);
    Box::new(move |event| {
        say(event);
        if let Some(sink) = &events
            && let Err(error) = sink.append(event)
            && !told.swap(true, Ordering::Relaxed)
        {
            say(&Event::EventsFailed { error });
        }
    })
}

/// What the lines so far have said.
#[derive(Default)]
struct Said {
    /// Settings that have left something out.
    left_out: BTreeSet<&'static str>,
    /// Why the checkpoint before was not signed.
    reason: String,
}

impl Said {
    /// The line of `event`. That a setting leaves something out is told once, to whom it may surprise; why nothing is signed,
    /// not again for each checkpoint.
    fn line(&mut self, event: &Event) -> (LogLevel, String) {
        let (needs, line) = event.line();
        match event {
            Event::PassedOver { root, setting, .. } if self.left_out.insert(setting) => {
                let line = format!(
                    "{root:?} is not signed: {setting} leaves it out, and what else it names; this is said once"
                );
                (LogLevel::Info, line)
            }
            Event::Failed { error, .. } => {
                let reason = error.to_string();
                let again = reason == self.reason;
                let short = line.split_once(&reason).filter(|_| again);
                let line = short.map(|(before, _)| format!("{before}the same as before"));
                self.reason = reason;
                (needs, line.unwrap_or_else(|| event.line().1))
            }
            _ => (needs, line),
        }
    }
}

/// Writes a hook's line to stderr, if the settings of this process want warnings; for hooks, which may have to speak
/// where there is no session.
pub fn warn(line: &str) {
    let (config, _) = Config::read(&Settings::of_process());
    listener(&config)(&Event::Hook {
        line: line.to_owned(),
    });
}

impl Sink {
    /// One write a line, at the end of the file, so that several processes may share it. The file is opened for each,
    /// because it may be moved away by whoever keeps logs, and belongs to no fork.
    fn append(&self, event: &Event) -> Result<(), Error> {
        // A pipe that nobody reads must not stop training.
        const FLAGS: OFlags = OFlags::WRONLY
            .union(OFlags::APPEND)
            .union(OFlags::CREATE)
            .union(OFlags::NONBLOCK)
            .union(OFlags::NOCTTY)
            .union(OFlags::CLOEXEC);
        // As logs are: nothing in it is secret, and whoever collects them is often another user. The umask may say less.
        const MODE: Mode = Mode::RUSR
            .union(Mode::WUSR)
            .union(Mode::RGRP)
            .union(Mode::ROTH);
        let line = format!("{}\n", event.json());
        let (path, written) = match self {
            Self::File(path) => {
                let file = rustix::fs::open(path, FLAGS, MODE);
                let written = file.and_then(|file| rustix::io::write(file, line.as_bytes()));
                (path.clone(), written)
            }
            Self::Stdout if NO_STDOUT.load(Ordering::Relaxed) => ("-".into(), Err(Errno::BADF)),
            Self::Stdout => {
                let written = rustix::io::write(io::stdout(), line.as_bytes());
                ("-".into(), written)
            }
        };
        let source = match written {
            Ok(count) if count == line.len() => return Ok(()),
            Ok(_) => io::ErrorKind::WriteZero.into(),
            Err(error) => error.into(),
        };
        Err(Error::Events { path, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_a_setting_leaves_something_out_is_told_once() {
        let mut said = Said::default();
        let mut levels = |setting| {
            let event = Event::PassedOver {
                root: "/runs/a.pt".into(),
                framework: "torch".to_owned(),
                setting,
            };
            let (level, line) = said.line(&event);
            assert!(
                line.contains("/runs/a.pt") && line.contains(setting),
                "{line}"
            );
            level
        };
        for setting in ["MODEL_SIGNING_EXCLUDE", "MODEL_SIGNING_EVERY"] {
            assert_eq!(
                [levels(setting), levels(setting)],
                [LogLevel::Info, LogLevel::Debug]
            );
        }
    }

    #[test]
    fn a_reason_is_told_again_only_after_another_one() {
        let mut said = Said::default();
        let mut line = |error| {
            let event = Event::Failed {
                root: "/runs/a.pt".into(),
                framework: "torch".to_owned(),
                error,
                spooled: true,
            };
            said.line(&event).1
        };
        let first = line(Error::NoKey);
        assert!(first.contains("MODEL_SIGNING_PRIVATE_KEY"), "{first}");
        let again = "\"/runs/a.pt\" is not signed, it stays in the spool: the same as before";
        assert_eq!(line(Error::NoKey), again);
        assert_ne!(line(Error::NoCertificate), again);
        assert_eq!(line(Error::NoKey), first);
    }
}
