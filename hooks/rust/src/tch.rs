//! tch: what libtorch trains.

use std::io::{self, Write};
use std::path::Path;

use tch::nn::VarStore;
use tch::{TchError, Tensor};

use crate::{AutoSign, SaveError, SaveSigned};

/// One call that writes a checkpoint as a stream, in libtorch's format, and has it signed: it is hashed while it is written,
/// and signing does not read it. `load` and `load_from_stream` read it if its name does not end in `.safetensors`, `.pt`,
/// or `.bin`.
///
/// ```
/// use autosign_hooks::{AutoSign, StreamSigned};
/// use tch::{Device, nn};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("last.ot");
/// let mut variables = nn::VarStore::new(Device::Cpu);
/// let _layer = nn::linear(variables.root(), 2, 1, nn::LinearConfig::default());
/// # let settings = [("MODEL_SIGNING_PRIVATE_KEY", "../../core/signing/tests/keys/p256.pem"), ("MODEL_SIGNING_SPOOL", "off")];
/// # let settings = autosign_session::Environment::from_iter(settings);
/// # let config = autosign_session::Config::read(&settings.into()).0;
/// # let autosign = AutoSign::new(autosign_session::Session::start(config, Box::new(|_| ())));
/// # #[cfg(any())] // the settings of this example are its own
/// let autosign = AutoSign::from_environment()?;
/// variables.stream_with(&autosign, &path)?;
/// drop(autosign); // waits for the signature
/// assert!(folder.path().join("last.ot.sig").exists());
/// variables.load(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait StreamSigned: SaveSigned {
    /// The framework's own save to a stream, which becomes the file at `path`, and a signature.
    ///
    /// # Errors
    /// Those of [`SaveSigned::save_signed`].
    fn stream_signed<P: AsRef<Path>>(&self, path: P) -> Result<(), SaveError<Self::Error>> {
        self.stream_with(&AutoSign::current()?, path)
    }

    /// The same through `autosign`.
    ///
    /// # Errors
    /// Those of [`SaveSigned::save_signed`].
    fn stream_with<P: AsRef<Path>>(
        &self,
        autosign: &AutoSign,
        path: P,
    ) -> Result<(), SaveError<Self::Error>>;
}

/// Both have `save` and `save_to_stream`, and no trait of tch's says so.
macro_rules! saves {
    ($(#[$doc:meta])* $type:ty) => {
        $(#[$doc])*
        impl SaveSigned for $type {
            type Error = TchError;

            fn save_with<P: AsRef<Path>>(
                &self,
                autosign: &AutoSign,
                path: P,
            ) -> Result<(), SaveError<TchError>> {
                autosign.save(path.as_ref(), "tch", || self.save(&path))
            }
        }

        impl StreamSigned for $type {
            fn stream_with<P: AsRef<Path>>(
                &self,
                autosign: &AutoSign,
                path: P,
            ) -> Result<(), SaveError<TchError>> {
                autosign.stream(path.as_ref(), |file| self.save_to_stream(file))
            }
        }
    };
}

saves! {
    /// [`VarStore::save`] chooses the format by the name: `.safetensors`, else libtorch's, for which the crate's own name is
    /// `.ot`. What it saves as `.pt` or `.bin` it cannot load.
    VarStore
}
saves!(Tensor);

impl AutoSign {
    /// Has one of tch's writers to a stream write the file at `path`, and has it signed, as [`AutoSign::write`] does. tch ends
    /// the process where a stream fails; this one does not, and the error is there in the end.
    ///
    /// # Errors
    /// Those of [`AutoSign::write`].
    pub fn stream<T>(
        &self,
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> Result<T, TchError>,
    ) -> Result<T, SaveError<TchError>> {
        self.write(path, "tch", |file| write(&mut Unfailing(file)))
    }
}

/// Says that all went well; the file knows better.
struct Unfailing<'a>(&'a mut dyn Write);

impl Write for Unfailing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
