//! Links in a model: refused, followed where they may be, and never out of there.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod common;

use std::ops::ControlFlow;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use autosign_signing::{
    Error, Hashing, Ignore, Manifest, Model, Policy, Progress, RelPath, SymlinkFault, Symlinks,
    VerifiedModel, hash, sign, verify,
};
use common::{Fixture, signer, verifier};
use tempfile::TempDir;

macro_rules! refused {
    ($result:expr, $variant:pat, $link:expr) => {{
        let error = $result.err().expect("accepted");
        assert!(matches!(error, $variant), "{error:?}");
        let text = format!("{error}; {}", error.hint());
        assert!(!text.contains('\n') && text.contains($link), "{text}");
    }};
}

fn hashed(model: &Path, symlinks: Symlinks) -> Result<Manifest, Error> {
    let hashing = Hashing {
        symlinks,
        ..Hashing::default()
    };
    hash(model, &Ignore::git(), hashing)
}

fn within(fixture: &Fixture) -> Result<Manifest, Error> {
    hashed(&fixture.model, Symlinks::Within)
}

fn names(manifest: &Manifest) -> Vec<&str> {
    manifest.files().map(RelPath::as_str).collect()
}

fn link(fixture: &Fixture, target: &str, name: &str) {
    let path = fixture.model.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(&path);
    symlink(target, path).unwrap();
}

#[test]
fn links_inside_are_followed_and_folders_descended_into() {
    let fixture = Fixture::unsigned(&[("step-10/a", b"1"), ("step-10/sub/b", b"2"), ("c", b"3")]);
    link(&fixture, "step-10", "last");
    link(&fixture, "../c", "step-10/c");
    link(&fixture, "last/sub/../../c", "d");
    let manifest = within(&fixture).unwrap();
    assert_eq!(
        names(&manifest),
        [
            "c",
            "d",
            "last/a",
            "last/c",
            "last/sub/b",
            "step-10/a",
            "step-10/c",
            "step-10/sub/b"
        ]
    );
    assert!(manifest.serialization().allow_symlinks);
    let digest = |name: &str| {
        let mut resources = manifest.resources().iter();
        resources
            .find(|one| one.name.as_str() == name)
            .unwrap()
            .digest
            .clone()
    };
    assert_eq!(digest("d"), digest("c"));
    assert_eq!(digest("last/sub/b"), digest("step-10/sub/b"));
    refused!(
        hashed(&fixture.model, Symlinks::Refused),
        Error::Symlink { .. },
        "--allow-symlinks"
    );
    refused!(
        hashed(&fixture.model, Symlinks::HfCache),
        Error::Symlink { .. },
        "--allow-symlinks"
    );
}

#[test]
fn what_lies_behind_a_linked_folder_is_signed() {
    let fixture = Fixture::unsigned(&[("step-10/a", b"1")]);
    link(&fixture, "step-10", "last");
    let hashing = Hashing {
        symlinks: Symlinks::Within,
        ..Hashing::default()
    };
    let ignore = Ignore::new(&fixture.model, Some(&fixture.signature), &[], true).unwrap();
    let key = signer("p256.pem");
    sign(&fixture.model, &fixture.signature, &ignore, &key, hashing).unwrap();
    // The statement says that links were followed; the verifier may say otherwise.
    assert_eq!(fixture.verify().unwrap().files().len(), 2);
    let strict = Policy {
        symlinks: Some(Symlinks::Refused),
        ..Policy::default()
    };
    refused!(
        fixture.verify_with(&strict),
        Error::Symlink { .. },
        "/last\""
    );

    // Only behind the link: the folder that it leads to is another one.
    fixture.write("step-20/a", b"other");
    link(&fixture, "step-20", "last");
    let Err(Error::Differs(difference)) = fixture.verify() else {
        panic!("a linked folder was not looked into")
    };
    assert_eq!(difference.changed[0].as_str(), "last/a");

    // The same files, copied.
    std::fs::remove_dir_all(fixture.model.join("step-20")).unwrap();
    std::fs::remove_file(fixture.model.join("last")).unwrap();
    fixture.write("last/a", b"1");
    fixture.verify().unwrap();
}

#[test]
fn ways_out_are_refused() {
    let fixture = Fixture::unsigned(&[("a", b"1"), ("sub/b", b"2")]);
    std::fs::write(fixture.folder.path().join("secret"), b"s").unwrap();
    let absolute = fixture.model.join("a");
    for target in [
        "../secret",
        "..",
        "sub/../../secret",
        "../model/a",
        "../../../../../../../etc/hostname",
        "/etc/hostname",
        "/",
        absolute.to_str().unwrap(),
    ] {
        link(&fixture, target, "link");
        refused!(
            within(&fixture),
            Error::SymlinkNotFollowed {
                fault: SymlinkFault::Escapes,
                ..
            },
            &format!("{target:?}")
        );
    }
    // By way of a second link.
    link(&fixture, "../..", "sub/up");
    link(&fixture, "sub/up/secret", "link");
    refused!(
        within(&fixture),
        Error::SymlinkNotFollowed {
            fault: SymlinkFault::Escapes,
            ..
        },
        "/link\""
    );
    std::fs::remove_file(fixture.model.join("sub/up")).unwrap();
    // To nothing, to what is no folder, to what is no file.
    for target in ["none", "a/b"] {
        link(&fixture, target, "link");
        refused!(within(&fixture), Error::Io { .. }, "/link\"");
    }
    let fifo = fixture.model.join("sub/pipe");
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    link(&fixture, "sub/pipe", "link");
    let ignore = Ignore::new(&fixture.model, None, std::slice::from_ref(&fifo), true).unwrap();
    let refused = Model::open_with(&fixture.model, &ignore, Symlinks::Within);
    refused!(refused, Error::NotAFile { .. }, "FIFO");
    // What is left out is not followed, wherever it leads.
    let paths = [fifo, fixture.model.join("link")];
    let ignore = Ignore::new(&fixture.model, None, &paths, true).unwrap();
    Model::open_with(&fixture.model, &ignore, Symlinks::Within).unwrap();
}

#[test]
fn circles_are_refused() {
    for circle in [
        &[("a", "a")][..],
        &[("a", "b"), ("b", "a")],
        &[("loop", ".")],
        &[("sub/loop", "..")],
        &[("sub/loop", ".")],
        &[("sub/loop", "../other"), ("other/loop", "../sub")],
        &[("x", "sub/loop/deep"), ("sub/loop", "../x")],
    ] {
        let fixture = Fixture::unsigned(&[("file", b"1"), ("sub/file", b"2")]);
        for (name, target) in circle {
            link(&fixture, target, name);
        }
        refused!(
            within(&fixture),
            Error::SymlinkNotFollowed {
                fault: SymlinkFault::Cycle,
                ..
            },
            "leads back"
        );
    }
}

#[test]
fn folders_without_end_are_refused() {
    let fixture = Fixture::unsigned(&[("10/file", b"1")]);
    // Twice as many at each level, though none is a circle.
    for level in 0..10 {
        for name in ["x", "y"] {
            link(
                &fixture,
                &format!("../{}", level + 1),
                &format!("{level}/{name}"),
            );
        }
    }
    refused!(
        within(&fixture),
        Error::SymlinkNotFollowed {
            fault: SymlinkFault::Folders { .. },
            ..
        },
        "1000"
    );
}

/// Does something to the model while it is hashed.
struct Meddler<F>(F);

impl<F: Fn() + Sync> Progress for Meddler<F> {
    fn advance(&self, _: u64) -> ControlFlow<()> {
        (self.0)();
        ControlFlow::Continue(())
    }
}

#[test]
fn a_link_that_changes_while_hashing_is_seen() {
    let meddle: [fn(&Fixture); 4] = [
        |fixture| link(fixture, "b", "link"),
        |fixture| link(fixture, "../secret", "link"),
        |fixture| link(fixture, "sub", "link"),
        |fixture| {
            std::fs::remove_dir_all(fixture.model.join("sub")).unwrap();
            symlink("/etc", fixture.model.join("sub")).unwrap();
        },
    ];
    for change in meddle {
        let fixture = Fixture::unsigned(&[("a", b"1111"), ("b", b"2"), ("sub/c", b"3")]);
        std::fs::write(fixture.folder.path().join("secret"), b"s").unwrap();
        link(&fixture, "sub/c", "link");
        let done = std::sync::Once::new();
        let hashing = Hashing {
            symlinks: Symlinks::Within,
            threads: 1.try_into().unwrap(),
            progress: &Meddler(|| done.call_once(|| change(&fixture))),
            ..Hashing::default()
        };
        let error = hash(&fixture.model, &Ignore::git(), hashing).expect_err("accepted");
        assert!(
            matches!(
                error,
                Error::ChangedWhileHashing { .. }
                    | Error::SymlinkNotFollowed {
                        fault: SymlinkFault::Escapes,
                        ..
                    }
                    | Error::Io { .. }
            ),
            "{error:?}"
        );
    }
}

#[test]
fn a_link_to_one_file() {
    let fixture = Fixture::unsigned(&[("step-10.pt", b"weights")]);
    link(&fixture, "step-10.pt", "last.pt");
    link(&fixture, "../model/step-10.pt", "out.pt");
    let one = |name: &str| hashed(&fixture.model.join(name), Symlinks::Within);
    let manifest = one("last.pt").unwrap();
    assert_eq!(
        (names(&manifest), manifest.model_name()),
        (vec!["last.pt"], "last.pt")
    );
    refused!(
        one("out.pt"),
        Error::SymlinkNotFollowed {
            fault: SymlinkFault::Escapes,
            ..
        },
        "out.pt"
    );
}

/// A Hugging Face cache with two repositories.
struct Cache {
    folder: TempDir,
    snapshot: PathBuf,
}

impl Cache {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut snapshots = Vec::new();
        for name in ["a", "b"] {
            let repository = folder.path().join(format!("models--org--{name}"));
            let snapshot = repository.join("snapshots/0123");
            std::fs::create_dir_all(repository.join("blobs")).unwrap();
            std::fs::create_dir_all(repository.join("refs")).unwrap();
            std::fs::create_dir_all(snapshot.join("unet")).unwrap();
            std::fs::write(repository.join("refs/main"), b"0123").unwrap();
            for blob in ["1", "2"] {
                std::fs::write(repository.join("blobs").join(blob), format!("{name}{blob}"))
                    .unwrap();
            }
            symlink("../../blobs/1", snapshot.join("config.json")).unwrap();
            symlink("../../../blobs/2", snapshot.join("unet/model.safetensors")).unwrap();
            snapshots.push(snapshot);
        }
        Self {
            folder,
            snapshot: snapshots.swap_remove(0),
        }
    }

    fn hashed(&self) -> Result<Manifest, Error> {
        hashed(&self.snapshot, Symlinks::HfCache)
    }

    fn link(&self, target: &str) {
        let path = self.snapshot.join("link");
        let _ = std::fs::remove_file(&path);
        symlink(target, path).unwrap();
    }
}

#[test]
fn a_snapshot_is_signed_by_its_names() {
    let cache = Cache::new();
    let manifest = cache.hashed().unwrap();
    assert_eq!(names(&manifest), ["config.json", "unet/model.safetensors"]);
    assert!(hashed(&cache.snapshot.join("unet"), Symlinks::HfCache).is_ok());
    let one = hashed(&cache.snapshot.join("config.json"), Symlinks::HfCache).unwrap();
    assert_eq!(names(&one), ["config.json"]);

    let signature = cache.folder.path().join("sig");
    let hashing = Hashing {
        symlinks: Symlinks::HfCache,
        ..Hashing::default()
    };
    let key = signer("p256.pem");
    sign(&cache.snapshot, &signature, &Ignore::git(), &key, hashing).unwrap();
    let verified = |model: &Path, symlinks| -> Result<VerifiedModel, Error> {
        let policy = Policy {
            symlinks,
            ..Policy::default()
        };
        verify(
            model,
            &signature,
            &verifier("p256"),
            &policy,
            Hashing::default(),
        )
    };
    verified(&cache.snapshot, Some(Symlinks::HfCache)).unwrap();
    refused!(
        verified(&cache.snapshot, None),
        Error::SymlinkNotFollowed {
            fault: SymlinkFault::Escapes,
            ..
        },
        "hf-cache"
    );
    // A copy without links.
    let copy = cache.folder.path().join("copy");
    std::fs::create_dir_all(copy.join("unet")).unwrap();
    for name in ["config.json", "unet/model.safetensors"] {
        std::fs::copy(cache.snapshot.join(name), copy.join(name)).unwrap();
    }
    verified(&copy, None).unwrap();
    // Another blob under the same name.
    std::fs::remove_file(cache.snapshot.join("config.json")).unwrap();
    symlink("../../blobs/2", cache.snapshot.join("config.json")).unwrap();
    let differs = verified(&cache.snapshot, Some(Symlinks::HfCache));
    refused!(differs, Error::Differs(_), "config.json");
}

#[test]
fn a_model_signed_as_files_verifies_where_a_cache_has_put_it() {
    let fixture = Fixture::signed(&[("config.json", b"a1"), ("unet/model.safetensors", b"a2")]);
    let cache = Cache::new();
    let blobs = cache.snapshot.join("../../blobs");
    std::fs::copy(&fixture.signature, blobs.join("3")).unwrap();
    let signature = cache.snapshot.join("model.sig");
    symlink("../../blobs/3", &signature).unwrap();
    let verified = |symlinks| {
        let policy = Policy {
            symlinks,
            ..Policy::default()
        };
        let key = verifier("p256");
        verify(
            &cache.snapshot,
            &signature,
            &key,
            &policy,
            Hashing::default(),
        )
    };
    assert_eq!(verified(Some(Symlinks::HfCache)).unwrap().files().len(), 2);
    refused!(verified(None), Error::Symlink { .. }, "hf-cache");
    cache.link("../../blobs/1");
    let differs = verified(Some(Symlinks::HfCache));
    refused!(differs, Error::Differs(_), "added: \"link\"");
}

#[test]
fn a_snapshot_leads_to_its_own_blobs_alone() {
    let cache = Cache::new();
    let blobs = cache.snapshot.join("../../blobs").canonicalize().unwrap();
    std::fs::create_dir(blobs.join("folder")).unwrap();
    symlink("1", blobs.join("chain")).unwrap();
    symlink("../../models--org--b/blobs/1", blobs.join("out")).unwrap();
    let absolute = blobs.join("1");
    for target in [
        "../../../models--org--b/blobs/1",
        "../../../models--org--b/snapshots/0123/config.json",
        "../../refs/main",
        "../../blobs/../refs/main",
        "../../blobs/folder",
        "../../blobs/chain",
        "../../blobs/out",
        "../../blobs",
        "../../../../../../../etc/hostname",
        "/etc/hostname",
        absolute.to_str().unwrap(),
        "config.json",
        "unet",
    ] {
        cache.link(target);
        refused!(
            cache.hashed(),
            Error::SymlinkNotFollowed {
                fault: SymlinkFault::Escapes,
                ..
            },
            &format!("{target:?}")
        );
    }
    cache.link("../../blobs/none");
    refused!(cache.hashed(), Error::Io { .. }, "/link\"");
    // A folder that only looks like a snapshot: no blobs, no links.
    std::fs::rename(&blobs, blobs.with_file_name("gone")).unwrap();
    refused!(cache.hashed(), Error::Symlink { .. }, "--allow-symlinks");
    // Nor are links followed to get there.
    symlink("../models--org--b/blobs", &blobs).unwrap();
    refused!(cache.hashed(), Error::Io { .. }, "blobs");
}

#[test]
fn a_blob_that_is_swapped_while_hashing_is_seen() {
    let cache = Cache::new();
    let done = std::sync::Once::new();
    let swap = || {
        done.call_once(|| {
            let path = cache.snapshot.join("unet/model.safetensors");
            std::fs::remove_file(&path).unwrap();
            symlink("../../../blobs/1", path).unwrap();
        });
    };
    let hashing = Hashing {
        symlinks: Symlinks::HfCache,
        threads: 1.try_into().unwrap(),
        progress: &Meddler(swap),
        ..Hashing::default()
    };
    let error = hash(&cache.snapshot, &Ignore::git(), hashing).expect_err("accepted");
    assert!(
        matches!(error, Error::ChangedWhileHashing { .. }),
        "{error:?}"
    );
}
