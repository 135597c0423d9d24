//! What TensorFlow writes is what it would be without us, and signed. `framework-tests/rust` runs this, where the library is.
#![cfg(feature = "tensorflow-runtime")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used
)]

mod common;

use std::path::Path;
use std::time::SystemTime;
use std::{fs, io};

use autosign_hooks::{AutoSign, Error, SaveCheckpointSigned, SaveError, SaveModelSigned};
use common::{autosign, raising, verified};
use tensorflow::{
    CheckpointMaker, DataType, Graph, Operation, SavedModelBuilder, SavedModelBundle,
    SavedModelSaver, Scope, Session, SessionOptions, SessionRunArgs, Status, Variable, library,
    ops,
};

struct Trained {
    scope: Scope,
    weights: Variable,
    session: Session,
}

impl Trained {
    fn new() -> Self {
        library::load().unwrap();
        let scope = Scope::new_root_scope();
        let weights = Variable::builder()
            .const_initial_value([0.5_f32, -0.5])
            .build(&mut scope.with_op_name("weights"))
            .unwrap();
        let session = Session::new(&SessionOptions::new(), &scope.graph()).unwrap();
        let mut run = SessionRunArgs::new();
        run.add_target(weights.initializer());
        session.run(&mut run).unwrap();
        Self {
            scope,
            weights,
            session,
        }
    }

    fn checkpoints(&self) -> CheckpointMaker {
        let scope = self.scope.new_sub_scope("checkpoint");
        CheckpointMaker::new(scope, Box::new([self.weights.clone()]))
    }

    fn model(&mut self) -> SavedModelSaver {
        let mut builder = SavedModelBuilder::new();
        builder.add_tag("serve");
        builder.add_collection("network", std::slice::from_ref(&self.weights));
        builder.inject(&mut self.scope).unwrap()
    }

    /// What a graph may bring along: the weights saved twice, each time in a shard of its own.
    fn save_in_shards(&mut self, prefix: &Path) -> Result<(), Status> {
        let prefix = prefix.to_str().unwrap().to_owned();
        let parts = ["a", "b"].map(|part| format!("{prefix}-{part}"));
        let scope = &mut self.scope;
        let mut saves = Vec::<Operation>::new();
        for part in &parts {
            let name = ops::constant(part.clone(), scope)?;
            let tensor = ops::constant([part.clone()], scope)?;
            let whole = ops::constant([String::new()], scope)?;
            let mut graph = scope.graph_mut();
            let mut save = graph.new_operation("SaveV2", part.rsplit_once('-').unwrap().1)?;
            save.add_input(name);
            save.add_input(tensor);
            save.add_input(whole);
            save.add_input_list(&[self.weights.output().clone()]);
            save.set_attr_type_list("dtypes", &[DataType::Float])?;
            saves.push(save.finish()?);
        }
        let parts = ops::constant(&parts[..], scope)?;
        let whole = ops::constant(prefix, scope)?;
        let mut merge = ops::MergeV2Checkpoints::new();
        for save in saves {
            merge = merge.add_control_input(save);
        }
        let merge = merge.build(parts, whole, scope)?;
        let mut run = SessionRunArgs::new();
        run.add_target(&merge);
        self.session.run(&mut run)
    }
}

/// The files that the signature of `model` is for; an error if it does not fit them.
fn signed(model: &Path) -> Result<Vec<String>, autosign_signing::Error> {
    let found = verified(model)?;
    Ok(found.files().iter().map(ToString::to_string).collect())
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_checkpoint_is_signed_with_its_data_and_without_what_an_earlier_one_left() {
    let folder = tempfile::tempdir().unwrap();
    let inside = |name: &str| folder.path().join(name);
    let (prefix, index) = (inside("ckpt"), inside("ckpt.index"));
    let mut trained = Trained::new();
    let autosign = raising();

    let sharded = autosign.save_prefix(&prefix, || trained.save_in_shards(&prefix));
    sharded.unwrap();
    let shards = ["ckpt.data-00000-of-00002", "ckpt.data-00001-of-00002"];
    assert_eq!(
        signed(&index).unwrap(),
        [&shards[..], &["ckpt.index"]].concat()
    );

    // The clock of some file systems ticks slowly.
    for shard in shards {
        let file = fs::File::options()
            .append(true)
            .open(inside(shard))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    }
    let (whole, killed) = (
        "ckpt.data-00000-of-00001",
        "ckpt.data-00000-of-00001.tempstate1",
    );
    fs::write(inside(killed), "of a save that was killed").unwrap();
    let mut checkpoints = trained.checkpoints();
    let saved = autosign.save_prefix(&prefix, || {
        assert!(
            signed(&index).is_err(),
            "there is no signature of what is written anew"
        );
        checkpoints.save(&trained.session, prefix.to_str().unwrap())
    });
    saved.unwrap();
    assert_eq!(signed(&index).unwrap(), [whole, "ckpt.index"]);

    let failed = autosign.save_prefix(&prefix, || Err::<(), _>(io::Error::other("no")));
    assert!(matches!(failed.unwrap_err(), SaveError::Save(_)));
    assert_eq!(signed(&index).unwrap(), [whole, "ckpt.index"]);

    let mut bytes = fs::read(inside(whole)).unwrap();
    bytes[0] ^= 1;
    fs::write(inside(whole), bytes).unwrap();
    let differs = signed(&index).unwrap_err();
    assert!(matches!(differs, autosign_signing::Error::Differs(_)));

    autosign.remove_checkpoint(&prefix).unwrap();
    drop(autosign);
    assert_eq!(names(folder.path()), [killed]);
}

#[test]
fn a_model_is_signed_as_a_folder_and_a_failed_save_leaves_it_so() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let mut trained = Trained::new();
    let saver = trained.model();
    let (graph, session) = (trained.scope.graph(), &trained.session);
    let autosign = raising();

    saver.save_with(&autosign, session, &graph, &model).unwrap();
    let files = [
        "saved_model.pb",
        "variables/variables.data-00000-of-00001",
        "variables/variables.index",
    ];
    assert_eq!(signed(&model).unwrap(), files);

    let (mut loaded, options) = (Graph::new(), SessionOptions::new());
    let loaded = SavedModelBundle::load(&options, ["serve"], &mut loaded, &model);
    assert!(loaded.is_ok(), "the signature is in nobody's way");

    let again = saver.save_with(&autosign, session, &graph, &model);
    assert!(
        matches!(again.unwrap_err(), SaveError::Save(_)),
        "the folder is there"
    );
    assert_eq!(signed(&model).unwrap(), files);
}

#[test]
fn a_failed_save_is_tensorflow_s_own_error_and_signs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let trained = Trained::new();
    let autosign = raising();
    let mut checkpoints = trained.checkpoints();
    let saved = checkpoints.save_with(&autosign, &trained.session, file.join("ckpt"));
    assert!(matches!(saved.unwrap_err(), SaveError::Save(_)));
    assert_eq!(autosign.session().flush(None).signed, 0);
}

#[test]
fn a_missing_key_or_shard_is_raised_only_on_request() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("ckpt");
    let trained = Trained::new();
    let mut checkpoints = trained.checkpoints();
    let mut save = |autosign: &AutoSign| checkpoints.save_with(autosign, &trained.session, &prefix);

    save(&autosign(Path::new("/none"), "warn")).unwrap();
    let raised = save(&autosign(Path::new("/none"), "raise")).unwrap_err();
    assert!(matches!(raised, SaveError::Sign(Error::Signing(_))));

    let forget = || fs::remove_file(folder.path().join("ckpt.data-00000-of-00001"));
    let raised = raising().save_prefix(&prefix, forget);
    assert!(matches!(
        raised.unwrap_err(),
        SaveError::Sign(Error::Signing(_))
    ));
    assert_eq!(names(folder.path()), ["ckpt.index"]);
}

#[test]
fn a_removed_checkpoint_takes_its_signature_along_whichever_run_saved_it() {
    let folder = tempfile::tempdir().unwrap();
    let trained = Trained::new();
    let mut checkpoints = trained.checkpoints();
    let earlier = raising();
    for name in ["ckpt-1", "ckpt-2", "ckpt-3"] {
        checkpoints
            .save_with(&earlier, &trained.session, folder.path().join(name))
            .unwrap();
    }
    earlier
        .remove_checkpoint(&folder.path().join("ckpt-1"))
        .unwrap();
    drop(earlier);
    let later = raising();
    later
        .remove_checkpoint(&folder.path().join("ckpt-2"))
        .unwrap();
    assert!(
        later
            .remove_checkpoint(&folder.path().join("ckpt-2"))
            .is_err()
    );
    drop(later);
    assert_eq!(
        names(folder.path()),
        [
            "ckpt-3.data-00000-of-00001",
            "ckpt-3.index",
            "ckpt-3.index.sig"
        ]
    );
}
