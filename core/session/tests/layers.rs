//! Which of several places a setting comes from.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

use std::path::{Path, PathBuf};

use autosign_session::{
    ByHand, Config, Environment, Instance, Method, Mode, Origin, PrivateKey, Settings,
};
use tempfile::TempDir;

/// A machine with configuration files.
struct Machine {
    root: TempDir,
    variables: Vec<(String, String)>,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let home = root.path().join("home").display().to_string();
        Self {
            root,
            variables: vec![("HOME".to_owned(), home)],
        }
    }

    fn with(mut self, variable: &str, value: &str) -> Self {
        let variable = format!("MODEL_SIGNING_{variable}");
        self.variables.push((variable, value.to_owned()));
        self
    }

    fn file(self, name: &str, text: &str) -> Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn administrator(self, text: &str) -> Self {
        self.file("etc/model-signing/config.toml", text)
    }

    fn own(self, text: &str) -> Self {
        self.file("home/.config/model-signing/config.toml", text)
    }

    fn named(self, text: &str) -> Self {
        let machine = self.file("job.toml", text);
        let path = machine.path("job.toml").display().to_string();
        machine.with("CONFIG", &path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn settings(&self) -> Settings {
        let environment: Environment = self.variables.iter().cloned().collect();
        Settings::read(environment, self.root.path())
    }

    /// Values, and every line about what is wrong.
    fn read(&self) -> (Config, Vec<String>) {
        let settings = self.settings();
        let (config, errors) = Config::read(&settings);
        let lines = settings.warnings().into_iter().chain(errors);
        (config, lines.map(|error| error.to_string()).collect())
    }

    /// The only line about what is wrong, and the mode.
    fn complaint(&self) -> (String, Mode) {
        let (config, lines) = self.read();
        assert_eq!(lines.len(), 1, "{lines:?}");
        (lines.concat(), config.mode)
    }
}

#[test]
fn each_layer_overrules_those_below_it() {
    let line = |seconds: u64| format!("drain_timeout = {seconds}\n");
    let mut machine = Machine::new();
    let mut seen = Vec::new();
    let mut look = |machine: &Machine, origin: Option<Origin>| {
        let settings = machine.settings();
        let value = settings.get("MODEL_SIGNING_DRAIN_TIMEOUT");
        assert_eq!(value.map(|value| value.origin().clone()), origin);
        let (config, lines) = machine.read();
        assert!(lines.len() <= 1, "{lines:?}");
        seen.push(config.drain_timeout.as_secs());
    };
    look(&machine, None);
    machine = machine.administrator(&line(1));
    let etc = machine.path("etc/model-signing/config.toml");
    look(&machine, Some(Origin::File(etc.clone())));
    machine = machine.own(&line(2));
    let own = machine.path("home/.config/model-signing/config.toml");
    look(&machine, Some(Origin::File(own)));
    machine = machine.named(&line(3));
    look(&machine, Some(Origin::File(machine.path("job.toml"))));
    machine = machine.with("DRAIN_TIMEOUT", "4");
    look(&machine, Some(Origin::Environment));
    machine = machine.administrator(&format!("{}[locked]\n{}", line(1), line(5)));
    look(&machine, Some(Origin::Locked(etc)));
    assert_eq!(seen, [120, 1, 2, 3, 4, 5]);
}

#[test]
fn values_are_text_whole_numbers_booleans_and_lists() {
    let machine = Machine::new().own(
        "mode = \"inline\"\nthreads = 3\nhooks = [\"torch\", \"safetensors\"]\nprivate_key = \"keys/own.pem\"\n\
         spool = \"/spool\"\nvault_role = \"\"\n",
    );
    let (config, lines) = machine.read();
    assert_eq!(lines, [""; 0]);
    assert_eq!(config.mode, Mode::Inline);
    assert_eq!(config.threads.map(usize::from), Some(3));
    assert_eq!(config.hooks, ["torch", "safetensors"]);
    let folder = machine.path("home/.config/model-signing");
    let own = PrivateKey::File(folder.join("keys/own.pem"));
    assert!(config.private_key == Some(own));
    assert_eq!(config.spool.as_deref(), Some(Path::new("/spool")));
}

#[test]
fn what_reads_the_environment_sees_what_files_set() {
    let machine = Machine::new().own("spiffe_id = \"spiffe://site/train\"\n");
    let (config, _) = machine.read();
    let seen = config.keyless.environment.text("MODEL_SIGNING_SPIFFE_ID");
    assert_eq!(seen, Some("spiffe://site/train"));
}

#[test]
fn settings_that_answer_one_question_overrule_each_other() {
    let staging = || Machine::new().with("INSTANCE", "staging");
    let trust = "trust_config = \"/trust.json\"\n";
    let (config, lines) = staging().own(trust).read();
    assert_eq!(
        (config.keyless.instance, lines.len()),
        (Instance::Staging, 0)
    );
    let (config, lines) = staging()
        .administrator(&format!("[locked]\n{trust}"))
        .read();
    assert_eq!(
        config.keyless.instance,
        Instance::trust_config("/trust.json".into())
    );
    let [line] = lines.as_slice() else {
        panic!("{lines:?}")
    };
    assert!(
        line.contains(
            "MODEL_SIGNING_INSTANCE cannot be chosen: MODEL_SIGNING_TRUST_CONFIG is locked by"
        ),
        "{line}"
    );
}

#[test]
fn nothing_leaves_an_instance_that_is_locked() {
    let machine = Machine::new()
        .administrator(
            "[locked]\ninstance = \"https://tuf.example\"\ncredentials = \"kubernetes\"\n",
        )
        .with("TRUST_CONFIG", "/evil.json");
    let (config, lines) = machine.read();
    let own = Instance::Tuf("https://tuf.example".to_owned());
    assert_eq!((config.keyless.instance, lines.len()), (own, 1));
    let settings = machine.settings();
    for (variable, free) in [
        ("MODEL_SIGNING_INSTANCE", false),
        ("MODEL_SIGNING_TRUST_CONFIG", false),
        ("MODEL_SIGNING_CREDENTIALS", false),
        ("MODEL_SIGNING_IDENTITY_TOKEN", true),
        ("MODEL_SIGNING_MODE", true),
    ] {
        assert_eq!(settings.unlocked(variable).is_ok(), free, "{variable}");
    }
}

#[test]
fn nobody_logs_in_where_a_token_is_locked() {
    for entry in [
        "identity_token_file = \"/token\"",
        "identity_token_command = \"/bin/token\"",
        "identity_token_url = \"http://127.0.0.1:9\"",
        "token_exchange_url = \"http://127.0.0.1:9\"",
        "credentials = \"github\"",
    ] {
        let machine = Machine::new().administrator(&format!("[locked]\n{entry}\n"));
        assert!(ByHand::bring_token(&machine.settings()).is_err(), "{entry}");
    }
    assert!(ByHand::bring_token(&Machine::new().settings()).is_ok());
}

#[test]
fn a_path_may_begin_in_the_home_folder_wherever_it_stands() {
    let machine = Machine::new()
        .own("private_key = \"~/keys/own.pem\"\ncertificate = \"~other/own.pem\"\nrun = \"~/tune\"\n")
        .with("SPOOL", "~/spool")
        .with("EVENTS", "a/~/b");
    let (config, lines) = machine.read();
    assert_eq!(lines, [""; 0]);
    let home = machine.path("home");
    let key = Some(PrivateKey::File(home.join("keys/own.pem")));
    assert!(config.private_key == key);
    assert_eq!(config.spool, Some(home.join("spool")));
    let own = home.join(".config/model-signing");
    assert_eq!(config.certificate, Some(own.join("~other/own.pem")));
    assert_eq!(config.run.as_deref(), Some("~/tune"), "no path");
    assert!(
        config
            .events
            .is_some_and(|sink| format!("{sink:?}").contains("a/~/b"))
    );
    let named = machine
        .file("home/job.toml", "threads = 3\n")
        .with("CONFIG", "~/job.toml");
    assert_eq!(named.read().0.threads.map(usize::from), Some(3));
}

#[test]
fn what_is_locked_to_nothing_nobody_sets() {
    let machine = Machine::new()
        .administrator("[locked]\nexclude = []\nprivate_key = \"\"\n")
        .own("exclude = [\"*.pt\"]\n")
        .with("EXCLUDE", "*.bin")
        .with("PRIVATE_KEY", "/home/me/key.pem");
    let (config, lines) = machine.read();
    let nothing = Config::read(&Settings::default()).0.selection;
    assert_eq!(format!("{:?}", config.selection), format!("{nothing:?}"));
    assert!(config.private_key.is_none());
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("MODEL_SIGNING_EXCLUDE is locked"));
    assert!(
        machine
            .settings()
            .unlocked("MODEL_SIGNING_EXCLUDE")
            .is_err()
    );
}

#[test]
fn the_same_as_is_locked_is_no_reason_to_complain() {
    let machine = Machine::new()
        .administrator("[locked]\nmethod = \"sigstore\"\n")
        .with("METHOD", "sigstore");
    let (config, lines) = machine.read();
    assert_eq!((config.method, lines.len()), (Method::Sigstore, 0));
}

#[test]
fn what_cannot_be_used_is_said_and_the_rest_is_in_force() {
    for (text, said) in [
        ("threads = 3.5\n", "has under \"threads\" neither text"),
        ("threads = 0\n", "MODEL_SIGNING_THREADS is \"0\" in"),
        (
            "thread = 3\n",
            "thread is not a setting: did you mean threads?",
        ),
        (
            "THREADS = 3\n",
            "THREADS is not a setting: did you mean threads?",
        ),
        (
            "password = \"hunter2\"\n",
            "has under \"password\" a secret",
        ),
        ("config = \"/more.toml\"\n", "a further file"),
        ("hooks = [\"torch,keras\"]\n", "a list with a comma"),
        ("[locked]\nthreads = 3\n", "which only the one in /etc can"),
        ("\nmode = \n", "is not TOML, line 2"),
    ] {
        let mode = if said.contains("TOML") {
            ""
        } else {
            "mode = \"inline\"\n"
        };
        let (line, mode) = Machine::new().own(&format!("{mode}{text}")).complaint();
        assert!(line.contains(said) && !line.contains("hunter2"), "{line}");
        let expected = if said.contains("TOML") {
            Mode::Background
        } else {
            Mode::Inline
        };
        assert_eq!(mode, expected, "{text}");
    }
}

#[test]
fn a_file_that_is_named_must_be_there() {
    let (line, mode) = Machine::new().with("CONFIG", "/no/such.toml").complaint();
    assert_eq!(
        line,
        "the configuration file \"/no/such.toml\" does not exist"
    );
    assert_eq!(mode, Mode::Background);
}

#[test]
fn nothing_is_signed_while_the_administrators_demands_are_unknown() {
    for text in [
        "not TOML",
        "locked = 3\n",
        "[locked]\npublic_logg = \"deny\"\n",
        "[locked]\npublic_log = [[]]\n",
        "[locked]\npublic_log = \"denny\"\n",
    ] {
        let machine = Machine::new().administrator(text).with("MODE", "inline");
        let (config, lines) = machine.read();
        assert!(config.mode == Mode::Offline && !lines.is_empty(), "{text}");
        let off = machine.with("MODE", "disabled");
        assert_eq!(off.read().0.mode, Mode::Disabled, "{text}");
    }
    // What is not locked is a wish.
    let machine = Machine::new().administrator("public_logg = \"deny\"\n");
    assert_eq!(machine.complaint().1, Mode::Background);
}

#[test]
fn a_folder_in_its_place_is_no_file() {
    let machine = Machine::new();
    std::fs::create_dir_all(machine.path("etc/model-signing/config.toml")).unwrap();
    assert_eq!(machine.complaint().1, Mode::Offline);
}

#[test]
fn nothing_is_read_from_the_working_directory() {
    // A relative XDG folder counts as not set (XDG base directory specification).
    let machine = Machine::new();
    let environment = Environment::from_iter([("XDG_CONFIG_HOME", "."), ("HOME", "")]);
    let settings = Settings::read(environment, machine.root.path());
    assert!(settings.warnings().is_empty() && Config::read(&settings).1.is_empty());
}

/// The page of what to lock is true: whatever a user sets, all that it names stays.
#[test]
fn what_the_guide_locks_no_user_changes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/guide/locked.md")).unwrap();
    let (_, block) = page.split_once("```toml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let tries = [
        ("MODE", "disabled"),
        ("METHOD", "key"),
        ("PRIVATE_KEY", "/home/me/key.pem"),
        ("TRUST_CONFIG", "/home/me/other.json"),
        ("INSTANCE", "production"),
        ("PUBLIC_LOG", "allow"),
        ("EXPECT_IDENTITY", "me@example.com"),
        ("EXPECT_ISSUER", "https://issuer.example"),
        ("HOOKS", "none"),
        ("INCLUDE", "nothing"),
        ("EXCLUDE", "*.pt"),
        ("MIN_SIZE", "1TB"),
        ("EVERY", "1000"),
    ];
    let users = tries.iter().fold(Machine::new(), |machine, (name, value)| {
        machine.with(name, value)
    });
    let settings = |machine: Machine| {
        let machine = machine.administrator(block);
        let variables: Environment = machine.variables.iter().cloned().collect();
        let settings = Settings::read(variables, machine.root.path());
        let (config, errors) = Config::read(&settings);
        assert!(errors.is_empty(), "{errors:?}");
        assert!(!config.signs_with_key());
        assert!(matches!(
            settings.unlocked("MODEL_SIGNING_INSTANCE"),
            Err(autosign_session::Error::Locked { .. })
        ));
        let told = settings.warnings().len();
        (
            format!(
                "{:?} {:?} {:?}",
                config.mode, config.hooks, config.selection
            ),
            told,
        )
    };
    let (locked, nothing) = settings(Machine::new());
    let (with_tries, told) = settings(users);
    assert_eq!(locked, with_tries);
    assert_eq!(nothing, 0);
    assert!(
        told >= tries.len() - 1,
        "{told}: all but the key of a method that is not used"
    );
}
