//! A bar on stderr, for a person who waits more than a second.

use std::ops::ControlFlow;
use std::sync::Once;
use std::time::{Duration, Instant};

use autosign_signing::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const PATIENCE: Duration = Duration::from_secs(1);

/// Hidden until the work has taken a second, and wherever stderr is no terminal; gone when dropped.
pub(crate) struct Bar {
    drawn: ProgressBar,
    started: Instant,
    shown: Once,
}

impl Default for Bar {
    fn default() -> Self {
        Self {
            drawn: ProgressBar::hidden(),
            started: Instant::now(),
            shown: Once::new(),
        }
    }
}

impl Progress for Bar {
    fn start(&self, bytes: u64) {
        self.drawn.set_length(bytes);
    }

    fn advance(&self, bytes: u64) -> ControlFlow<()> {
        self.drawn.inc(bytes);
        if self.started.elapsed() > PATIENCE {
            self.shown.call_once(|| {
                let style = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
                if let Ok(style) = ProgressStyle::with_template(style) {
                    self.drawn.set_style(style);
                }
                // Draws nothing where stderr is no terminal.
                self.drawn.set_draw_target(ProgressDrawTarget::stderr());
            });
        }
        ControlFlow::Continue(())
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.drawn.finish_and_clear();
    }
}
