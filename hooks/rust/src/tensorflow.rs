//! TensorFlow. A `SavedModel` is a folder. A checkpoint is a group of files that share a prefix: `P.index`, which is
//! written last and beside which the signature goes, and `P.data-00000-of-00001` or more of them.

use std::error::Error;
use std::fs::{DirEntry, read_dir, remove_file};
use std::io;
use std::path::{Path, PathBuf};

use tensorflow::{CheckpointMaker, Code, Graph, SaveModelError, SavedModelSaver, Session, Status};

use crate::{AutoSign, SaveError};

const FRAMEWORK: &str = "tensorflow";

/// [`SaveSigned`](crate::SaveSigned) for a checkpoint, which is of a session.
///
/// ```no_run
/// use autosign_hooks::{AutoSign, SaveCheckpointSigned};
/// use tensorflow::{CheckpointMaker, Scope, Session, SessionOptions, SessionRunArgs, Variable};
///
/// let scope = Scope::new_root_scope();
/// let builder = Variable::builder().const_initial_value([0.5_f32, -0.5]);
/// let weights = builder.build(&mut scope.with_op_name("weights"))?;
/// let session = Session::new(&SessionOptions::new(), &scope.graph())?;
/// let mut run = SessionRunArgs::new();
/// run.add_target(weights.initializer());
/// session.run(&mut run)?;
///
/// let autosign = AutoSign::from_environment()?;
/// let mut checkpoints = CheckpointMaker::new(scope.new_sub_scope("checkpoint"), Box::new([weights]));
/// checkpoints.save_signed(&session, "ckpt-1")?;
/// drop(autosign); // waits for `ckpt-1.index.sig`
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait SaveCheckpointSigned {
    /// TensorFlow's own save of the checkpoint `prefix`, and the signature `<prefix>.index.sig`. It goes through the same
    /// [`AutoSign`] as with [`SaveSigned`](crate::SaveSigned).
    ///
    /// # Errors
    /// [`SaveError::Save`] as without us, and where `prefix` is not Unicode; [`SaveError::Sign`] only where
    /// `MODEL_SIGNING_ON_ERROR` is `raise`.
    fn save_signed<P: AsRef<Path>>(
        &mut self,
        session: &Session,
        prefix: P,
    ) -> Result<(), SaveError<Status>> {
        self.save_with(&AutoSign::current()?, session, prefix)
    }

    /// The same through `autosign`.
    ///
    /// # Errors
    /// Those of [`SaveCheckpointSigned::save_signed`].
    fn save_with<P: AsRef<Path>>(
        &mut self,
        autosign: &AutoSign,
        session: &Session,
        prefix: P,
    ) -> Result<(), SaveError<Status>>;
}

/// [`SaveSigned`](crate::SaveSigned) for a `SavedModel`, which is of a session and a graph.
pub trait SaveModelSigned {
    /// TensorFlow's own save to the new folder `folder`, and a signature in it. It goes through the same [`AutoSign`] as
    /// with [`SaveSigned`](crate::SaveSigned).
    ///
    /// # Errors
    /// [`SaveError::Save`] as without us; [`SaveError::Sign`] only where `MODEL_SIGNING_ON_ERROR` is `raise`.
    fn save_signed<P: AsRef<Path>>(
        &self,
        session: &Session,
        graph: &Graph,
        folder: P,
    ) -> Result<(), SaveError<SaveModelError>> {
        self.save_with(&AutoSign::current()?, session, graph, folder)
    }

    /// The same through `autosign`.
    ///
    /// # Errors
    /// Those of [`SaveModelSigned::save_signed`].
    fn save_with<P: AsRef<Path>>(
        &self,
        autosign: &AutoSign,
        session: &Session,
        graph: &Graph,
        folder: P,
    ) -> Result<(), SaveError<SaveModelError>>;
}

impl SaveCheckpointSigned for CheckpointMaker {
    fn save_with<P: AsRef<Path>>(
        &mut self,
        autosign: &AutoSign,
        session: &Session,
        prefix: P,
    ) -> Result<(), SaveError<Status>> {
        let prefix = prefix.as_ref();
        autosign.save_prefix(prefix, || {
            let unicode = prefix.to_str().ok_or_else(|| {
                Status::new_set_lossy(Code::InvalidArgument, "the prefix is not Unicode")
            })?;
            self.save(session, unicode)
        })
    }
}

impl SaveModelSigned for SavedModelSaver {
    fn save_with<P: AsRef<Path>>(
        &self,
        autosign: &AutoSign,
        session: &Session,
        graph: &Graph,
        folder: P,
    ) -> Result<(), SaveError<SaveModelError>> {
        let folder = folder.as_ref();
        autosign.save(folder, FRAMEWORK, || self.save(session, graph, folder))
    }
}

impl AutoSign {
    /// Runs `save`, which writes the checkpoint `prefix` in a way of its own, such as a session that runs the save
    /// operation of an imported graph; and has it signed like one of the crate's own.
    ///
    /// # Errors
    /// [`SaveError::Save`] with what `save` fails with; [`SaveError::Sign`] only where `MODEL_SIGNING_ON_ERROR` is `raise`.
    pub fn save_prefix<T, E: Error + 'static>(
        &self,
        prefix: &Path,
        save: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, SaveError<E>> {
        let index = with(prefix, ".index");
        let saved = self.saving(&index, save)?;
        self.saved_group(&index, FRAMEWORK, &shards(prefix))?;
        Ok(saved)
    }

    /// Removes the checkpoint `prefix`, and its signature with it, whoever saved it: [`AutoSign::remove`] for a group.
    ///
    /// # Errors
    /// What the system answers where a file cannot be removed, or there is no index.
    pub fn remove_checkpoint(&self, prefix: &Path) -> io::Result<()> {
        self.remove(&with(prefix, ".index"))?;
        for (shard, _) in all_shards(prefix) {
            remove_file(shard.path())?;
        }
        Ok(())
    }
}

/// The files of data that belong to an index just written: an earlier checkpoint of that name may have left others, in
/// more or fewer shards.
fn shards(prefix: &Path) -> Vec<PathBuf> {
    let modified = |shard: &DirEntry| shard.metadata().and_then(|found| found.modified()).ok();
    let newest = all_shards(prefix).max_by_key(|(shard, _)| modified(shard));
    // Where there is none, the first is missed when it is to be signed.
    let of = newest.map_or(1, |(_, of)| of);
    let shard = |number| with(prefix, &format!(".data-{number:05}-of-{of:05}"));
    (0..of).map(shard).collect()
}

/// Every `<prefix>.data-00000-of-00001`, and of how many it is one. Not what a save that was killed has left.
fn all_shards(prefix: &Path) -> impl Iterator<Item = (DirEntry, u32)> {
    let folder = prefix.parent().filter(|folder| *folder != Path::new(""));
    let entries = read_dir(folder.unwrap_or(Path::new(".")));
    entries.into_iter().flatten().flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let number = name.strip_prefix(prefix.file_name()?.to_str()?)?;
        let (_, of) = number.strip_prefix(".data-")?.split_once("-of-")?;
        let of = of.parse().ok()?;
        Some((entry, of))
    })
}

fn with(prefix: &Path, ending: &str) -> PathBuf {
    let mut path = prefix.as_os_str().to_owned();
    path.push(ending);
    path.into()
}
