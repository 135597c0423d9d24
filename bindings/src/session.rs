//! `Session` and `Status`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use autosign_session::{Error as SessionError, Saved};
use autosign_signing::{Error as SigningError, Placement};
use pyo3::prelude::*;

use crate::blocking::until;
use crate::error;

/// How many checkpoints stand where.
#[pyclass(frozen, get_all, eq, module = "model_signing_autosign")]
#[derive(PartialEq)]
pub(crate) struct Status {
    /// Signed by this process.
    signed: usize,
    /// Waiting, or being hashed or signed.
    pending: usize,
    /// Hashed, and in the spool for a flush by another process: mode `offline`.
    spooled: usize,
    /// Not signed so far; tried again by a flush.
    failed: usize,
    /// Replaced or removed before they were signed.
    superseded: usize,
}

#[pymethods]
impl Status {
    fn __repr__(&self) -> String {
        let Self {
            signed,
            pending,
            spooled,
            failed,
            superseded,
        } = self;
        format!(
            "Status(signed={signed}, pending={pending}, spooled={spooled}, failed={failed}, superseded={superseded})"
        )
    }
}

impl From<autosign_session::Status> for Status {
    fn from(status: autosign_session::Status) -> Self {
        let autosign_session::Status {
            signed,
            pending,
            spooled,
            failed,
            superseded,
        } = status;
        Self {
            signed,
            pending,
            spooled,
            failed,
            superseded,
        }
    }
}

/// Signs what it is told was saved. One for a process, and none across a fork.
#[pyclass(frozen, module = "model_signing_autosign._core")]
pub(crate) struct Session(autosign_session::Session);

#[pymethods]
impl Session {
    /// Read the settings and start no thread.
    ///
    /// Raises:
    ///     ConfigError: A setting is wrong and `MODEL_SIGNING_ON_ERROR` is `raise`; else it is a line on stderr.
    #[staticmethod]
    fn from_environment() -> PyResult<Self> {
        autosign_session::Session::from_environment()
            .map(Self)
            .map_err(error::session)
    }

    /// False where `MODEL_SIGNING_MODE` is `disabled`.
    #[getter]
    fn enabled(&self) -> bool {
        self.0.config().mode != autosign_session::Mode::Disabled
    }

    /// `MODEL_SIGNING_HOOKS`: names of hooks, or `auto`, or `none`.
    #[getter]
    fn hooks(&self) -> Vec<String> {
        self.0.config().hooks.clone()
    }

    /// `MODEL_SIGNING_PLUGINS`: names of plugins that frameworks are to load by themselves.
    #[getter]
    fn plugins(&self) -> Vec<String> {
        self.0.config().plugins.clone()
    }

    /// Whether a save returns only when its signature is there.
    #[getter]
    fn waits(&self) -> bool {
        self.0.config().saves_wait()
    }

    /// Note that `framework` has saved a checkpoint at `path`; wait for its signature only where the settings say so. With
    /// `files` it is these, `path` among them, and not a folder. Without `step` it was saved at that of `set_step`. What is
    /// `apart` lies in the folder and is a checkpoint of its own, whoever saved it. The signature of a file is `hidden` unless
    /// a setting says otherwise.
    ///
    /// Raises:
    ///     AutosignError: There is no signature, and `MODEL_SIGNING_ON_ERROR` is `raise`.
    #[pyo3(signature = (path, framework, files=Vec::new(), step=None, apart=Vec::new(), hidden=false))]
    #[allow(clippy::too_many_arguments)] // every one is a name
    fn saved(
        &self,
        py: Python<'_>,
        path: PathBuf,
        framework: &str,
        files: Vec<PathBuf>,
        step: Option<u64>,
        apart: Vec<PathBuf>,
        hidden: bool,
    ) -> PyResult<()> {
        let saved = Saved {
            files: &files,
            apart: &apart,
            step,
            placement: placement(hidden),
        };
        let mut ticket = py
            .detach(|| self.0.saved_as(&path, framework, saved))
            .map_err(error::session)?;
        until(py, |slice| ticket.poll(slice))?.map_err(error::session)
    }

    /// Sign what is at `path` now, and return the path of the signature.
    ///
    /// Raises:
    ///     SigningError: There is no signature, or not of what was there.
    fn sign(&self, py: Python<'_>, path: PathBuf) -> PyResult<PathBuf> {
        let mut ticket = py.detach(|| self.0.sign(&path)).map_err(error::session)?;
        until(py, |slice| ticket.poll(slice))?.map_err(error::session)?;
        py.detach(|| self.0.hurry());
        let signature = until(py, |slice| self.0.signature_within(&path, slice))?;
        signature.map_err(|error| {
            let SessionError::Signing(SigningError::Unsigned { .. }) = error else {
                return error::session(error);
            };
            let reason = "it was replaced or removed meanwhile".to_owned();
            error::session(SessionError::NotSigned { path, reason })
        })
    }

    /// Wait at most `timeout` seconds for what was saved at `path`, and return the path of its signature.
    ///
    /// Raises:
    ///     AutosignError: There is no signature.
    ///     TimeoutError: It takes longer.
    #[pyo3(signature = (path, timeout=None))]
    fn wait_for(&self, py: Python<'_>, path: PathBuf, timeout: Option<f64>) -> PyResult<PathBuf> {
        let end = ending(timeout.map(seconds));
        py.detach(|| self.0.hurry());
        until(py, |slice| {
            let signature = self.0.signature_within(&path, within(end, slice));
            if signature.is_none() && is_over(end) {
                return Some(Err(error::timeout(&path)));
            }
            signature.map(|found| found.map_err(error::session))
        })?
    }

    /// Note that the training is at `step`, or that it is not known.
    fn set_step(&self, step: Option<u64>) {
        self.0.set_step(step);
    }

    /// Note that a checkpoint is about to be written to `path`; `hidden` as for `saved`.
    #[pyo3(signature = (path, hidden=false))]
    fn begins(&self, py: Python<'_>, path: PathBuf, hidden: bool) {
        py.detach(|| self.0.begins_as(&path, placement(hidden)));
    }

    /// Note that the save that began at `path` has failed.
    fn broken_off(&self, py: Python<'_>, path: PathBuf) {
        py.detach(|| self.0.broken_off(&path));
    }

    /// Note that this process is about to write to the file at `path`.
    fn touched(&self, py: Python<'_>, path: PathBuf) {
        py.detach(|| self.0.touched(&path));
    }

    /// Note that `path` is about to be renamed to `to`, or `linked` there.
    fn moving(&self, py: Python<'_>, path: PathBuf, to: PathBuf, linked: bool) {
        py.detach(|| self.0.moving(&path, &to, linked));
    }

    /// Note that the file `path` is about to be copied to `to`.
    fn copying(&self, py: Python<'_>, path: PathBuf, to: PathBuf) {
        py.detach(|| self.0.copying(&path, &to));
    }

    /// Note that `path` is about to be removed, with all below it.
    fn removing(&self, py: Python<'_>, path: PathBuf) {
        py.detach(|| self.0.removing(&path));
    }

    /// Note that the folder at `path` is about to be removed, for which it must be empty.
    fn removing_folder(&self, py: Python<'_>, path: PathBuf) {
        py.detach(|| self.0.removing_folder(&path));
    }

    /// Note that a child, forked from the process of this session, is about to remove the folder at `path`.
    fn removing_folder_in_child(&self, py: Python<'_>, path: PathBuf) {
        py.detach(|| self.0.removing_folder_in_child(&path));
    }

    /// Try failed checkpoints again and wait for all, at most `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn flush(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Status> {
        self.wait(py, timeout.map(seconds))?;
        Ok(self.status())
    }

    /// At the end of the program: wait at most `MODEL_SIGNING_DRAIN_TIMEOUT`, and say what is left unsigned.
    fn drain(&self, py: Python<'_>) -> PyResult<Status> {
        let waited = self.wait(py, Some(self.0.config().drain_timeout));
        py.detach(|| self.0.report_left());
        waited.map(|()| self.status())
    }

    /// How many checkpoints stand where.
    fn status(&self) -> Status {
        self.0.status().into()
    }
}

/// Tell which standard streams this process was started with.
#[pyfunction]
pub(crate) fn standard_streams(stdout: bool, stderr: bool) {
    autosign_session::standard_streams(stdout, stderr);
}

/// Write a line to stderr, if the settings of this process want warnings.
#[pyfunction]
pub(crate) fn warn(py: Python<'_>, line: &str) {
    py.detach(|| autosign_session::warn(line));
}

impl Session {
    fn wait(&self, py: Python<'_>, patience: Option<Duration>) -> PyResult<()> {
        let end = ending(patience);
        py.detach(|| self.0.hurry());
        until(py, |slice| {
            (self.0.idle_within(within(end, slice)) || is_over(end)).then_some(())
        })
    }
}

pub(crate) fn seconds(number: f64) -> Duration {
    Duration::try_from_secs_f64(number.max(0.0)).unwrap_or(Duration::MAX)
}

/// When a wait is over; nothing for one without an end.
fn ending(patience: Option<Duration>) -> Option<Instant> {
    patience.and_then(|patience| Instant::now().checked_add(patience))
}

fn within(end: Option<Instant>, slice: Duration) -> Duration {
    end.map_or(slice, |end| {
        slice.min(end.saturating_duration_since(Instant::now()))
    })
}

fn is_over(end: Option<Instant>) -> bool {
    end.is_some_and(|end| Instant::now() >= end)
}

fn placement(hidden: bool) -> Placement {
    if hidden {
        Placement::Hidden
    } else {
        Placement::Beside
    }
}
