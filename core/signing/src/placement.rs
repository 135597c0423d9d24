//! Where signatures lie (docs/decisions/0048-hidden-signatures.md).

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::placing::{earlier, set_times};
use crate::publish::take_back;
use crate::symlinks::FOLDER;

/// The folder that holds what of signatures scripts should not find, and in it that of the files beside it. It is two folders, because the
/// first then changes no more: a search for what has changed last in a folder finds it only where nothing was saved since.
const HIDDEN: [&str; 2] = [".signatures", "files"];

/// Where the signature of a file lies; that of a folder is always `model.sig` in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// `NAME.sig` beside it, where every tool of the format looks.
    #[default]
    Beside,
    /// `.signatures/files/NAME.sig`, where no script finds it that looks for checkpoints.
    Hidden,
}

impl Placement {
    /// In the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Beside, Self::Hidden];

    /// The path of the signature of `model`.
    #[must_use]
    pub fn signature_of(self, model: &Path) -> PathBuf {
        if model.is_dir() {
            return model.join("model.sig");
        }
        let mut name = model.file_name().unwrap_or_default().to_owned();
        name.push(".sig");
        let beside = model.with_file_name(&name);
        match self {
            Self::Beside => beside,
            Self::Hidden => {
                let folder = HIDDEN.iter().collect::<PathBuf>();
                beside.with_file_name(folder).join(name)
            }
        }
    }
}

/// Where a model's signature lies by default: `model.sig` inside a folder, `NAME.sig` beside a file.
#[must_use]
pub fn signature_path(model: &Path) -> PathBuf {
    Placement::Beside.signature_of(model)
}

/// Where a model's signature is: beside it if there is one, else hidden. Other tools see only the former, so where both are there, no
/// other one verifies here than there. Where there is none, it would be beside.
///
/// ```
/// use autosign_signing::{Placement, find_signature};
/// let folder = tempfile::tempdir()?;
/// let model = folder.path().join("last.pt");
/// assert_eq!(find_signature(&model), folder.path().join("last.pt.sig"));
/// let hidden = Placement::Hidden.signature_of(&model);
/// std::fs::create_dir_all(hidden.parent().unwrap())?;
/// std::fs::write(&hidden, b"{}")?;
/// assert_eq!(find_signature(&model), folder.path().join(".signatures/files/last.pt.sig"));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn find_signature(model: &Path) -> PathBuf {
    let places = Placement::ALL.map(|placement| placement.signature_of(model));
    let found = places.iter().find(|path| path.symlink_metadata().is_ok());
    found.unwrap_or(&places[0]).clone()
}

/// Removes every signature of the model, wherever it lies, and returns the one that [`find_signature`] finds; nothing where there is none.
#[must_use]
pub fn take_back_all(model: &Path) -> Option<(Placement, Vec<u8>)> {
    let mut first = None;
    for placement in Placement::ALL {
        if let Ok(Some(bytes)) = take_back(&placement.signature_of(model)) {
            first.get_or_insert((placement, bytes));
        }
    }
    first
}

/// The folder of the files whose hidden signatures lie in `folder`; nothing where it is none of those.
fn holder(folder: &Path) -> Option<&Path> {
    let [first, second] = HIDDEN;
    let outer = folder.ends_with(Path::new(first).join(second));
    outer.then(|| folder.parent()?.parent()).flatten()
}

/// Whether a signature at `path` is a hidden one.
pub(crate) fn is_hidden(path: &Path) -> bool {
    path.parent().and_then(holder).is_some()
}

/// The folder of hidden signatures in `folder`, and in that the one in which they lie.
#[must_use]
pub fn hidden_folders(folder: &Path) -> (PathBuf, PathBuf) {
    let [first, second] = HIDDEN;
    let outer = folder.join(first);
    let inner = outer.join(second);
    (outer, inner)
}

/// Opens the folder in which a signature goes; one of hidden signatures is made, and looks older than what lies beside it.
pub(crate) fn open_for(folder: &Path) -> Result<OwnedFd, Errno> {
    let Some(holder) = holder(folder) else {
        return open(folder);
    };
    // No link is followed: whoever may put one there does not say where this user's files go.
    let hidden = HIDDEN.iter().try_fold(open(holder)?, |folder, name| {
        rustix::fs::openat(folder, *name, FOLDER, Mode::empty())
    });
    match hidden {
        Err(Errno::NOENT) => make(holder),
        other => other,
    }
}

fn open(folder: &Path) -> Result<OwnedFd, Errno> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let flags = FOLDER.difference(OFlags::NOFOLLOW);
    rustix::fs::open(folder, flags, Mode::empty())
}

fn make(holder: &Path) -> Result<OwnedFd, Errno> {
    let outermost = open(holder)?;
    let times = rustix::fs::fstat(&outermost)?;
    let mut folders = vec![outermost];
    for name in HIDDEN {
        let Some(parent) = folders.last() else {
            continue;
        };
        match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        let new = rustix::fs::openat(parent, name, FOLDER, Mode::empty())?;
        folders.push(new);
    }
    // What is made in a folder makes that younger.
    for made in folders.iter().skip(1) {
        set_times(made, &times, earlier);
    }
    if let Some(outermost) = folders.first() {
        set_times(outermost, &times, |time| time);
    }
    folders.pop().ok_or(Errno::NOENT)
}

/// Makes the folder for the hidden signature of `model`, a file that is yet to be saved: what is made later would be the last thing that
/// has changed in its folder.
///
/// # Errors
/// [`Error::Io`].
pub fn prepare_hidden(model: &Path) -> Result<(), Error> {
    let path = Placement::Hidden.signature_of(model);
    let folder = path.parent().unwrap_or(&path);
    open_for(folder)
        .map(drop)
        .map_err(|e| Error::io("create", folder)(e.into()))
}

/// Takes [`prepare_hidden`] back for what turned out not to be signed there.
pub fn unprepare_hidden(model: &Path) {
    tidy(model.parent().unwrap_or(Path::new("/")));
}

/// Removes the folder of hidden signatures that `signature` lay in, if it was the last of them. The folder around it keeps its times.
pub fn tidy_hidden(signature: &Path) {
    if let Some(holder) = signature.parent().and_then(holder) {
        tidy(holder);
    }
}

fn tidy(holder: &Path) {
    let Ok(outermost) = open(holder) else { return };
    let Ok(times) = rustix::fs::fstat(&outermost) else {
        return;
    };
    let [first, second] = HIDDEN;
    let both = Path::new(first).join(second);
    let remove = |path: &Path| rustix::fs::unlinkat(&outermost, path, AtFlags::REMOVEDIR);
    // One that is not empty stays.
    if remove(&both).is_ok() && remove(Path::new(first)).is_ok() {
        set_times(&outermost, &times, |time| time);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::{Manner, publish};

    const SIGNATURE: &[u8] = br#"{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}"#;

    #[test]
    fn a_hidden_signature_goes_through_no_link() {
        let [folder, elsewhere] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let model = folder.path().join("a.pt");
        std::fs::write(&model, b"weights").unwrap();
        let signature = Placement::Hidden.signature_of(&model);
        std::fs::create_dir(elsewhere.path().join("files")).unwrap();
        symlink(elsewhere.path(), folder.path().join(".signatures")).unwrap();
        assert!(prepare_hidden(&model).is_err());
        assert!(publish(&signature, SIGNATURE, Manner::With(&model)).is_err());
        let inside = std::fs::read_dir(elsewhere.path().join("files")).unwrap();
        assert_eq!(inside.count(), 0);
    }

    #[test]
    fn a_hidden_signature_comes_although_others_go_at_the_same_moment() {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = |name: &str| folder.path().join(name);
        let [one, other] = ["one.pt", "other.pt"].map(path);
        for model in [&one, &other] {
            std::fs::write(model, b"weights").unwrap();
        }
        std::thread::scope(|scope| {
            for model in [&one, &other] {
                scope.spawn(move || {
                    for _ in 0..3000 {
                        let signature = Placement::Hidden.signature_of(model);
                        publish(&signature, SIGNATURE, Manner::With(model)).unwrap();
                        assert!(take_back_all(model).is_some());
                        tidy_hidden(&signature);
                        unprepare_hidden(model);
                    }
                });
            }
        });
    }

    #[test]
    fn a_folder_keeps_its_time_when_hidden_signatures_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("a.pt");
        std::fs::write(&model, b"weights").unwrap();
        let time = || folder.path().metadata().unwrap().modified().unwrap();
        let before = time();
        let signature = Placement::Hidden.signature_of(&model);
        publish(&signature, SIGNATURE, Manner::With(&model)).unwrap();
        assert_eq!(find_signature(&model), signature);
        let hidden = folder.path().join(".signatures");
        assert!(hidden.metadata().unwrap().modified().unwrap() < before);
        tidy_hidden(&signature);
        assert!(signature.exists(), "it is not empty");
        let (placement, bytes) = take_back_all(&model).unwrap();
        assert_eq!((placement, &*bytes), (Placement::Hidden, SIGNATURE));
        tidy_hidden(&signature);
        assert!(!hidden.exists());
        assert_eq!(time(), before);
    }
}
