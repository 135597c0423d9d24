//! What tch saves is signed, in each of its ways; and what is wrong with those ways is so without us.
#![cfg(feature = "tch")]
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::unwrap_used
)]

mod common;

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use autosign_hooks::{SaveError, SaveSigned, StreamSigned};
use autosign_signing::signature_path;
use common::{raising, verified};
use tch::nn::{Init, VarStore};
use tch::{Device, Kind, TchError, Tensor};

/// Two variables, all of whose values are `value`.
fn variables(value: f64) -> VarStore {
    let variables = VarStore::new(Device::Cpu);
    let root = variables.root();
    let _ = (&root / "hidden").var("weight", &[256, 1024], Init::Const(value));
    let _ = root.var("bias", &[3], Init::Const(value));
    variables
}

fn holds(variables: &VarStore, value: f64) -> bool {
    let all = variables.variables();
    all.len() == 2
        && all.values().all(|tensor| {
            let other = Tensor::full_like(tensor, value);
            tensor.equal(&other)
        })
}

fn loaded(path: &Path) -> Result<VarStore, TchError> {
    let mut new = variables(0.0);
    new.load(path)?;
    Ok(new)
}

#[test]
fn variables_are_signed_and_load_again() {
    let folder = tempfile::tempdir().unwrap();
    let autosign = raising();
    for name in ["a.safetensors", "a.ot", "a", "a.npz"] {
        let path = folder.path().join(name);
        for value in [1.0, 2.0] {
            variables(value).save_with(&autosign, &path).unwrap();
            verified(&path).unwrap();
            assert!(holds(&loaded(&path).unwrap(), value), "{name}");
        }
    }
}

#[test]
fn a_stream_is_signed_and_loads_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ot");
    let autosign = raising();
    for value in [1.0, 2.0] {
        variables(value).stream_with(&autosign, &path).unwrap();
        verified(&path).unwrap();
        assert!(holds(&loaded(&path).unwrap(), value));
    }
    let mut new = variables(0.0);
    new.load_from_stream(File::open(&path).unwrap()).unwrap();
    assert!(holds(&new, 2.0));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn the_file_is_the_one_that_tch_writes() {
    let folder = tempfile::tempdir().unwrap();
    let (plain, signed) = (
        folder.path().join("a.safetensors"),
        folder.path().join("b.safetensors"),
    );
    variables(1.0).save(&plain).unwrap();
    variables(1.0).save_with(&raising(), &signed).unwrap();
    assert_eq!(fs::read(plain).unwrap(), fs::read(signed).unwrap());
}

#[test]
fn tensors_are_signed_by_themselves_and_by_any_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name| folder.path().join(name);
    let autosign = raising();
    let tensor = Tensor::arange(5, (Kind::Float, Device::Cpu));
    tensor.save_with(&autosign, path("a")).unwrap();
    tensor.stream_with(&autosign, path("b")).unwrap();
    for name in ["a", "b"] {
        assert!(Tensor::load(path(name)).unwrap().equal(&tensor));
        verified(&path(name)).unwrap();
    }
    let named = [("step", tensor)];
    let path = path("c.safetensors");
    autosign
        .save(&path, "tch", || Tensor::write_safetensors(&named, &path))
        .unwrap();
    verified(&path).unwrap();
    let read = Tensor::read_safetensors(&path).unwrap();
    assert!(read[0].1.equal(&named[0].1));
    let path = folder.path().join("d.ot");
    let save = |file: &mut dyn Write| Tensor::save_multi_to_stream(&named, file);
    autosign.stream(&path, save).unwrap();
    verified(&path).unwrap();
    assert!(Tensor::load_multi(&path).unwrap()[0].1.equal(&named[0].1));
}

#[test]
fn a_failed_save_is_tch_s_own_error_and_signs_nothing() {
    let autosign = raising();
    for name in ["/none/here.ot", "/none/here.safetensors"] {
        let error = variables(1.0).save_with(&autosign, name).unwrap_err();
        assert!(matches!(error, SaveError::Save(_)), "{name}");
    }
    for name in ["/none/here.ot", "/dev/full"] {
        let error = variables(1.0).stream_with(&autosign, name);
        assert!(matches!(error, Err(SaveError::Save(TchError::Io(_)))));
    }
    assert!(!signature_path(Path::new("/dev/full")).exists());
    assert_eq!(autosign.session().flush(None).signed, 0);
}

/// `VarStore::save` writes a module of libtorch's whatever the name is, and `VarStore::load` wants a pickled dictionary
/// where it ends so.
#[test]
fn tch_cannot_load_what_it_saves_as_pt_or_bin() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.pt", "a.bin"] {
        let path = folder.path().join(name);
        variables(1.0).save(&path).unwrap();
        assert!(matches!(loaded(&path), Err(TchError::Torch(_))), "{name}");
        let renamed = path.with_extension("ot");
        fs::rename(&path, &renamed).unwrap();
        assert!(holds(&loaded(&renamed).unwrap(), 1.0), "{name}");
    }
}

/// Which is why ours never fails before the end.
#[test]
fn tch_ends_the_process_where_a_stream_fails() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "in_a_process_that_ends", "--ignored"]);
    let ran = command.output().unwrap();
    assert_eq!(ran.status.signal(), Some(6), "{ran:?}");
}

#[test]
#[ignore = "tch_ends_the_process_where_a_stream_fails runs it"]
fn in_a_process_that_ends() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let _ = variables(1.0).save_to_stream(full);
}
