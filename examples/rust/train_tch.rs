//! Trains a small network on handwritten digits, with a checkpoint an epoch: the last two are kept, and the next run goes
//! on from the last.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

use std::error::Error;
use std::path::{Path, PathBuf};

use autosign_hooks::{AutoSign, SaveSigned, StreamSigned};
use tch::data::Iter2;
use tch::nn::{self, Module, OptimizerConfig, VarStore};
use tch::{Device, Kind, Tensor};

fn main() -> Result<(), Box<dyn Error>> {
    let autosign = AutoSign::from_environment()?;
    let mut arguments = std::env::args().skip(1);
    let (Some(digits), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: train_tch DIGITS FOLDER [EPOCHS]".into());
    };
    let folder = Path::new(&folder);
    let epochs = arguments.next().map_or(Ok(5), |epochs| epochs.parse())?;
    std::fs::create_dir_all(folder)?;

    tch::manual_seed(0);
    let (images, labels) = read(&digits)?; // 1,797 of 8 x 8 pixels
    let (train, test) = (images.narrow(0, 0, 1500), images.narrow(0, 1500, 297));
    let (train_labels, test_labels) = (labels.narrow(0, 0, 1500), labels.narrow(0, 1500, 297));

    let mut variables = VarStore::new(Device::Cpu);
    let root = variables.root();
    let model = nn::seq()
        .add(nn::linear(
            &root / "hidden",
            64,
            64,
            nn::LinearConfig::default(),
        ))
        .add_fn(Tensor::relu)
        .add(nn::linear(
            &root / "digit",
            64,
            10,
            nn::LinearConfig::default(),
        ));
    let path =
        |epoch: u32, format: &str| -> PathBuf { folder.join(format!("epoch-{epoch}.{format}")) };
    let last = (1..=epochs)
        .rev()
        .find(|epoch| path(*epoch, "safetensors").exists());
    if let Some(epoch) = last {
        variables.load(path(epoch, "safetensors"))?;
        println!("resumed from epoch {epoch}");
    }
    // tch can save no optimizer's state: Adam begins anew.
    let mut optimizer = nn::Adam::default().build(&variables, 3e-3)?;

    for epoch in last.unwrap_or(0) + 1..=epochs {
        for (images, labels) in Iter2::new(&train, &train_labels, 50).shuffle() {
            let loss = model.forward(&images).cross_entropy_for_logits(&labels);
            optimizer.backward_step(&loss);
        }
        let right = tch::no_grad(|| model.forward(&test).accuracy_for_logits(&test_labels));
        println!(
            "epoch {epoch}: {:.0}% of 297 digits right",
            100.0 * f64::try_from(right)?
        );

        variables.save_signed(path(epoch, "safetensors"))?;
        variables.stream_signed(path(epoch, "ot"))?; // hashed while it is written
        for format in ["safetensors", "ot"] {
            if epoch > 2 {
                autosign.remove(&path(epoch - 2, format))?;
            }
        }
    }
    Ok(())
}

/// Lines of 64 pixels, 0 to 16, and a digit.
fn read(digits: &str) -> Result<(Tensor, Tensor), Box<dyn Error>> {
    let text = std::fs::read_to_string(digits)?;
    let numbers = text.split([',', '\n']).filter(|number| !number.is_empty());
    let numbers = numbers.map(str::parse).collect::<Result<Vec<f32>, _>>()?;
    let lines = Tensor::from_slice(&numbers).view([-1, 65]);
    let labels = lines.select(1, 64).to_kind(Kind::Int64);
    Ok((lines.narrow(1, 0, 64) / 16.0, labels))
}
