//! Threads of our own, which Python knows nothing of.

/// Starts a thread that nobody joins.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map(drop)
}

/// Lowers this thread, and those it starts, below whatever trains.
pub(crate) fn yield_to_training() {
    // On Linux the call is for one thread; elsewhere it would slow the whole process.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 19);
}
