//! A model on disk: one file, or the regular files below a folder, and what is left out of it.
//!
//! Refuses symbolic links, FIFOs, sockets and devices, names that are not UTF-8, and an empty model. The root is
//! resolved once; below it no symbolic link is ever followed, not even one put there while the model is read.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::{Error, RelPath};

/// Left out by default, at the top level only, each with all below it (OMS v1.0, file selection).
pub const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Paths to leave out, relative to the model's root, each with all below it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore(Vec<RelPath>);

impl Ignore {
    /// The rules of one operation: git's own files if `git`, the signature where it lies inside the model, and the
    /// caller's `paths` (relative ones are taken from the working directory, those outside the model match nothing).
    ///
    /// # Errors
    /// [`Error::IgnoresEverything`] where a path is the model itself; [`Error::NameNotUtf8`].
    pub fn new(
        model: &Path,
        signature: Option<&Path>,
        paths: &[PathBuf],
        git: bool,
    ) -> Result<Self, Error> {
        let mut all = if git { Self::git() } else { Self::default() };
        let root = resolve(model)?;
        for path in signature
            .into_iter()
            .chain(paths.iter().map(PathBuf::as_path))
        {
            let Ok(inside) =
                resolve_parent(path).map(|path| path.strip_prefix(&root).map(Path::to_path_buf))
            else {
                continue; // its folder does not exist, so nothing in the model lies there
            };
            match inside {
                Ok(inside) if inside.as_os_str().is_empty() && root.is_dir() => {
                    return Err(Error::IgnoresEverything {
                        entry: path.display().to_string(),
                    });
                }
                Ok(inside) if !inside.as_os_str().is_empty() => {
                    let name = inside
                        .to_str()
                        .ok_or_else(|| Error::NameNotUtf8 { path: path.into() })?;
                    all.add(RelPath::parse(name)?);
                }
                _ => {}
            }
        }
        Ok(all)
    }

    /// Git's own files and nothing else.
    #[must_use]
    pub fn git() -> Self {
        Self(
            GIT_PATHS
                .iter()
                .filter_map(|path| RelPath::parse(path).ok())
                .collect(),
        )
    }

    /// Adds one path.
    pub fn add(&mut self, path: RelPath) {
        if let Err(place) = self.0.binary_search(&path) {
            self.0.insert(place, path);
        }
    }

    /// The paths, sorted.
    #[must_use]
    pub fn paths(&self) -> &[RelPath] {
        &self.0
    }

    pub(crate) fn covers(&self, name: &RelPath) -> bool {
        self.0.iter().any(|path| name.is_within(path))
    }
}

/// Device, inode, size in bytes, modification and change time (seconds, nanoseconds) of a file when it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileState {
    dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time: seconds since 1970, nanoseconds.
    pub modified: (i64, i64),
    changed: (i64, i64),
}

/// One regular file of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the manifest.
    pub name: RelPath,
    /// How it was when it was listed.
    pub state: FileState,
}

/// What lies at a path that should hold a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileKind(FileType);

impl FileKind {
    pub(crate) const SYMLINK: Self = Self(FileType::Symlink);
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

/// The files of a model, listed but not read.
#[derive(Debug)]
pub struct Model {
    root: PathBuf,
    /// What names are relative to.
    base: PathBuf,
    folder: OwnedFd,
    single: bool,
    files: Vec<ModelFile>,
    ignored: Vec<ModelFile>,
}

impl Model {
    /// Lists the model at `path`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Symlink`], [`Error::NotAFile`] and [`Error::NameNotUtf8`] name the offending file;
    /// [`Error::EmptyModel`] where nothing is left to sign.
    pub fn open(path: &Path, ignore: &Ignore) -> Result<Self, Error> {
        let model = Self::list(path, ignore)?;
        if model.files.is_empty() {
            return Err(Error::EmptyModel { path: path.into() });
        }
        Ok(model)
    }

    /// [`Model::open`] that lets a model be empty: a verifier still has to say what is missing.
    pub(crate) fn list(path: &Path, ignore: &Ignore) -> Result<Self, Error> {
        let entry = rustix::fs::lstat(path).map_err(|e| Error::io("open", path)(e.into()))?;
        match FileType::from_raw_mode(entry.st_mode) {
            FileType::RegularFile => Self::single(path, &entry),
            FileType::Directory => Self::tree(resolve(path)?, ignore),
            FileType::Symlink if path.is_dir() => Self::tree(resolve(path)?, ignore),
            kind => Err(Error::not_a_file(path, kind)),
        }
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
        let mut model = Self {
            folder: open_folder(&base)?,
            root,
            base,
            single: false,
            files: Vec::new(),
            ignored: Vec::new(),
        };
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
                    state: FileState::of(&stat),
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

    fn single(path: &Path, entry: &Stat) -> Result<Self, Error> {
        let root = resolve(path)?;
        let name = RelPath::parse(utf8(&root, root.file_name().unwrap_or_default())?)?;
        let base = root.parent().unwrap_or(Path::new("/")).to_path_buf();
        Ok(Self {
            folder: open_folder(&base)?,
            files: vec![ModelFile {
                name,
                state: FileState::of(entry),
            }],
            ignored: Vec::new(),
            single: true,
            base,
            root,
        })
    }

    fn tree(root: PathBuf, ignore: &Ignore) -> Result<Self, Error> {
        let mut model = Self {
            folder: open_folder(&root)?,
            base: root.clone(),
            root,
            single: false,
            files: Vec::new(),
            ignored: Vec::new(),
        };
        let mut folders: Vec<Option<RelPath>> = vec![None];
        while let Some(folder) = folders.pop() {
            if let Err(error) = model.read_folder(folder.as_ref(), ignore, &mut folders) {
                // What is left out may be unreadable or odd: nothing of it is signed.
                if !folder.is_some_and(|folder| ignore.covers(&folder)) {
                    return Err(error);
                }
            }
        }
        model.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        model.ignored.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(model)
    }

    fn read_folder(
        &mut self,
        folder: Option<&RelPath>,
        ignore: &Ignore,
        folders: &mut Vec<Option<RelPath>>,
    ) -> Result<(), Error> {
        let shown = folder.map_or_else(|| self.base.clone(), |folder| folder.under(&self.base));
        let fail = |action| {
            let shown = shown.clone();
            move |e: Errno| Error::io(action, shown)(e.into())
        };
        let opened = match folder {
            Some(folder) => open_beneath(self.folder.as_fd(), folder, FOLDER),
            None => rustix::fs::openat(&self.folder, ".", FOLDER, Mode::empty()),
        }
        .map_err(fail("open"))?;
        for entry in Dir::read_from(&opened).map_err(fail("read"))? {
            let entry = entry.map_err(fail("read"))?;
            let component = entry.file_name().to_bytes();
            if matches!(component, b"." | b"..") {
                continue;
            }
            let path = shown.join(OsStr::from_bytes(component));
            let name = RelPath::child(folder, utf8(&path, OsStr::from_bytes(component))?)?;
            let stat = rustix::fs::statat(&opened, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|e| Error::io("look at", &path)(e.into()))?;
            let ignored = ignore.covers(&name);
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => folders.push(Some(name)),
                FileType::RegularFile => {
                    let state = FileState::of(&stat);
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

    pub(crate) fn open_file(&self, name: &RelPath) -> Result<OwnedFd, Error> {
        open_beneath(self.folder.as_fd(), name, FILE)
            .map_err(|e| Error::io("open", self.path_of(name))(e.into()))
    }
}

impl FileState {
    pub(crate) fn of(stat: &Stat) -> Self {
        // The types of these fields differ between systems; none is ever negative or wider than 64 bits.
        #[allow(clippy::useless_conversion, clippy::unnecessary_fallible_conversions)]
        Self {
            dev: stat.st_dev.try_into().unwrap_or(u64::MAX),
            ino: stat.st_ino.into(),
            size: stat.st_size.try_into().unwrap_or(0),
            modified: (
                stat.st_mtime.into(),
                stat.st_mtime_nsec.try_into().unwrap_or(0),
            ),
            changed: (
                stat.st_ctime.into(),
                stat.st_ctime_nsec.try_into().unwrap_or(0),
            ),
        }
    }
}

/// Opens `name` below `root` one component at a time, so that no component can be a symbolic link.
fn open_beneath(root: BorrowedFd<'_>, name: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
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

fn open_folder(path: &Path) -> Result<OwnedFd, Error> {
    rustix::fs::open(path, FOLDER, Mode::empty()).map_err(|e| Error::io("open", path)(e.into()))
}

fn resolve(path: &Path) -> Result<PathBuf, Error> {
    path.canonicalize().map_err(Error::io("open", path))
}

/// Resolves all but the last component, which need not exist.
fn resolve_parent(path: &Path) -> Result<PathBuf, Error> {
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
