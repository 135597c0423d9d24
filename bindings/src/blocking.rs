//! Long Rust work under an interpreter that wants to hear Ctrl-C.

use std::time::Duration;

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
