//! A program that prints a token: for what no other source knows.

use std::ffi::OsString;
use std::fmt;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group};
use zeroize::Zeroizing;

use super::sources::token_in;
use super::{Detection, IdentityToken, MAX_BYTES, Surroundings, TokenSource};
use crate::redacted::redacted;
use crate::{Deadline, Error};

const LIMIT: Duration = Duration::from_secs(30);
/// Between two looks at whether the program has ended.
const GLANCE: Duration = Duration::from_millis(20);
/// So much of what a failed program says is repeated.
const MAX_REASON: usize = 512;
/// A process that the kernel holds may outlive SIGKILL; so many glances later it is left to itself.
const LAST_GLANCES: u32 = 25;
/// Settings of ours that are no business of another program.
const SECRETS: [&str; 5] = [
    "MODEL_SIGNING_IDENTITY_TOKEN",
    "MODEL_SIGNING_IDENTITY_TOKEN_HEADERS",
    "MODEL_SIGNING_IDENTITY_TOKEN_URL",
    "MODEL_SIGNING_PASSWORD",
    "MODEL_SIGNING_PRIVATE_KEY",
];

/// A program and its arguments, run without a shell. It prints a JWT, or a JSON object with one in `token`, and finds the
/// audience in `MODEL_SIGNING_AUDIENCE`.
pub struct TokenCommand(Vec<OsString>);

impl TokenCommand {
    /// Takes the words of `text`: separated by spaces, kept together by single or double quotes, with `\` before a
    /// character that is meant as it is. Nothing is expanded.
    ///
    /// # Errors
    /// [`Error::Token`] where there is no word, or no end of a quote.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let words = words(text).filter(|words| !words.is_empty());
        let words = words.ok_or_else(|| Error::Token {
            reason: "its command has no words, or a quote without an end".to_owned(),
        })?;
        Ok(Self(words.into_iter().map(OsString::from).collect()))
    }
}

/// The program, and how many arguments it gets: one of them may be a secret.
impl fmt::Display for TokenCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.first().cloned().unwrap_or_default();
        let count = self.0.len().saturating_sub(1);
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{} ({count} argument{plural})", name.display())
    }
}

impl TokenSource for TokenCommand {
    fn name(&self) -> &'static str {
        "exec"
    }

    fn detect(&self, _: &Surroundings) -> Detection {
        Detection::Here("a command is given".to_owned())
    }

    fn fetch(
        &self,
        here: &Surroundings,
        audience: &str,
        deadline: Deadline,
    ) -> Result<IdentityToken, Error> {
        let printed = run(&self.0, here, audience, deadline)?;
        token_in(&printed, Some("/token"))
    }
}

fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().push(characters.next()?),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The program `name` on the search path of `here`: in its absolute folders, since anybody may have written to the
/// working one.
pub(super) fn on_path(here: &Surroundings, name: impl AsRef<Path>) -> Option<PathBuf> {
    let runs = |path: &PathBuf| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    let folders = std::env::split_paths(here.environment.get("PATH")?);
    let folders = folders.filter(|folder| folder.is_absolute());
    folders.map(|folder| folder.join(&name)).find(runs)
}

/// What the program `words` prints, if it ends well before `deadline` and within half a minute.
pub(super) fn run(
    words: &[OsString],
    here: &Surroundings,
    audience: &str,
    deadline: Deadline,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let name = words.first().cloned().unwrap_or_default();
    let failed = |reason: &str| Error::Token {
        reason: format!("{name:?} {reason}"),
    };
    let path = if name.as_bytes().contains(&b'/') {
        PathBuf::from(&name)
    } else {
        on_path(here, &name).ok_or_else(|| failed("is not on the PATH"))?
    };
    let variables = here.environment.iter();
    let mut command = Command::new(path);
    command
        .args(words.iter().skip(1))
        .env_clear()
        .envs(variables.filter(|(name, _)| !SECRETS.contains(name)))
        .env("MODEL_SIGNING_AUDIENCE", audience)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let child = command.spawn();
    let mut child = child.map_err(|error| failed(&format!("cannot be started: {error}")))?;
    let mut output = Output::default();
    let status = output.follow(&mut child, deadline.sooner(LIMIT));
    let Ok(Some(status)) = status else {
        end(&mut child);
        return Err(match status {
            Ok(_) => failed("was ended: it printed too much, or took too long"),
            Err(error) => failed(&format!("cannot be followed: {error}")),
        });
    };
    if !status.success() {
        let said = redacted(&String::from_utf8_lossy(&output.stderr));
        let said: String = said.trim().chars().take(MAX_REASON).collect();
        return Err(failed(&format!("failed with {status}: {said}")));
    }
    Ok(output.stdout)
}

/// Kills the program and all that it started.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    for _ in 0..LAST_GLANCES {
        if !matches!(child.try_wait(), Ok(None)) {
            break;
        }
        let _ = poll(&mut [], Timespec::try_from(GLANCE).ok().as_ref());
    }
}

#[derive(Default)]
struct Output {
    stdout: Zeroizing<Vec<u8>>,
    stderr: Zeroizing<Vec<u8>>,
}

impl Output {
    /// Reads what `child` prints until it ends; nothing where it prints too much or takes too long. What it has started
    /// itself may keep its output open, and is not waited for.
    fn follow(
        &mut self,
        child: &mut Child,
        deadline: Deadline,
    ) -> std::io::Result<Option<ExitStatus>> {
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        loop {
            let ended = child.try_wait()?;
            let glance = if ended.is_some() {
                Duration::ZERO
            } else {
                GLANCE.min(deadline.left())
            };
            // After its end: all that is in the pipes by now, and not a look more.
            loop {
                let read = read_some(&mut out, &mut self.stdout, glance)?
                    | read_some(&mut err, &mut self.stderr, Duration::ZERO)?;
                if !read || self.is_full() {
                    break;
                }
            }
            if self.is_full() || (ended.is_none() && deadline.left().is_zero()) {
                return Ok(None);
            }
            if ended.is_some() {
                return Ok(ended);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.stdout.len() > MAX_BYTES || self.stderr.len() > MAX_BYTES
    }
}

/// Whether there was something to read within `patience`.
fn read_some<R: AsFd + Read>(
    from: &mut Option<R>,
    into: &mut Vec<u8>,
    patience: Duration,
) -> std::io::Result<bool> {
    let patience_left = Timespec::try_from(patience).map_err(std::io::Error::other)?;
    let Some(pipe) = from else {
        poll(&mut [], Some(&patience_left))?;
        return Ok(false);
    };
    let ready = {
        let mut watched = [PollFd::new(pipe, PollFlags::IN)];
        match poll(&mut watched, Some(&patience_left)) {
            Err(rustix::io::Errno::INTR) => return Ok(false),
            other => other? > 0,
        }
    };
    if !ready {
        return Ok(false);
    }
    let mut buffer = Zeroizing::new([0; 4096]);
    let count = pipe.read(buffer.as_mut_slice())?;
    if count == 0 {
        *from = None;
        return Ok(false);
    }
    into.extend_from_slice(buffer.get(..count).unwrap_or_default());
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_those_of_a_shell_that_expands_nothing() {
        for (text, expected) in [
            ("", &[][..]),
            ("  a  b\tc ", &["a", "b", "c"]),
            (
                r#"get --aud "a b" 'c "d"' ''"#,
                &["get", "--aud", "a b", r#"c "d""#, ""],
            ),
            (r"a\ b \$HOME", &["a b", "$HOME"]),
            (r#""a\"b" 'c\d'"#, &["a\"b", r"c\d"]),
            ("$(x) `y` *", &["$(x)", "`y`", "*"]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
        for text in ["'", "\"a", "a\\"] {
            assert_eq!(words(text), None, "{text}");
        }
    }
}
