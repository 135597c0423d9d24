//! What two processes that publish at the same moment are told.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used
)]

use autosign_signing::{Error, Manner, publish};

#[test]
fn a_signature_of_something_else_in_its_place_is_no_success() {
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = folder.path().join("x.sig");
    // No bundles, but like them enough to be replaced.
    let contents = ["one", "two"].map(|name| format!("dev.sigstore.bundle {name}").into_bytes());
    let mut displaced = false;
    for _ in 0..50_000 {
        let path = path.as_path();
        let results = std::thread::scope(|scope| {
            let threads = contents
                .each_ref()
                .map(|content| scope.spawn(move || publish(path, content, Manner::Plain)));
            threads.map(|thread| thread.join().unwrap())
        });
        let there = std::fs::read(path).unwrap();
        for (content, result) in contents.iter().zip(results) {
            match result {
                Ok(_) => {}
                Err(Error::Displaced { .. }) => {
                    displaced = true;
                    assert_ne!(*content, there);
                }
                Err(other) => panic!("{other}"),
            }
        }
        if displaced {
            return;
        }
    }
    panic!("two processes never met");
}
