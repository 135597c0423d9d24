//! What it costs to read, verify and compare a signature over very many files, beside the hashing of the files.
//!
//! `cargo bench -p autosign-signing --bench million -- [FILES]`; a million where no number is given, which takes a minute.
//! Peaks are of resident memory, by Linux.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::fs::File;
use std::path::Path;
use std::time::Instant;

use autosign_signing::{
    Bundle, Hashing, Ignore, KeySigner, Model, Policy, Signer, hash, sign, signature_path,
};

const FOLDER: usize = 1000;

fn main() {
    let files = std::env::args().find_map(|word| word.parse().ok());
    let files: usize = files.unwrap_or(1_000_000);
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let signature = signature_path(&model);
    for shard in 0..files.div_ceil(FOLDER) {
        let folder = model.join(format!("data/{shard:05}"));
        std::fs::create_dir_all(&folder).unwrap();
        for part in 0..FOLDER.min(files - shard * FOLDER) {
            File::create(folder.join(format!("part-{part:05}.safetensors"))).unwrap();
        }
    }
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/p256.pem");
    let signer = KeySigner::read(&key, None).unwrap();
    let ignore = Ignore::new(&model, Some(&signature), &[], true).unwrap();

    step("list", || Model::open(&model, &ignore).unwrap());
    step("list twice, hash", || {
        hash(&model, &ignore, Hashing::default()).unwrap()
    });
    step("sign", || {
        sign(&model, &signature, &ignore, &signer, Hashing::default()).unwrap()
    });
    let bytes = std::fs::metadata(&signature).unwrap().len();
    println!("{files} files, a signature of {} MiB", bytes >> 20);
    let bundle = step("read the bundle", || Bundle::read(&signature).unwrap());
    let proven = step("verify the bundle", || {
        signer.verifier().verify(&bundle).unwrap()
    });
    drop(bundle);
    let policy = Policy::default();
    step("list, hash, compare", || {
        proven.compare(&model, &signature, &policy, Hashing::default())
    })
    .unwrap();
}

fn step<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = resident("VmRSS");
    // Sets the peak back to what is in use.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let (begin, busy) = (Instant::now(), on_core());
    let result = work();
    let (took, busy) = (begin.elapsed().as_secs_f64(), on_core() - busy);
    let peak = resident("VmHWM");
    println!("{what}: {took:.2} s ({busy:.2} s on a core), {before} MiB before, peak {peak} MiB");
    result
}

/// Seconds that this thread, which reads and compares, has had a core.
fn on_core() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanoseconds: f64 = text.split_whitespace().next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}

fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kib = line.split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() >> 10
}
