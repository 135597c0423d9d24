//! What a command prints, and whether it arrived.

use std::io::{self, ErrorKind, Write};

/// Remembers the first error of a writer, so that nobody who prints has to look at it.
pub(crate) struct Output<'a> {
    to: &'a mut dyn Write,
    error: Option<io::Error>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(to: &'a mut dyn Write) -> Self {
        Self { to, error: None }
    }

    /// Whether all has been written. A reader that has gone away, as `head` does, has had what it wanted.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        let _ = self.flush();
        match self.error {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }

    fn noted<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.inspect_err(|error| {
            // Those of `write_all` are the same again.
            if self.error.is_none() && error.kind() != ErrorKind::Interrupted {
                self.error = Some(io::Error::from(error.kind()));
            }
        })
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.to.write(bytes);
        self.noted(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.to.flush();
        self.noted(result)
    }
}
