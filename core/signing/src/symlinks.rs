//! Symbolic links in a model: refused, or followed by hand. The kernel never follows one: every component is opened
//! without following, so that a link that is put in or changed meanwhile leads nowhere else.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::{Error, RelPath};

/// To be opened for reading, whatever it is by now.
pub(crate) const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
pub(crate) const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Links followed for one name, as many as Linux follows.
const MAX_LINKS: usize = 40;

/// What becomes of symbolic links in a model. The model's own path may be a link to a folder with each of them.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Symlinks {
    /// They are refused.
    #[default]
    Refused,
    /// They are followed to files and folders inside the model, and no further. What a linked folder holds is part of
    /// the model under the link's name.
    Within,
    /// Those of a snapshot in a Hugging Face cache are followed, to files right below `blobs` of the same repository
    /// alone: `snapshots/REVISION/NAME` is signed as `NAME`. Elsewhere links are refused.
    HfCache,
}

impl Symlinks {
    /// What users write, in this order: refused, within, Hugging Face's cache.
    pub const NAMES: [&'static str; 3] = ["false", "true", "hf-cache"];

    /// The one of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "false" => Some(Self::Refused),
            "true" => Some(Self::Within),
            "hf-cache" => Some(Self::HfCache),
            _ => None,
        }
    }
}

/// Why a link is not followed.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SymlinkFault {
    /// It leads to a folder that it lies in, or through more links than a system follows.
    #[error("leads back to itself")]
    Cycle,
    /// It leads out of the model, or of the blobs of its repository, or is absolute.
    #[error("is outside of what may be followed")]
    Escapes,
    /// More folders lie behind links than a model has.
    #[error("is the last of more than {limit} folders behind links")]
    Folders {
        /// How many there may be.
        limit: usize,
    },
}

impl SymlinkFault {
    /// What to do next, in one sentence.
    pub(crate) fn hint(self) -> &'static str {
        match self {
            Self::Cycle | Self::Folders { .. } => {
                "remove the link, or leave it out with --ignore-paths"
            }
            Self::Escapes => {
                "replace the link by a copy, or leave it out with --ignore-paths; in a Hugging Face cache give --allow-symlinks=hf-cache (in a policy `ignore_paths`, `symlinks`)"
            }
        }
    }
}

/// Why what a name leads to is not opened.
pub(crate) enum Fault {
    Refused,
    NotFollowed(SymlinkFault),
    Io(Errno),
}

impl From<SymlinkFault> for Fault {
    fn from(fault: SymlinkFault) -> Self {
        Self::NotFollowed(fault)
    }
}

impl From<Errno> for Fault {
    fn from(error: Errno) -> Self {
        Self::Io(error)
    }
}

impl Fault {
    /// As an error about `path`, which may be a link; `action` is what was tried.
    pub(crate) fn at(self, action: &'static str, path: &Path) -> Error {
        match self {
            Self::Refused => Error::not_a_file(path, FileType::Symlink),
            Self::NotFollowed(fault) => Error::SymlinkNotFollowed {
                path: path.into(),
                target: path.read_link().unwrap_or_default(),
                fault,
            },
            Self::Io(error) => Error::io(action, path)(error.into()),
        }
    }
}

/// How the links of one model are followed.
#[derive(Debug)]
pub(crate) enum Follow {
    Never,
    Within,
    /// `blobs`, and how many folders the base of names lies below the repository.
    Blobs {
        folder: OwnedFd,
        depth: usize,
    },
}

impl Follow {
    /// For names below the resolved path `base`.
    pub(crate) fn new(symlinks: Symlinks, base: &Path) -> Result<Self, Error> {
        match symlinks {
            Symlinks::Refused => Ok(Self::Never),
            Symlinks::Within => Ok(Self::Within),
            Symlinks::HfCache => Self::blobs(base),
        }
    }

    fn blobs(base: &Path) -> Result<Self, Error> {
        let is_snapshots = |path: &&Path| path.file_name() == Some(OsStr::new("snapshots"));
        let Some(snapshots) = base.ancestors().skip(1).find(is_snapshots) else {
            return Ok(Self::Never);
        };
        let repository = snapshots.parent().unwrap_or(Path::new("/"));
        let below = base.strip_prefix(repository).unwrap_or(base);
        let path = repository.join("blobs");
        match rustix::fs::open(&path, FOLDER, Mode::empty()) {
            Ok(folder) => Ok(Self::Blobs {
                folder,
                depth: below.components().count(),
            }),
            Err(Errno::NOENT) => Ok(Self::Never),
            Err(error) => Err(Error::io("open", path)(error.into())),
        }
    }

    /// Opens what `name` below `root` leads to: a regular file, or a folder. Anything else is not opened.
    pub(crate) fn open(&self, root: BorrowedFd<'_>, name: &RelPath) -> Result<Opened, Fault> {
        match self {
            Self::Never => Err(Fault::Refused),
            Self::Within => within(root, name),
            Self::Blobs { folder, depth } => blob(root, name, folder.as_fd(), *depth),
        }
    }
}

/// What a name leads to.
pub(crate) struct Opened {
    pub(crate) stat: Stat,
    /// Nothing where it is neither a file nor a folder.
    pub(crate) file: Option<OwnedFd>,
}

impl Opened {
    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    fn at(folder: BorrowedFd<'_>, component: &OsStr, stat: Stat) -> Result<Self, Fault> {
        let flags = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => FILE,
            FileType::Directory => FOLDER,
            _ => return Ok(Self { stat, file: None }),
        };
        let file = rustix::fs::openat(folder, component, flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        Ok(Self {
            stat,
            file: Some(file),
        })
    }
}

/// Resolves `name` and the links that it meets, as the kernel would if `root` were all there is.
fn within(root: BorrowedFd<'_>, name: &RelPath) -> Result<Opened, Fault> {
    // The folders from the root to where the next component is looked up, and what is left to look up, last first.
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut rest: Vec<Vec<u8>> = name.components().rev().map(Vec::from).collect();
    let mut links = 0;
    while let Some(component) = rest.pop() {
        match component.as_slice() {
            b"" | b"." => continue,
            b".." => {
                drop(folders.pop().ok_or(SymlinkFault::Escapes)?);
                continue;
            }
            _ => {}
        }
        let component = OsStr::from_bytes(&component);
        let folder = folders.last().map_or(root, AsFd::as_fd);
        let stat = rustix::fs::statat(folder, component, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(SymlinkFault::Cycle.into());
                }
                let target = rustix::fs::readlinkat(folder, component, Vec::new())?.into_bytes();
                if target.first() == Some(&b'/') {
                    return Err(SymlinkFault::Escapes.into());
                }
                rest.extend(target.split(|&byte| byte == b'/').rev().map(Vec::from));
            }
            FileType::Directory => {
                let opened = rustix::fs::openat(folder, component, FOLDER, Mode::empty())?;
                folders.push(opened);
            }
            _ if rest.is_empty() => return Opened::at(folder, component, stat),
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    let folder = match folders.pop() {
        Some(folder) => folder,
        None => rustix::fs::openat(root, ".", FOLDER, Mode::empty())?,
    };
    Ok(Opened {
        stat: rustix::fs::fstat(&folder)?,
        file: Some(folder),
    })
}

/// Opens `name`, whose last component may be a link to a file right below `blobs`.
fn blob(
    root: BorrowedFd<'_>,
    name: &RelPath,
    blobs: BorrowedFd<'_>,
    depth: usize,
) -> Result<Opened, Fault> {
    let parent = parent(root, name)?;
    let folder = parent.as_ref().map_or(root, AsFd::as_fd);
    let component = OsStr::new(name.components().last().unwrap_or_default());
    let stat = rustix::fs::statat(folder, component, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        return Opened::at(folder, component, stat);
    }
    let target = rustix::fs::readlinkat(folder, component, Vec::new())?.into_bytes();
    let up = depth + name.components().count() - 1;
    let blob = blob_name(Path::new(OsStr::from_bytes(&target)), up).ok_or(SymlinkFault::Escapes)?;
    let stat = rustix::fs::statat(blobs, blob, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Opened::at(blobs, blob, stat),
        _ => Err(SymlinkFault::Escapes.into()), // a link again, or a folder: no blob
    }
}

/// `NAME` where `target` is `../../blobs/NAME`, with `up` times `..`.
fn blob_name(target: &Path, up: usize) -> Option<&OsStr> {
    let mut components = target.components();
    for _ in 0..up {
        if components.next()? != Component::ParentDir {
            return None;
        }
    }
    let blobs = Component::Normal(OsStr::new("blobs"));
    match (components.next()?, components.next()?, components.next()) {
        (folder, Component::Normal(name), None) if folder == blobs => Some(name),
        _ => None,
    }
}

/// The folder of `name`; nothing where that is `root` itself.
fn parent(root: BorrowedFd<'_>, name: &RelPath) -> Result<Option<OwnedFd>, Errno> {
    let parent = name.as_str().rsplit_once('/');
    let Some(parent) = parent.and_then(|(parent, _)| RelPath::parse(parent).ok()) else {
        return Ok(None);
    };
    open_beneath(root, &parent, FOLDER).map(Some)
}

/// Opens `name` below `root` one component at a time, so that no component can be a symbolic link.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    name: &RelPath,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let mut folder: Option<OwnedFd> = None;
    let mut components = name.components().peekable();
    loop {
        let Some(component) = components.next() else {
            return Err(Errno::INVAL); // not reached: a RelPath has a component
        };
        let at = folder.as_ref().map_or(root, AsFd::as_fd);
        if components.peek().is_none() {
            return rustix::fs::openat(at, component, flags, Mode::empty());
        }
        folder = Some(rustix::fs::openat(at, component, FOLDER, Mode::empty())?);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_a_blob_of_this_repository() {
        let name = |target: &'static str| blob_name(Path::new(target), 2).and_then(OsStr::to_str);
        assert_eq!(name("../../blobs/abc"), Some("abc"));
        for other in [
            "../blobs/abc",
            "../../../models--other/blobs/abc",
            "../../../blobs/abc",
            "../../blobs",
            "../../blobs/..",
            "../../blobs/a/b",
            "../../blobs/../refs/main",
            "../../refs/main",
            "/blobs/abc",
            "a",
            "",
        ] {
            assert_eq!(name(other), None, "{other}");
        }
    }
}
