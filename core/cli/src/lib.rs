//! The `model-signing` command: one [`run`] behind the stand-alone binary and the Python console script.
//!
//! Options and messages are those of upstream's `model_signing`; every option may be spelled with `_` for `-`.
//! Exit codes: 0 good, 1 bad, 2 wrong usage, 3 unsigned; `run` has those of env(1).

// The doc comments of options are their help text, which is no markdown.
#![allow(clippy::doc_markdown)]

mod believed;
mod completion;
mod digest;
mod doctor;
mod env;
mod flush;
mod forget;
mod hashing;
mod keygen;
mod log;
mod login;
mod output;
mod progress;
mod reference;
mod run;
mod secrets;
mod show;
mod sign;
mod spelling;
mod status;
mod trust;
mod verdict;
mod verify;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::{Path, PathBuf};

use autosign_session::{
    Config, Error as SessionError, Installed, Instance, Keyless, LogLevel, Settings, Spool, Spooled,
};
use autosign_signing::{Error, Ignore, Symlinks};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};

pub use login::LoginArgs;

/// Everything was as it should be.
pub const GOOD: u8 = 0;
/// The model cannot be signed or must not be trusted.
pub const BAD: u8 = 1;
/// The command cannot be understood.
pub const USAGE: u8 = 2;
/// There is no signature to verify.
pub const UNSIGNED: u8 = 3;

/// Sign machine-learning models and verify their signatures (OpenSSF Model Signing).
#[derive(Parser)]
#[command(
    name = "model-signing",
    version,
    max_term_width = 100,
    args_override_self = true
)]
struct Cli {
    /// What is said on stderr of checkpoints that sign themselves (`run`, `flush`), in the place of MODEL_SIGNING_LOG_LEVEL. What a
    /// command that was asked for has to say, it says.
    #[arg(long, value_name = "LEVEL", ignore_case = true, value_parser = log_level())]
    log_level: Option<&'static str>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Sign a model.
    #[command(subcommand)]
    Sign(sign::Sign),
    /// Verify a model's signature, then every file of it.
    #[command(subcommand)]
    Verify(verify::Verify),
    /// Look at the signatures of whole trainings.
    #[command(subcommand)]
    Log(log::Log),
    /// Say what a signature file says of itself. Nothing of it is verified.
    Show(show::Show),
    /// Print a model's root digest.
    Digest(digest::Digest),
    /// Make a key pair: NAME.pem to sign with, NAME.pub.pem to verify with.
    Keygen(keygen::Keygen),
    /// Sign the checkpoints that finished programs left in the spool.
    Flush(flush::Flush),
    /// List the checkpoints in the spool.
    Status(status::Status),
    /// Forget checkpoints in the spool: nobody is going to sign them.
    Forget(forget::Forget),
    /// Run a program with signing switched on in every Python it starts.
    Run(run::Run),
    /// Show and convert what keyless signatures are judged by.
    #[command(subcommand)]
    Trust(trust::Trust),
    /// Say whether this job can sign here, and what to do if not. Exit codes: 0 ready, 1 will not sign, 2 a setting is wrong.
    Doctor(doctor::Doctor),
    /// List the settings and their values.
    Env(env::Env),
    /// Print a script with which a shell completes this command.
    Completion(completion::Completion),
    /// Print the page of every command.
    #[command(hide = true)]
    Reference,
}

/// The Python that runs the command line; empty where none does.
#[derive(Default)]
pub struct Interpreter {
    /// Its frameworks that have a hook.
    pub installed: Vec<Installed>,
    /// The folder at the head of PYTHONPATH that switches signing on.
    pub startup: Option<PathBuf>,
}

/// Runs the command line `args`, of which the first is the program's name, and returns its exit code; where it is `run`,
/// the program takes the place of this process.
pub fn run(
    args: impl IntoIterator<Item = OsString>,
    settings: &Settings,
    interpreter: Interpreter,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let mut out = output::Output::new(out);
    let code = obey(args, settings, interpreter, &mut out, err);
    match out.finish() {
        Err(error) if code == GOOD => {
            say(
                err,
                format_args!("The output could not be written: {error}"),
            );
            BAD
        }
        _ => code,
    }
}

fn obey<'a>(
    args: impl IntoIterator<Item = OsString>,
    settings: &Settings,
    interpreter: Interpreter,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
) -> u8 {
    let args: Vec<_> = args.into_iter().collect();
    let own = args.split(|arg| arg == "run").next().unwrap_or_default();
    if let Some(what) = secrets::misplaced(own) {
        say(
            err,
            format_args!(
                "{what} is a private key or a token, which does not belong there: it is not repeated"
            ),
        );
        return USAGE;
    }
    let args = spelling::spelled(args, &Cli::command());
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            if error.kind() == ErrorKind::MissingRequiredArgument {
                let lenient = Cli::command()
                    .ignore_errors(true)
                    .try_get_matches_from(&args);
                let other = lenient.ok().and_then(|given| verify::other_method(&given));
                if let Some(other) = other {
                    say(err, format_args!("{other}"));
                    return USAGE;
                }
            }
            let text = secrets::clean(&error.to_string());
            say(
                if error.use_stderr() { err } else { out },
                format_args!("{}", text.trim_end()),
            );
            return u8::try_from(error.exit_code()).unwrap_or(USAGE);
        }
    };
    let settings = match cli.log_level {
        None => settings,
        Some(level) => match settings.with_option("MODEL_SIGNING_LOG_LEVEL", level) {
            Ok(settings) => &settings.clone(),
            Err(error) => return failed(err, "Starting", &error),
        },
    };
    match cli.command {
        Command::Sign(sign) => sign.run(settings, out, err),
        Command::Verify(verify) => verify.run(settings, out, err),
        Command::Log(log) => log.run(settings, out, err),
        Command::Trust(trust) => trust.run(settings, out, err),
        Command::Show(show) => show.run(out, err),
        Command::Digest(digest) => digest.run(out, err),
        Command::Keygen(keygen) => keygen.run(out, err),
        Command::Flush(flush) => flush.run(settings, out, err),
        Command::Status(status) => status.run(settings, out, err),
        Command::Forget(forget) => forget.run(settings, out, err),
        Command::Run(run) => run.run(settings, interpreter.startup, err),
        Command::Doctor(doctor) => doctor.run(settings, interpreter.installed, out),
        Command::Env(env) => env.run(settings, out, err),
        Command::Completion(completion) => completion.run(out),
        Command::Reference => reference::run(out),
    }
}

/// Upstream's levels to those of the setting.
fn log_level() -> impl TypedValueParser<Value = &'static str> {
    let names = ["debug", "info", "warning", "error", "critical", "off"];
    PossibleValuesParser::new(names)
        .map(|name| LogLevel::parse(&name).unwrap_or(LogLevel::Off).name())
}

/// Which files of the model count.
#[derive(Args)]
struct Selection {
    /// Leave out this file or folder, a path from the working directory and not from the model; may be given several times.
    #[arg(long, value_name = "PATH", num_args = 1)]
    ignore_paths: Vec<PathBuf>,
    /// Leave out .git, .gitattributes, .github and .gitignore (the default).
    #[arg(long, overrides_with = "no_ignore_git_paths")]
    ignore_git_paths: bool,
    /// Do not leave them out.
    #[arg(long)]
    no_ignore_git_paths: bool,
    /// Follow symbolic links: `true` (or no value) to files and folders inside the model, `hf-cache` from a snapshot of a
    /// Hugging Face cache to the blobs of its repository. Default: false; for verifying, what the signature says.
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = hashing::symlinks())]
    allow_symlinks: Option<Symlinks>,
    /// Refuse names that are not good on every system: two that differ by case or by composed letters, and what Windows
    /// does not take.
    #[arg(long)]
    portable: bool,
}

impl Selection {
    /// What is said of git's own files, if anything.
    fn git_chosen(&self) -> Option<bool> {
        (self.ignore_git_paths || self.no_ignore_git_paths).then_some(self.ignores_git())
    }

    fn ignores_git(&self) -> bool {
        self.ignore_git_paths || !self.no_ignore_git_paths
    }

    /// Says of each of `--ignore-paths` that leaves out nothing of `model`.
    fn tell_unmatched(&self, model: &Path, err: &mut dyn Write) {
        let Ok(root) = model.canonicalize() else {
            return; // that is told by what comes next
        };
        for path in &self.ignore_paths {
            let found = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let found = found.unwrap_or(Path::new(".")).canonicalize().ok();
            let is_inside = found.is_some_and(|folder| folder.starts_with(&root));
            if is_inside && path.symlink_metadata().is_ok() {
                continue;
            }
            let within = model.join(path);
            let why = match (path.is_absolute(), within.symlink_metadata().is_ok()) {
                (true, _) => String::new(),
                (false, false) => ": it is a path from the working directory".to_owned(),
                (false, true) => format!(
                    ": it is a path from the working directory; did you mean {}?",
                    shown(within)
                ),
            };
            say(
                err,
                format_args!(
                    "--ignore-paths {} leaves out nothing of {}{why}",
                    shown(path),
                    shown(model),
                ),
            );
        }
    }

    fn ignore(&self, model: &Path, signature: Option<&Path>) -> Result<Ignore, Error> {
        Ignore::new(model, signature, &self.ignore_paths, self.ignores_git())
    }
}

/// Upstream's default: a file in the working directory.
fn default_signature() -> PathBuf {
    PathBuf::from("model.sig")
}

/// Which Sigstore instance, where not the one of the settings.
#[derive(Args)]
struct InstanceArgs {
    /// Use the staging instance.
    #[arg(long, conflicts_with = "trust_config")]
    use_staging: bool,
    /// Use the instance of this trust config: a ClientTrustConfig file, or for verifying a trusted_root.json.
    #[arg(long, value_name = "PATH")]
    trust_config: Option<PathBuf>,
    /// Use this instance: `production`, `staging`, or the URL of one that `trust add` was given.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["use_staging", "trust_config"], value_parser = instance)]
    instance: Option<Instance>,
}

fn instance(name: &str) -> Result<Instance, &'static str> {
    Instance::named(name).ok_or("neither `production`, `staging`, nor a URL")
}

impl InstanceArgs {
    fn chosen(self) -> Option<Instance> {
        if self.use_staging {
            return Some(Instance::Staging);
        }
        let files = self.trust_config.map(Instance::trust_config);
        files.or(self.instance)
    }

    fn apply(self, keyless: &mut Keyless, settings: &Settings) -> Result<(), SessionError> {
        if let Some(instance) = self.chosen() {
            settings.unlocked(instance.variable())?;
            keyless.instance = instance;
        }
        Ok(())
    }
}

/// Fetches trust that is older than a day. Where that fails, what is known is used, and the line says so.
fn freshen(keyless: &Keyless, err: &mut dyn Write) {
    if let Err(error) = keyless.refresh() {
        say(err, format_args!("Trust is not up to date: {error}"));
    }
}

/// The settings' values, or nothing where one is wrong: a person is there to correct it.
fn config(settings: &Settings, err: &mut dyn Write) -> Option<Config> {
    let (config, errors) = Config::read(settings);
    for error in settings.warnings().iter().chain(&errors) {
        say(err, format_args!("{error}"));
    }
    errors.is_empty().then_some(config)
}

/// Whether all of `spools`, which a person named, are there; says of the first that is not.
fn spools_exist<'a>(spools: impl IntoIterator<Item = &'a PathBuf>, err: &mut dyn Write) -> bool {
    let missing = spools.into_iter().find(|spool| !spool.is_dir());
    if let Some(missing) = missing {
        say(err, format_args!("There is no spool {}", shown(missing)));
    }
    missing.is_none()
}

/// The records in the spool `folder`; where they cannot be read, says why.
fn spooled(folder: PathBuf, err: &mut dyn Write) -> Option<Vec<Spooled>> {
    let listed = Spool::new(folder, String::new()).list();
    listed
        .inspect_err(|error| say(err, format_args!("{error}; {}", error.hint())))
        .ok()
}

/// One line. Where it cannot be written, [`Output`](output::Output) remembers it.
fn say(to: &mut dyn Write, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(to, "{line}");
}

/// The one line of a failure: what happened, and what to do next.
fn failed(err: &mut dyn Write, what: &str, error: &SessionError) -> u8 {
    say(
        err,
        format_args!("{what} failed with error: {error}; {}", error.hint()),
    );
    if verdict::is_unsigned(error) {
        UNSIGNED
    } else {
        BAD
    }
}

/// Text that cannot move the cursor or fool a reader.
fn shown(path: impl AsRef<OsStr>) -> String {
    format!("{:?}", path.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_line_repeats_no_pin() {
        let settings = Settings::default();
        let uri = "pkcs11:object=a?pin-value=73550608&module-path=/m.so";
        for line in [
            vec!["m", "sign", "pkcs11-key", "model", uri],
            vec!["m", "sign", "pkcs11-key", "--pkcs11-uri", uri, "model", uri],
            vec!["m", uri],
        ] {
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let args = line.iter().map(OsString::from);
            let code = run(args, &settings, Interpreter::default(), &mut out, &mut err);
            let said = String::from_utf8([out, err].concat()).unwrap();
            assert_eq!(code, USAGE, "{said}");
            assert!(said.contains("pin-value=…&module-path=/m.so"), "{said}");
            assert!(!said.contains("73550608"), "{said}");
        }
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
