//! Random bytes of the operating system.

use rustix::io::Errno;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::Error;

/// `N` random bytes.
///
/// # Errors
/// [`Error::SigningFailed`], never weaker bytes, where the operating system has none.
pub fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(Errno::INTR) => {}
            Err(_) => return Err(Error::SigningFailed),
        }
    }
    Ok(bytes)
}

/// A file name that nobody else has or can guess: hidden, of this `kind`, and with 128 random bits. The file is made new with it
/// (`O_EXCL`), and removed by nobody who has not made it.
///
/// # Errors
/// Those of [`random`].
///
/// ```
/// let name = autosign_signing::temporary_name("record")?;
/// assert!(name.starts_with(".record-") && name.ends_with(".tmp"));
/// # Ok::<(), autosign_signing::Error>(())
/// ```
pub fn temporary_name(kind: &str) -> Result<String, Error> {
    let number = u128::from_ne_bytes(random()?);
    Ok(format!(".{kind}-{number:032x}.tmp"))
}
