//! The terminal's side of a login: a person sees an address, and a browser opens it.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write, stderr, stdin};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::SystemTime;

use autosign_session::{ByHand, Environment, Error, Keyless, Settings};
use autosign_signing::{KeylessSigner, Login, Prompt, Sources};
use clap::Args;
use zeroize::Zeroizing;

use crate::say;

/// More than any code has.
const MAX_CODE: usize = 4096;
const CLIENT: &str = "sigstore";
const OPENER: &str = if cfg!(target_os = "macos") {
    "open"
} else {
    "xdg-open"
};

/// How a person logs in, where there is no token.
#[derive(Args)]
pub struct LoginArgs {
    /// Log in with a code that the page shows, for a machine without a browser.
    #[arg(long)]
    oauth_force_oob: bool,
    /// The issuer where a person logs in. Default: that of the signing config.
    #[arg(long, value_name = "URL")]
    oidc_issuer: Option<String>,
    /// The name of this program to that issuer.
    #[arg(long, value_name = "ID", default_value = CLIENT)]
    client_id: String,
    /// The secret to that name, where there is one; others on this machine can see it.
    #[arg(long, value_name = "SECRET", allow_hyphen_values = true)]
    client_secret: Option<String>,
}

impl LoginArgs {
    /// For a library; with the defaults of the command line.
    #[must_use]
    pub fn new(
        oidc_issuer: Option<String>,
        oauth_force_oob: bool,
        client_id: Option<String>,
        client_secret: Option<String>,
    ) -> Self {
        Self {
            oauth_force_oob,
            oidc_issuer,
            client_id: client_id.unwrap_or_else(|| CLIENT.to_owned()),
            client_secret,
        }
    }

    /// Whether there is a person to ask: one who can type, and who reads what is asked.
    #[must_use]
    pub fn possible() -> bool {
        stdin().is_terminal() && stderr().is_terminal()
    }

    /// Who signs: whom a token names that the settings have, else a person who logs in, unless `ambient`; and whether it goes
    /// on public record.
    ///
    /// # Errors
    /// [`Error::Locked`] where a person is not to, and those of [`Keyless::trust`] and of [`Keyless::signer_with`].
    pub fn signer(
        self,
        mut keyless: Keyless,
        settings: &Settings,
        ambient: bool,
    ) -> Result<(KeylessSigner, bool), Error> {
        if ambient || keyless.has_identity() || !Self::possible() {
            return keyless.signer();
        }
        ByHand::bring_token(settings)?;
        let login = self.login(&mut keyless, settings.environment())?;
        keyless.signer_with(Sources::only(Box::new(login), keyless.connection()?))
    }

    /// A login for the instance of `keyless`, whose Fulcio then expects tokens for this client. Asks nobody yet.
    ///
    /// # Errors
    /// Those of [`Keyless::trust`] and of [`Keyless::connection`]; a signing config without an issuer.
    fn login(self, keyless: &mut Keyless, environment: &Environment) -> Result<Login, Error> {
        let issuer = match self.oidc_issuer {
            Some(issuer) => issuer,
            None => keyless.trust()?.login_issuer(SystemTime::now())?.to_owned(),
        };
        let connection = keyless.connection()?;
        let browser = environment.get("BROWSER").map(ToOwned::to_owned);
        let terminal = Terminal {
            browser: browser.unwrap_or_else(|| OPENER.into()),
        };
        keyless
            .audience
            .get_or_insert_with(|| self.client_id.clone());
        let secret = self.client_secret.map(Zeroizing::new);
        let login = Login::new(issuer, connection, Box::new(terminal));
        let login = login.with_client(self.client_id, secret);
        Ok(if self.oauth_force_oob {
            login.out_of_band()
        } else {
            login
        })
    }
}

fn show(url: &str) {
    // The bar of the hashing before may still stand on this line.
    const CLEAR: &str = "\r\x1b[2K";
    say(
        &mut stderr(),
        format_args!("{CLEAR}Open this address in a browser: {url}"),
    );
}

/// Standard input and standard error, which are terminals.
struct Terminal {
    browser: OsString,
}

impl Prompt for Terminal {
    fn open(&self, url: &str) {
        show(url);
        // No shell; and a group of its own, or Ctrl-C here would end the person's browser.
        let browser = Command::new(&self.browser)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        // Without a browser there is still the address.
        if let Ok(mut browser) = browser {
            std::thread::spawn(move || browser.wait());
        }
    }

    fn code(&self, url: &str) -> Result<Zeroizing<String>, autosign_signing::Error> {
        show(url);
        let mut err = stderr();
        let _ = write!(err, "Code: ").and_then(|()| err.flush());
        let mut line = Zeroizing::new([0; MAX_CODE]);
        // One read is one line of a terminal, and unlike `read_line` it ends when Ctrl-C interrupts Python's command.
        let count = stdin()
            .read(&mut *line)
            .map_err(|source| autosign_signing::Error::Io {
                action: "read",
                path: "/dev/stdin".into(),
                source,
            })?;
        let text = str::from_utf8(line.get(..count).unwrap_or_default());
        text.map(|text| Zeroizing::new(text.to_owned()))
            .map_err(|_| autosign_signing::Error::Token {
                reason: "the code is not text".to_owned(),
            })
    }
}
