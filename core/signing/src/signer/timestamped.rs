//! A signature with a word on when it was made: a timestamp (RFC 3161), for methods `key` and `certificate`.

use std::time::Duration;

use super::Signer;
use crate::services::{Connection, Deadline, request_timestamp};
use crate::verifier::Verifier;
use crate::{Bundle, Error, Statement};

/// For the timestamp of one signature, retries and all.
const LIMIT: Duration = Duration::from_secs(60);

/// A signer whose every signature is timestamped by an authority. For whoever believes that authority it then holds beyond
/// the end of a certificate, and proves that a key signed before the timestamp's time, whatever became of it since.
///
/// [`KeylessSigner`](crate::KeylessSigner) asks the authorities of its instance by itself.
///
/// ```no_run
/// use std::sync::Arc;
/// use autosign_signing::{Connection, Hashing, Ignore, KeySigner, SystemClock, Timestamped, sign};
/// let signer = KeySigner::read("key.pem".as_ref(), None)?;
/// let connection = Connection::new(None, Arc::new(SystemClock))?;
/// let signer = Timestamped::new(Box::new(signer), connection, "https://tsa.example/api/v1/timestamp".to_owned());
/// sign("model".as_ref(), "model.sig".as_ref(), &Ignore::git(), &signer, Hashing::default())?;
/// # Ok::<(), autosign_signing::Error>(())
/// ```
pub struct Timestamped {
    signer: Box<dyn Signer>,
    connection: Connection,
    url: String,
}

impl Timestamped {
    /// Has the signatures of `signer` timestamped by the authority at `url`, over `connection`.
    #[must_use]
    pub fn new(signer: Box<dyn Signer>, connection: Connection, url: String) -> Self {
        Self {
            signer,
            connection,
            url,
        }
    }
}

impl Signer for Timestamped {
    fn sign(&self, statement: &Statement) -> Result<Bundle, Error> {
        let bundle = self.signer.sign(statement)?;
        let within = Deadline::within(LIMIT);
        let http = self.connection.to("the timestamp authority", within);
        let stamp = request_timestamp(&http, &self.url, &bundle.envelope().signature)?;
        Ok(bundle.with_proofs(Vec::new(), vec![stamp]))
    }

    fn verifier(&self) -> &dyn Verifier {
        self.signer.verifier()
    }
}
