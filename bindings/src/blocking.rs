//! Long Rust work under an interpreter that wants to hear Ctrl-C.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use autosign_signing::Progress;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

const SLICE: Duration = Duration::from_millis(100);

/// Calls `step`, without the interpreter, until it has a result; between two calls Python handles its signals.
pub(crate) fn until<T: Send>(
    py: Python<'_>,
    mut step: impl FnMut(Duration) -> Option<T> + Send,
) -> PyResult<T> {
    loop {
        if let Some(result) = py.detach(|| step(SLICE)) {
            return Ok(result);
        }
        py.check_signals()?;
    }
}

/// Calls `work` in a thread of its own, which is to stop when the progress that it reports is answered with a break:
/// Python had a signal then, and raises.
pub(crate) fn stoppable<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&dyn Progress) -> T + Send,
) -> PyResult<T> {
    let stop = Stop::default();
    std::thread::scope(|scope| {
        let (done, result) = channel();
        let worker = scope.spawn(|| {
            let _ = done.send(work(&stop)); // nobody listens after a signal
            drop(done);
        });
        let waited = until(py, move |slice| match result.recv_timeout(slice) {
            Err(RecvTimeoutError::Timeout) => None,
            ended => Some(ended),
        });
        stop.0.store(waited.is_err(), Ordering::Relaxed);
        let joined = py.detach(|| worker.join());
        match (waited?, joined) {
            (Ok(result), Ok(())) => Ok(result),
            _ => Err(PyRuntimeError::new_err("the core broke off")),
        }
    })
}

#[derive(Default)]
struct Stop(AtomicBool);

impl Progress for Stop {
    fn advance(&self, _bytes: u64) -> ControlFlow<()> {
        if self.0.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
