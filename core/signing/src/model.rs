//! A model on disk: one file, or the regular files below a folder, and what is left out of it.
//!
//! Refuses FIFOs, sockets and devices, names that are not UTF-8, and an empty model. The root is resolved once; below it
//! no symbolic link is followed but as [`Symlinks`] says, not even one put there while the model is read.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::placing::is_being_published;
use crate::symlinks::{FILE, FOLDER, Fault, Follow, Opened, SymlinkFault, open_beneath};
use crate::{Error, Ignore, RelPath, Symlinks};

/// Folders that may be reached through links in one model; some tens of links can be folders without end.
const MAX_LINKED: usize = 1_000;

/// Device, inode, size in bytes, modification and change time (seconds, nanoseconds), and number of names of a file when it
/// was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    dev: u64,
    /// Inode number; 0 where files do not keep theirs, and it tells nothing.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time: seconds since 1970, nanoseconds.
    pub modified: (i64, i64),
    changed: (i64, i64),
    /// How many names it has.
    pub links: u64,
}

/// One regular file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the manifest.
    pub name: RelPath,
    /// How it was when it was listed.
    pub state: FileState,
}

/// For whom a model is listed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// What this process is about to rename to a signature, of a part of the model, is no file of it.
    Signing,
    /// Every file counts.
    Verifying,
}

/// What lies at a path that should hold a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind(FileType);

impl FileKind {
    pub(crate) const SYMLINK: Self = Self(FileType::Symlink);

    /// Whether it is a folder.
    #[must_use]
    pub fn is_folder(self) -> bool {
        self.0 == FileType::Directory
    }
}

impl From<FileType> for FileKind {
    fn from(kind: FileType) -> Self {
        Self(kind)
    }
}

impl From<std::fs::FileType> for FileKind {
    fn from(kind: std::fs::FileType) -> Self {
        Self(match kind {
            kind if kind.is_dir() => FileType::Directory,
            kind if kind.is_symlink() => FileType::Symlink,
            kind if kind.is_fifo() => FileType::Fifo,
            kind if kind.is_socket() => FileType::Socket,
            kind if kind.is_char_device() || kind.is_block_device() => FileType::CharacterDevice,
            _ => FileType::Unknown,
        })
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            FileType::Directory => "folder",
            FileType::Fifo => "FIFO",
            FileType::Socket => "socket",
            FileType::CharacterDevice | FileType::BlockDevice => "device",
            FileType::Symlink => "symbolic link",
            _ => "special file",
        })
    }
}

/// A folder that is yet to be listed.
struct Pending {
    name: RelPath,
    /// What it lies in: the way from the root to a deep one is long. Nothing where it is a link.
    parent: Option<Rc<OwnedFd>>,
}

/// The files of a model, listed but not read.
#[derive(Debug)]
pub struct Model {
    root: PathBuf,
    /// What names are relative to.
    base: PathBuf,
    folder: OwnedFd,
    inodes: Inodes,
    symlinks: Symlinks,
    follow: Follow,
    /// Folders reached through links.
    linked: usize,
    single: bool,
    files: Vec<ModelFile>,
    ignored: Vec<ModelFile>,
}

impl Model {
    /// Lists the model at `path`, in which no link may be.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Symlink`], [`Error::NotAFile`] and [`Error::NameNotUtf8`] name the offending file;
    /// [`Error::EmptyModel`] where nothing is left to sign.
    pub fn open(path: &Path, ignore: &Ignore) -> Result<Self, Error> {
        Self::open_with(path, ignore, Symlinks::Refused)
    }

    /// Lists the model at `path`, and does with links as `symlinks` says.
    ///
    /// # Errors
    /// Those of [`Model::open`]; [`Error::SymlinkNotFollowed`].
    ///
    /// ```
    /// use autosign_signing::{Ignore, Model, Symlinks};
    /// let folder = tempfile::tempdir()?;
    /// std::fs::write(folder.path().join("step-10.pt"), b"weights")?;
    /// std::os::unix::fs::symlink("step-10.pt", folder.path().join("last.pt"))?;
    /// assert!(Model::open(folder.path(), &Ignore::git()).is_err());
    /// let model = Model::open_with(folder.path(), &Ignore::git(), Symlinks::Within)?;
    /// assert_eq!(model.files().len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open_with(path: &Path, ignore: &Ignore, symlinks: Symlinks) -> Result<Self, Error> {
        let model = Self::list(path, ignore, symlinks, Side::Signing)?;
        if model.files.is_empty() {
            return Err(Error::EmptyModel { path: path.into() });
        }
        Ok(model)
    }

    /// Leaves out every file that is not among `names`. What of `names` is not there is not missed.
    ///
    /// # Errors
    /// [`Error::EmptyModel`] where nothing is left.
    ///
    /// ```
    /// use autosign_signing::{Ignore, Model, RelPath};
    /// let folder = tempfile::tempdir()?;
    /// std::fs::write(folder.path().join("weights.bin"), b"weights")?;
    /// std::fs::write(folder.path().join("notes.txt"), b"notes")?;
    /// let model = Model::open(folder.path(), &Ignore::git())?.only(&[RelPath::parse("weights.bin")?])?;
    /// assert_eq!(model.files().len(), 1);
    /// assert!(model.only(&[]).is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn only(mut self, names: &[RelPath]) -> Result<Self, Error> {
        let names: BTreeSet<_> = names.iter().collect();
        self.files.retain(|file| names.contains(&file.name));
        if self.files.is_empty() {
            return Err(Error::EmptyModel { path: self.root });
        }
        Ok(self)
    }

    /// [`Model::open_with`] that lets a model be empty: a verifier still has to say what is missing.
    pub(crate) fn list(
        path: &Path,
        ignore: &Ignore,
        symlinks: Symlinks,
        side: Side,
    ) -> Result<Self, Error> {
        let entry = rustix::fs::lstat(path).map_err(|e| Error::cannot_open(path)(e.into()))?;
        match FileType::from_raw_mode(entry.st_mode) {
            FileType::RegularFile => Self::single(&resolve(path)?, &entry),
            FileType::Directory => Self::tree(resolve(path)?, ignore, symlinks, side),
            FileType::Symlink if path.is_dir() => {
                Self::tree(resolve(path)?, ignore, symlinks, side)
            }
            FileType::Symlink if symlinks != Symlinks::Refused => Self::linked(path, symlinks),
            kind => Err(Error::not_a_file(path, kind)),
        }
    }

    /// No file yet; names are relative to the resolved path `base`.
    fn new(root: PathBuf, base: PathBuf, symlinks: Symlinks) -> Result<Self, Error> {
        let folder = open_folder(&base)?;
        Ok(Self {
            inodes: Inodes::of(&folder),
            folder,
            follow: Follow::new(symlinks, &base)?,
            symlinks,
            linked: 0,
            single: false,
            files: Vec::new(),
            ignored: Vec::new(),
            root,
            base,
        })
    }

    /// Lists a model that is some files and not all of a folder: `names`, beside or below the file at `main`, which is
    /// one of them and after which the model is named.
    ///
    /// # Errors
    /// Those of [`Model::open`].
    pub fn listed(main: &Path, names: &[RelPath]) -> Result<Self, Error> {
        let model = Self::find(main, names)?;
        match names.iter().find(|name| !model.has(name)) {
            Some(name) => Err(Error::io("open", model.path_of(name))(Errno::NOENT.into())),
            None if model.files.is_empty() => Err(Error::EmptyModel { path: main.into() }),
            None => Ok(model),
        }
    }

    /// [`Model::listed`] that leaves out what is not there.
    pub(crate) fn find(main: &Path, names: &[RelPath]) -> Result<Self, Error> {
        let root = resolve(main)?;
        let base = root.parent().unwrap_or(Path::new("/")).to_path_buf();
        let mut model = Self::new(root, base, Symlinks::Refused)?;
        for name in names {
            let path = model.path_of(name);
            let fail = |e: Errno| Error::io("look at", &path)(e.into());
            let stat = match open_beneath(model.folder.as_fd(), name, FILE) {
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(Errno::LOOP) => {
                    return Err(Error::not_a_file(&path, FileType::Symlink));
                }
                opened => rustix::fs::fstat(opened.map_err(fail)?).map_err(fail)?,
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => model.files.push(ModelFile {
                    name: name.clone(),
                    state: model.state(&stat),
                }),
                kind => return Err(Error::not_a_file(&path, kind)),
            }
        }
        model.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        model.files.dedup();
        Ok(model)
    }

    fn has(&self, name: &RelPath) -> bool {
        let found = self.files.binary_search_by(|file| file.name.cmp(name));
        found.is_ok()
    }

    fn single(root: &Path, entry: &Stat) -> Result<Self, Error> {
        let (base, name) = place(root)?;
        let mut model = Self::new(root.into(), base, Symlinks::Refused)?;
        model.single = true;
        let state = model.state(entry);
        model.files.push(ModelFile { name, state });
        Ok(model)
    }

    /// A model that is one file, by way of a link to it.
    fn linked(path: &Path, symlinks: Symlinks) -> Result<Self, Error> {
        let root = resolve_parent(path)?;
        let (base, name) = place(&root)?;
        let mut model = Self::new(root, base, symlinks)?;
        let opened = model.followed(&name)?;
        match opened.kind() {
            FileType::RegularFile => model.files.push(ModelFile {
                name,
                state: model.state(&opened.stat),
            }),
            kind => return Err(Error::not_a_file(path, kind)),
        }
        model.single = true;
        Ok(model)
    }

    fn tree(root: PathBuf, ignore: &Ignore, symlinks: Symlinks, side: Side) -> Result<Self, Error> {
        let mut model = Self::new(root.clone(), root, symlinks)?;
        let mut folders = Vec::new();
        let folder = model.open_below(&model.folder, ".", None)?;
        model.read_folder(folder, None, ignore, side, &mut folders)?;
        while let Some(Pending { name, parent }) = folders.pop() {
            let component = name.components().next_back().unwrap_or_default();
            let opened = match parent {
                Some(parent) => model.open_below(&parent, component, Some(&name)),
                None => model.open_at(&name, FOLDER),
            };
            let read = opened.and_then(|opened| {
                model.read_folder(opened, Some(&name), ignore, side, &mut folders)
            });
            if let Err(error) = read {
                // What is left out may be unreadable or odd: nothing of it is signed.
                if !ignore.covers(&name) {
                    return Err(error);
                }
            }
        }
        model.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        model.ignored.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(model)
    }

    /// Opens a folder that is no link; `name` is its name in the model.
    fn open_below(
        &self,
        parent: &OwnedFd,
        component: &str,
        name: Option<&RelPath>,
    ) -> Result<OwnedFd, Error> {
        rustix::fs::openat(parent, component, FOLDER, Mode::empty())
            .map_err(|e| Error::io("open", self.shown(name))(e.into()))
    }

    fn shown(&self, folder: Option<&RelPath>) -> PathBuf {
        folder.map_or_else(|| self.base.clone(), |folder| self.path_of(folder))
    }

    fn read_folder(
        &mut self,
        opened: OwnedFd,
        folder: Option<&RelPath>,
        ignore: &Ignore,
        side: Side,
        folders: &mut Vec<Pending>,
    ) -> Result<(), Error> {
        let shown = self.shown(folder);
        let fail = |action| {
            let shown = shown.clone();
            move |e: Errno| Error::io(action, shown)(e.into())
        };
        let opened = Rc::new(opened);
        for entry in Dir::read_from(&*opened).map_err(fail("read"))? {
            let entry = entry.map_err(fail("read"))?;
            let component = entry.file_name().to_bytes();
            if matches!(component, b"." | b"..")
                || (side == Side::Signing && is_being_published(component))
            {
                continue;
            }
            let path = shown.join(OsStr::from_bytes(component));
            let name = RelPath::child(folder, utf8(&path, OsStr::from_bytes(component))?)?;
            let mut stat =
                rustix::fs::statat(&*opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|e| Error::io("look at", &path)(e.into()))?;
            let ignored = ignore.covers(&name);
            let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            if is_link && !ignored {
                stat = self.follow_entry(&name)?;
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    let parent = (!is_link).then(|| opened.clone());
                    folders.push(Pending { name, parent });
                }
                FileType::RegularFile => {
                    let state = self.state(&stat);
                    let list = if ignored {
                        &mut self.ignored
                    } else {
                        &mut self.files
                    };
                    list.push(ModelFile { name, state });
                }
                _ if ignored => {}
                kind => return Err(Error::not_a_file(&path, kind)),
            }
        }
        Ok(())
    }

    /// What the link at `name` leads to. A folder is one that may be descended into.
    fn follow_entry(&mut self, name: &RelPath) -> Result<Stat, Error> {
        let opened = self.followed(name)?;
        let path = self.path_of(name);
        let not_followed = |fault| Err(Fault::NotFollowed(fault).at("open", &path));
        if opened.kind() == FileType::Directory {
            self.linked += 1;
            if self.linked > MAX_LINKED {
                return not_followed(SymlinkFault::Folders { limit: MAX_LINKED });
            }
            if self.is_above(name, &opened.stat)? {
                return not_followed(SymlinkFault::Cycle);
            }
        }
        Ok(opened.stat)
    }

    fn followed(&self, name: &RelPath) -> Result<Opened, Error> {
        let opened = self.follow.open(self.folder.as_fd(), name);
        opened.map_err(|fault| fault.at("open", &self.path_of(name)))
    }

    /// Whether `folder` is one of those on the way from the root to `name`.
    fn is_above(&self, name: &RelPath, folder: &Stat) -> Result<bool, Error> {
        let same = |other: &Stat| (other.st_dev, other.st_ino) == (folder.st_dev, folder.st_ino);
        let root = rustix::fs::fstat(&self.folder);
        if same(&root.map_err(|e| Error::io("look at", &self.base)(e.into()))?) {
            return Ok(true);
        }
        let text = name.as_str();
        for (end, _) in text.match_indices('/') {
            let above = RelPath::parse(text.get(..end).unwrap_or_default())?;
            if same(&self.followed(&above)?.stat) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// How a file of this model is, of which that was told.
    pub(crate) fn state(&self, stat: &Stat) -> FileState {
        FileState::of(stat, self.inodes)
    }

    /// What of links was followed.
    #[must_use]
    pub fn symlinks(&self) -> Symlinks {
        self.symlinks
    }

    /// The last component of the model's path, as it stands in the statement's subject.
    #[must_use]
    pub fn name(&self) -> String {
        self.root
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    }

    /// The model's resolved path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Whether the model is one file rather than a folder.
    #[must_use]
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// The files, sorted by name.
    #[must_use]
    pub fn files(&self) -> &[ModelFile] {
        &self.files
    }

    /// Regular files that the ignore rules leave out, sorted by name.
    #[must_use]
    pub fn ignored(&self) -> &[ModelFile] {
        &self.ignored
    }

    /// The path of a file of this model, for messages.
    pub(crate) fn path_of(&self, name: &RelPath) -> PathBuf {
        name.under(&self.base)
    }

    /// Whether whoever opens `name` finds anything but a folder there, be it left out, a link, or not to be looked at.
    pub(crate) fn holds(&self, name: &RelPath) -> bool {
        use std::io::ErrorKind::{InvalidFilename, NotADirectory, NotFound};
        match std::fs::symlink_metadata(self.path_of(name)) {
            Ok(found) => !found.is_dir(),
            Err(e) => !matches!(e.kind(), InvalidFilename | NotADirectory | NotFound),
        }
    }

    pub(crate) fn open_file(&self, name: &RelPath) -> Result<OwnedFd, Error> {
        self.open_at(name, FILE)
    }

    fn open_at(&self, name: &RelPath, flags: OFlags) -> Result<OwnedFd, Error> {
        if matches!(self.follow, Follow::Never) {
            return open_beneath(self.folder.as_fd(), name, flags)
                .map_err(|e| Error::io("open", self.path_of(name))(e.into()));
        }
        let opened = self.followed(name)?;
        let kind = opened.kind();
        let path = || self.path_of(name);
        opened.file.ok_or_else(|| Error::not_a_file(&path(), kind))
    }
}

impl FileState {
    /// Whether it is the same file, not written to since. Its change time says less: it is another one after a rename.
    pub(crate) fn has_content_of(&self, other: &Self) -> bool {
        let content = |state: &Self| (state.dev, state.ino, state.size, state.modified);
        content(self) == content(other)
    }

    pub(crate) fn of(stat: &Stat, inodes: Inodes) -> Self {
        // The types of these fields differ between systems; none is ever negative or wider than 64 bits.
        #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
        Self {
            dev: stat.st_dev.try_into().unwrap_or(u64::MAX),
            ino: match inodes {
                Inodes::Kept => stat.st_ino.into(),
                Inodes::Changing => 0,
            },
            size: stat.st_size.try_into().unwrap_or(0),
            modified: (
                stat.st_mtime.into(),
                stat.st_mtime_nsec.try_into().unwrap_or(0),
            ),
            changed: (
                stat.st_ctime.into(),
                stat.st_ctime_nsec.try_into().unwrap_or(0),
            ),
            links: stat.st_nlink.into(),
        }
    }
}

/// Whether a file keeps its inode number while nothing happens to it (docs/decisions/0047-file-systems-of-clusters.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inodes {
    Kept,
    Changing,
}

impl Inodes {
    /// Those of FUSE and of SMB: where the server gives no numbers, the client makes them up, and makes up others when it
    /// has forgotten them.
    #[cfg(target_os = "linux")]
    const CHANGING: [u32; 4] = [0x6573_5546, 0xff53_4d42, 0xfe53_4d42, 0x517b];

    /// Those of the file system that `file` is on.
    #[cfg(target_os = "linux")]
    pub(crate) fn of(file: impl AsFd) -> Self {
        let kind = rustix::fs::fstatfs(file).map(|found| found.f_type);
        // Its width differs between systems, and its sign; the numbers have 32 bits.
        #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
        let is =
            |magic: &u32| kind.is_ok_and(|kind| i64::from(kind) & 0xffff_ffff == i64::from(*magic));
        if Self::CHANGING.iter().any(is) {
            Self::Changing
        } else {
            Self::Kept
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn of(_: impl AsFd) -> Self {
        Self::Kept
    }
}

/// The folder and the name of a file.
fn place(file: &Path) -> Result<(PathBuf, RelPath), Error> {
    let name = RelPath::parse(utf8(file, file.file_name().unwrap_or_default())?)?;
    Ok((file.parent().unwrap_or(Path::new("/")).into(), name))
}

fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::open(path, FOLDER, Mode::empty()).map_err(|e| Error::io("open", path)(e.into()))
}

pub(crate) fn resolve(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(Error::cannot_open(path))
}

/// Resolves all but the last component, which need not exist.
pub(crate) fn resolve_parent(path: &Path) -> Result<PathBuf, Error> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if parent.as_os_str().is_empty() => {
            Ok(resolve(Path::new("."))?.join(name))
        }
        (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
        _ => resolve(path),
    }
}

fn utf8<'a>(path: &Path, component: &'a OsStr) -> Result<&'a str, Error> {
    component
        .to_str()
        .ok_or_else(|| Error::NameNotUtf8 { path: path.into() })
}
