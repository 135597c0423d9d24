//! `model-signing doctor`

use std::io::Write;

use autosign_session::{Examination, Installed, Report, Settings};
use clap::Args;

use crate::{BAD, GOOD, USAGE, say};

#[derive(Args)]
pub(crate) struct Doctor {
    /// Get an identity token, too. It is sent nowhere.
    #[arg(long)]
    fetch: bool,
    /// Make a signature, too, and throw it away: with the staging instance in the place of the public-good one, else with
    /// the instance that is set. Tries the PIN of a key that is on a token, which nothing else here does.
    #[arg(long)]
    sign_test: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) fn run(
        self,
        settings: &Settings,
        installed: Vec<Installed>,
        out: &mut dyn Write,
    ) -> u8 {
        let report = Report::new(
            settings,
            &Examination {
                installed,
                fetch: self.fetch,
                sign: self.sign_test,
            },
        );
        if self.json {
            say(out, format_args!("{}", report.to_json()));
        } else {
            show(&report, out);
        }
        match (report.is_ready(), report.wrong_settings) {
            (true, _) => GOOD,
            (false, 0) => BAD,
            (false, _) => USAGE,
        }
    }
}

fn show(report: &Report, out: &mut dyn Write) {
    let mut line = |what: &str, text: &str| {
        // Values come from elsewhere, and must not move the cursor.
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        say(out, format_args!("{what:8} {text}"));
    };
    let verdict = match (report.is_ready(), report.offline) {
        (true, false) => "ready to sign",
        (true, true) => "ready to hash; `model-signing flush` signs",
        (false, _) => "will not sign",
    };
    line("verdict", verdict);
    for obstacle in &report.obstacles {
        line("obstacle", obstacle);
    }
    line("version", report.version);
    line("host", &report.host);
    if let Some(rank) = report.rank {
        line("rank", &format!("{} of {}", rank.number, rank.of));
    }
    for (state, frameworks) in [("hooked", &report.hooked), ("left out", &report.unhooked)] {
        for framework in frameworks {
            line(state, &format!("{} {}", framework.name, framework.version));
        }
    }
    for set in &report.settings {
        let text = format!("{}={} ({})", set.variable, set.value, set.origin);
        line("setting", &text);
    }
    for problem in &report.problems {
        line("problem", problem);
    }
    line("method", report.method);
    if let Some(key) = &report.key {
        line("key", key);
    }
    for source in &report.sources {
        let found = if source.here { "found" } else { "not here" };
        line(
            "source",
            &format!("{:17} {found}: {}", source.name, source.reason),
        );
    }
    if let Some(token) = &report.token {
        line(
            "token",
            &format!("of {} by {}", token.subject, token.issuer),
        );
        if let Some(left) = token.seconds_left {
            line("token", &format!("ends in {left} s"));
        }
        let name = token.signs_as.as_deref();
        line(
            "token",
            &format!("signs as {}", name.unwrap_or("whom only Fulcio knows")),
        );
    }
    for service in &report.services {
        let state = match (&service.error, service.milliseconds, service.clock_ahead) {
            (Some(_), _, _) => "no answer".to_owned(),
            (None, Some(took), Some(ahead)) if ahead.abs() > 1 => {
                format!("ok, {took} ms; the clock of this machine is {ahead} s ahead")
            }
            (None, took, _) => format!("ok, {} ms", took.unwrap_or_default()),
        };
        line(
            "service",
            &format!("{:12} {} {state}", service.kind, service.url),
        );
    }
    if let Some(trust) = &report.trust {
        line("trust", trust);
    }
    if report.public_record {
        line(
            "privacy",
            "the identity, the time and a hash of each signature will be public; names and digests of files will not",
        );
    }
    if let Some(spool) = &report.spool {
        line("spool", spool);
    }
    if report.signature_made {
        line("test", "a signature was made, verified, and thrown away");
    }
}
