//! What it costs to read, verify and compare a signature over very many files, beside the hashing of the files.
//!
//! `cargo bench -p autosign-signing --bench million -- [FILES]`; a million where no number is given, which takes a minute;
//! `--smoke`: as little as shows that it runs.
//! Peaks are of resident memory, by Linux. Most files are hard links to others, of one byte each, so that a disk has room
//! for them and each is heard of when it has been hashed.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use autosign_signing::{
    Bundle, Hashing, Ignore, KeySigner, Model, Policy, Progress, Signer, hash, sign, signature_path,
};

const FOLDER: usize = 1000;
const ROUNDS: usize = 3;

fn main() {
    let smoke = std::env::args().any(|word| word == "--smoke");
    let files = std::env::args().find_map(|word| word.parse().ok());
    let files: usize = files.unwrap_or(if smoke { 1500 } else { 1_000_000 });
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    let signature = signature_path(&model);
    for shard in 0..files.div_ceil(FOLDER) {
        let folder = model.join(format!("data/{shard:05}"));
        std::fs::create_dir_all(&folder).unwrap();
        for part in 0..FOLDER.min(files - shard * FOLDER) {
            let path = folder.join(format!("part-{part:05}.safetensors"));
            match part {
                0 => std::fs::write(path, b"w").unwrap(),
                _ => std::fs::hard_link(folder.join("part-00000.safetensors"), path).unwrap(),
            }
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
    for _ in 0..ROUNDS {
        let verifier = signer.verifier();
        let proven = verifier.verify(&Bundle::read(&signature).unwrap());
        let (listed, busy) = (Instant::now(), on_core());
        drop(Model::open(&model, &ignore).unwrap());
        let (listed, busy) = (listed.elapsed().as_secs_f64(), on_core() - busy);
        let marks = Marks::new();
        let hashing = Hashing {
            progress: &marks,
            ..Hashing::default()
        };
        let same = proven
            .unwrap()
            .compare(&model, &signature, &policy, hashing);
        let [before, hashed, all] = marks.seconds();
        drop(same.unwrap());
        println!(
            "compare alone: {:.2} s before hashing ({:.2} s on a core), {:.2} s after; left out are {listed:.2} s of \
             listing and {:.2} s of hashing",
            before - listed,
            marks.busy() - busy,
            all - hashed,
            hashed - before,
        );
    }
}

/// When hashing began and ended, in nanoseconds.
struct Marks {
    origin: Instant,
    began: AtomicU64,
    ended: AtomicU64,
    /// Seconds that the thread had had a core at first, and when hashing began.
    busy: Mutex<[f64; 2]>,
}

impl Marks {
    fn new() -> Self {
        Self {
            busy: Mutex::new([on_core(), 0.0]),
            origin: Instant::now(),
            began: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap()
    }

    fn busy(&self) -> f64 {
        let [first, began] = *self.busy.lock().unwrap();
        began - first
    }

    /// Until hashing began, until it ended, until now.
    fn seconds(&self) -> [f64; 3] {
        let marks = [
            self.began.load(Ordering::Relaxed),
            self.ended.load(Ordering::Relaxed),
            self.now(),
        ];
        marks.map(|nanoseconds| std::time::Duration::from_nanos(nanoseconds).as_secs_f64())
    }
}

impl Progress for Marks {
    fn start(&self, _: u64) {
        self.began.store(self.now(), Ordering::Relaxed);
        self.busy.lock().unwrap()[1] = on_core();
    }

    fn advance(&self, _: u64) -> ControlFlow<()> {
        self.ended.fetch_max(self.now(), Ordering::Relaxed);
        ControlFlow::Continue(())
    }
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
