//! A checkpoint as it was when its save returned.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use autosign_signing::{
    Digest, Ignore, Manifest, Model, ModelFile, Placement, RelPath, WrittenFile, check_name,
    indexed, signature_path,
};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::lock::touches_disk;
use crate::run::Moment;

/// One file, group of files or folder that was saved, and how its files looked then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Resolved path; of a group, that of the file that it is named after.
    pub root: PathBuf,
    /// Which framework saved it.
    pub framework: String,
    /// At which step of the training, where that is known.
    #[serde(default)]
    pub step: Option<u64>,
    /// When it was saved; it stays so under another name.
    #[serde(default)]
    pub(crate) moment: Option<Moment>,
    /// Whether git's own files in it are left out.
    #[serde(default = "yes")]
    pub ignore_git_paths: bool,
    /// Whether it is all of a folder.
    #[serde(default)]
    folder: bool,
    /// Whether it is a group: these files and no others, wherever else the folder has some.
    #[serde(default)]
    group: bool,
    /// Where its signature belongs.
    #[serde(default)]
    placement: Placement,
    /// What lies in it and is a checkpoint of its own, with its signature: names.
    #[serde(default)]
    apart: Vec<RelPath>,
    files: Vec<Stamp>,
    /// What is known of it without reading it: only in the process that wrote it.
    #[serde(skip)]
    written: Option<Box<WrittenFile>>,
}

/// Name, inode, size and modification time of a file. Not its change time: a hard link made by the trainer, or a
/// `chmod`, is no change of content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    name: RelPath,
    ino: u64,
    size: u64,
    modified: (i64, i64),
}

impl Checkpoint {
    /// Looks at what was just saved at `root`, without git's own files if `ignore_git_paths`, and without `apart`, paths in
    /// it that are checkpoints of their own, unless an index in it names them.
    ///
    /// # Errors
    /// Those of [`Model::open`].
    pub fn observe(
        root: &Path,
        framework: &str,
        ignore_git_paths: bool,
        apart: &[PathBuf],
    ) -> Result<Self, Error> {
        touches_disk();
        let root = resolved(root)?;
        check_name(&signature_path(&root))?;
        let mut names: Vec<RelPath> = apart
            .iter()
            .filter_map(|path| RelPath::parse(path.strip_prefix(&root).ok()?.to_str()?).ok())
            .collect();
        names.sort_unstable();
        let mut new = Self {
            folder: root.is_dir(),
            root,
            framework: framework.to_owned(),
            step: None,
            moment: None,
            ignore_git_paths,
            group: false,
            placement: Placement::default(),
            apart: names,
            files: Vec::new(),
            written: None,
        };
        let mut model = new.model()?;
        if !new.apart.is_empty() {
            // The shards of a model are part of it, whoever saved each by itself.
            let shards = indexed(&model);
            let known = new.apart.len();
            new.apart.retain(|name| !shards.contains(name));
            if new.apart.len() < known {
                model = new.model()?;
            }
        }
        new.files = stamps(&model);
        Ok(new)
    }

    /// Looks at what was just saved as a group of `files`, one of them `root`, in its folder.
    ///
    /// # Errors
    /// Those of [`Model::listed`]; [`autosign_signing::Error::NotAFile`] for a file that is not below the folder of `root`.
    pub fn observe_group(root: &Path, framework: &str, files: &[PathBuf]) -> Result<Self, Error> {
        touches_disk();
        let root = resolved(root)?;
        check_name(&signature_path(&root))?;
        let folder = root.parent().unwrap_or(Path::new("/"));
        let mut names = Vec::new();
        for file in std::iter::once(&root).chain(files) {
            let file = resolved(file)?;
            let inside = file.strip_prefix(folder).unwrap_or(&file);
            names.push(RelPath::parse(&inside.to_string_lossy())?);
        }
        Ok(Self {
            files: stamps(&Model::listed(&root, &names)?),
            root,
            framework: framework.to_owned(),
            step: None,
            moment: None,
            ignore_git_paths: true,
            folder: false,
            group: true,
            placement: Placement::default(),
            apart: Vec::new(),
            written: None,
        })
    }

    /// The same, saved at `step` of the training.
    pub(crate) fn at_step(self, step: Option<u64>) -> Self {
        Self { step, ..self }
    }

    /// The same, with its signature there.
    pub(crate) fn placed(self, placement: Placement) -> Self {
        Self { placement, ..self }
    }

    /// The same, saved anew at a moment to come.
    pub(crate) fn anew(self) -> Self {
        Self {
            moment: None,
            ..self
        }
    }

    /// Whether it is this very checkpoint, whoever tells of it.
    pub(crate) fn is_again(&self, other: &Self) -> bool {
        *self == other.clone().saved_as(self)
    }

    /// The same, saved when and at which step `other` was.
    pub(crate) fn saved_as(self, other: &Self) -> Self {
        Self {
            step: other.step,
            moment: other.moment,
            placement: other.placement,
            ..self
        }
    }

    /// The same of a file that was hashed while it was written.
    pub(crate) fn with_digest(self, written: WrittenFile) -> Self {
        Self {
            written: Some(Box::new(written)),
            ..self
        }
    }

    /// Its manifest where it is known without reading it: what was written is still there.
    pub(crate) fn manifest(&self) -> Result<Option<Manifest>, autosign_signing::Error> {
        let known = self.written.as_ref();
        known.map_or(Ok(None), |written| written.manifest(&self.model()?))
    }

    /// Its root digest where that is known, whatever is there now.
    pub(crate) fn root_digest(&self) -> Option<Digest> {
        let written = self.written.as_ref();
        written.map(|written| written.root_digest())
    }

    /// Lists its files as they are now.
    pub(crate) fn model(&self) -> Result<Model, autosign_signing::Error> {
        touches_disk();
        if !self.group {
            return Model::open(&self.root, &self.ignore()?);
        }
        let names: Vec<_> = self.files.iter().map(|file| file.name.clone()).collect();
        Model::listed(&self.root, &names)
    }

    /// It as it is now.
    pub(crate) fn again(&self, apart: &[PathBuf]) -> Result<Self, Error> {
        if self.group {
            let files = stamps(&self.model()?);
            return Ok(Self {
                files,
                ..self.clone()
            });
        }
        let again = Self::observe(&self.root, &self.framework, self.ignore_git_paths, apart)?;
        Ok(again.saved_as(self))
    }

    /// Whether its files look now as they did then.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.model().is_ok_and(|now| stamps(&now) == self.files)
    }

    /// Whether `later` is this folder with files added to it, or with other changes but only of `touched` names.
    pub(crate) fn grew_into(&self, later: &Self, touched: &BTreeSet<PathBuf>, more: bool) -> bool {
        let is_touched = |stamp: &Stamp| touched.contains(&stamp.name.under(&self.root));
        let kept = |stamp: &Stamp| later.files.contains(stamp) || is_touched(stamp);
        let known = |stamp: &Stamp| self.files.contains(stamp) || is_touched(stamp);
        self.files.iter().all(kept) && (more || later.files.iter().all(known))
    }

    /// The same checkpoint after it was renamed to `root`, or linked. Of a group that is the file that it is named after: the others
    /// keep their names, and lie beside it as before, or it is not what was saved.
    pub(crate) fn moved(&self, root: PathBuf) -> Option<Self> {
        let mut new = self.clone();
        if !self.is_folder() {
            let old = self.root.file_name()?;
            let name = RelPath::parse(root.file_name()?.to_str()?).ok()?;
            let mut files = new.files.iter_mut();
            files.find(|file| file.name.as_str() == old)?.name = name;
            new.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        new.root = root;
        Some(new)
    }

    /// The paths of its files, where it is one or a group.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        let folder = self.root.parent().unwrap_or(Path::new("/"));
        let files = self.files.iter();
        files.map(|file| file.name.under(folder)).collect()
    }

    /// The group after its files were renamed to `places`, each by where it was. Nothing where they do not lie beside the file
    /// that it is named after, or below.
    pub(crate) fn regrouped(&self, places: &BTreeMap<PathBuf, PathBuf>) -> Option<Self> {
        let before = self.root.parent()?;
        let root = places.get(&self.root)?.clone();
        let folder = root.parent()?;
        let mut new = Self {
            written: None,
            ..self.clone()
        };
        for file in &mut new.files {
            let place = places.get(&file.name.under(before))?;
            file.name = RelPath::parse(place.strip_prefix(folder).ok()?.to_str()?).ok()?;
        }
        new.files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Some(Self { root, ..new })
    }

    /// The folders in it that are checkpoints of their own, and are still there.
    pub(crate) fn folders_apart(&self) -> Vec<PathBuf> {
        let apart = self.apart.iter().map(|name| name.under(&self.root));
        apart.filter(|path| path.is_dir()).collect()
    }

    /// Whether it is one file.
    pub(crate) fn is_one_file(&self) -> bool {
        !self.folder && !self.group
    }

    /// Whether it is all of a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.folder
    }

    /// Whether it is a group that has a file at or below `path`.
    pub(crate) fn lists(&self, path: &Path) -> bool {
        let folder = self.root.parent().unwrap_or(Path::new("/"));
        let mut files = self.files.iter();
        self.group && files.any(|file| file.name.under(folder).starts_with(path))
    }

    /// The names at its top that it has files in.
    pub(crate) fn parts(&self) -> BTreeSet<String> {
        let first = |file: &Stamp| file.name.components().next().map(str::to_owned);
        self.files.iter().filter_map(first).collect()
    }

    /// Size of all files in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    /// Where its signature belongs.
    #[must_use]
    pub fn signature(&self) -> PathBuf {
        touches_disk();
        self.placement.signature_of(&self.root)
    }

    /// Where else one may lie, which is not its own any more.
    pub(crate) fn other_signatures(&self) -> impl Iterator<Item = PathBuf> {
        let own = self.signature();
        let all = Placement::ALL.map(|placement| placement.signature_of(&self.root));
        all.into_iter().filter(move |path| *path != own)
    }

    /// What of it is not signed: git's own files, unless they are to be, the signature, and what is apart.
    pub(crate) fn ignore(&self) -> Result<Ignore, autosign_signing::Error> {
        let mut ignore = Ignore::new(
            &self.root,
            Some(&self.placement.signature_of(&self.root)),
            &[],
            self.ignore_git_paths,
        )?;
        for name in &self.apart {
            ignore.add(name.clone());
        }
        Ok(ignore)
    }
}

fn stamps(model: &Model) -> Vec<Stamp> {
    let stamp = |file: &ModelFile| Stamp {
        name: file.name.clone(),
        ino: file.state.ino,
        size: file.state.size,
        modified: file.state.modified,
    };
    model.files().iter().map(stamp).collect()
}

fn resolved(path: &Path) -> Result<PathBuf, Error> {
    Ok(path
        .canonicalize()
        .map_err(|source| autosign_signing::Error::Io {
            action: "open",
            path: path.into(),
            source,
        })?)
}

/// What records meant that were written before they could say.
fn yes() -> bool {
    true
}
