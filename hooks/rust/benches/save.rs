//! How long a save in Rust waits, until when it is signed, and what is read for that. Each figure is a ratio to the plain save
//! of the same round; rounds alternate. `cargo bench -p autosign-hooks --features safetensors,tch --bench save`;
//! with `-- --smoke` as little as shows that it runs.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::as_conversions,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use autosign_hooks::{AutoSign, SaveSigned, StreamSigned};
use autosign_session::{Config, Environment, Session};
use safetensors::tensor::{Dtype, TensorView};
use tch::Device;
use tch::nn::{Init, VarStore};

/// Seconds until the save returned, until the signature was there; bytes read meanwhile.
type Run = [f64; 3];

/// How much is saved, and how often.
struct Size {
    tensors: usize,
    tensor_bytes: usize,
    rounds: usize,
}

const WHOLE: Size = Size {
    tensors: 125,
    tensor_bytes: 8_000_000,
    rounds: 11,
};
const SMOKE: Size = Size {
    tensors: 2,
    tensor_bytes: 8000,
    rounds: 1,
};

fn main() {
    let smoke = std::env::args().any(|word| word == "--smoke");
    let Size {
        tensors,
        tensor_bytes,
        rounds: count,
    } = if smoke { SMOKE } else { WHOLE };
    let folder = tempfile::tempdir().unwrap();
    let variables = VarStore::new(Device::Cpu);
    let bytes: Vec<Vec<u8>> = (0..tensors).map(|n| vec![n as u8; tensor_bytes]).collect();
    for n in 0..tensors {
        let (name, init) = (format!("layer{n}"), Init::Const(n as f64));
        let _ = variables
            .root()
            .var(&name, &[tensor_bytes as i64 / 4], init);
    }
    let views = || {
        bytes.iter().enumerate().map(|(n, bytes)| {
            let view = TensorView::new(Dtype::F32, vec![tensor_bytes / 4], bytes).unwrap();
            (format!("layer{n}"), view)
        })
    };
    let (ot, safetensors) = (
        folder.path().join("a.ot"),
        folder.path().join("a.safetensors"),
    );
    let autosign = autosign();
    let saves: [(&str, &Path, &dyn Fn()); 6] = [
        ("tch", &ot, &|| variables.save(&ot).unwrap()),
        ("tch, save_with", &ot, &|| {
            variables.save_with(&autosign, &ot).unwrap();
        }),
        ("tch, stream_with", &ot, &|| {
            variables.stream_with(&autosign, &ot).unwrap();
        }),
        ("safetensors", &safetensors, &|| {
            safetensors::serialize_to_file(views(), None, &safetensors).unwrap();
        }),
        ("safetensors, serialize_to_file", &safetensors, &|| {
            autosign
                .serialize_to_file(views(), None, &safetensors)
                .unwrap();
        }),
        ("safetensors, serialize_hashed", &safetensors, &|| {
            autosign
                .serialize_hashed(views(), None, &safetensors)
                .unwrap();
        }),
    ];
    let mut rounds: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
    for round in 0..=count {
        for place in 0..saves.len() {
            // Every other round the other way around: what went before is not always the same.
            let place = if round % 2 == 0 {
                place
            } else {
                saves.len() - 1 - place
            };
            let (name, path, save) = saves[(place + round) % saves.len()];
            let run = measure(save, path, &autosign, name.contains(','));
            if round > 0 {
                rounds.entry(name).or_default().push(run); // the first one warms up
            }
        }
    }
    println!(
        "| | save returns after | signature there after | read meanwhile |\n|---|---|---|---|"
    );
    for (name, _, _) in saves {
        let plain = &rounds[name.split(',').next().unwrap()];
        let mut cells = rounds[name].iter().zip(plain).map(|(run, plain)| {
            [
                run[0] / plain[0],
                run[1] / plain[0],
                run[2] / (tensors * tensor_bytes) as f64,
            ]
        });
        let all: Vec<Run> = cells.by_ref().collect();
        let seconds = median(plain.iter().map(|run| run[0]));
        let column = |which: usize| {
            let values: Vec<f64> = all.iter().map(|run| run[which]).collect();
            let (low, high) = values
                .iter()
                .fold((f64::MAX, 0.0_f64), |(low, high), &value| {
                    (low.min(value), high.max(value))
                });
            format!(
                "{:.2} x ({low:.2} to {high:.2})",
                median(values.into_iter())
            )
        };
        println!(
            "| {name} ({seconds:.2} s plain) | {} | {} | {} |",
            column(0),
            column(1),
            column(2)
        );
    }
}

fn measure(save: &dyn Fn(), path: &Path, autosign: &AutoSign, signs: bool) -> Run {
    let signature = autosign_signing::signature_path(path);
    let _ = (fs::remove_file(path), fs::remove_file(&signature));
    autosign.session().flush(None);
    Command::new("sync").status().unwrap(); // no save pays for what another one left to be written
    let (start, read) = (Instant::now(), bytes_read());
    save();
    let saved = start.elapsed();
    if signs {
        autosign.session().flush(None);
        assert!(signature.exists());
    }
    let signed = start.elapsed();
    [
        saved.as_secs_f64(),
        signed.as_secs_f64(),
        bytes_read() - read,
    ]
}

/// What this process has read from files so far, from the page cache, too.
fn bytes_read() -> f64 {
    let counters = fs::read_to_string("/proc/self/io").unwrap();
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("rchar: "));
    line.unwrap().parse().unwrap()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn autosign() -> AutoSign {
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../core/signing/tests/keys/p256.pem");
    let settings = [
        ("MODEL_SIGNING_PRIVATE_KEY", key.to_str().unwrap()),
        ("MODEL_SIGNING_MODE", "background"),
        ("MODEL_SIGNING_SPOOL", "off"),
    ];
    let (config, _) = Config::read(&Environment::from_iter(settings).into());
    AutoSign::new(Session::start(config, Box::new(|_| ())))
}
