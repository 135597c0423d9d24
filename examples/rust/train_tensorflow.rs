//! Trains a small network on handwritten digits with TensorFlow, with a checkpoint an epoch; the last two are kept. A
//! training that ended early goes on from the last one.

#![allow(
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::print_stdout
)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use autosign_hooks::{AutoSign, SaveCheckpointSigned, SaveModelSigned};
use tensorflow::train::{
    AdadeltaOptimizer, ApplyGradientsOptions, ComputeGradientsOptions, Optimizer,
};
use tensorflow::{
    CheckpointMaker, DEFAULT_SERVING_SIGNATURE_DEF_KEY, DataType, Operation, Output, OutputName,
    PREDICT_INPUTS, PREDICT_METHOD_NAME, PREDICT_OUTPUTS, SavedModelBuilder, Scope, Session,
    SessionOptions, SessionRunArgs, Shape, SignatureDef, Status, Tensor, TensorInfo, Variable, ops,
};

const KEPT: usize = 2;
const BATCH: usize = 10;
const TRAINED_WITH: usize = 1500;
const PIXELS: usize = 64;
const HIDDEN: usize = 32;
const CLASSES: usize = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(data), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("usage: train_tensorflow DIGITS FOLDER [EPOCHS]".into());
    };
    let epochs = arguments
        .next()
        .map_or(Ok(5), |epochs| epochs.to_string_lossy().parse())?;
    #[cfg(feature = "tensorflow-runtime")]
    tensorflow::library::load()?;

    let (images, labels) = digits(&data)?;
    let autosign = AutoSign::from_environment()?;
    fs::create_dir_all(&folder)?;

    let mut scope = Scope::new_root_scope();
    let network = Network::new(initial_values(), &mut scope)?;
    let wanted = placeholder("labels", &mut scope)?;
    let losses = ops::SoftmaxCrossEntropyWithLogits::new()
        .build_instance(network.classes.clone(), wanted.clone().into(), &mut scope)?
        .loss();
    let all = ops::constant(0, &mut scope)?;
    let loss = ops::mean(losses, all, &mut scope)?;
    let mut optimizer = AdadeltaOptimizer::new();
    optimizer.set_learning_rate(ops::constant(3.0_f32, &mut scope)?);
    let options = ComputeGradientsOptions::default().with_variables(&network.variables);
    let gradients = optimizer.compute_gradients(&mut scope, loss.into(), options)?;
    let gradients = complete(gradients, &mut scope)?;
    let options = ApplyGradientsOptions::default().with_grads_and_vars(&gradients);
    let (state, step) = optimizer.apply_gradients(&mut scope, options)?;

    let variables = [network.variables.clone(), state].concat();
    let mut checkpoints =
        CheckpointMaker::new(scope.new_sub_scope("checkpoint"), variables.clone().into());
    let session = Session::new(&SessionOptions::new(), &scope.graph())?;
    let mut kept = saved(&folder)?;
    match kept.last() {
        None => initialize(&session, &variables)?,
        Some(epoch) => {
            let prefix = prefix(&folder, *epoch);
            checkpoints.restore(&session, &prefix.to_string_lossy())?;
            println!("resumed from {}", prefix.display());
        }
    }

    for epoch in kept.last().map_or(1, |last| last + 1)..=epochs {
        for (images, labels) in images[..TRAINED_WITH * PIXELS]
            .chunks(BATCH * PIXELS)
            .zip(labels[..TRAINED_WITH * CLASSES].chunks(BATCH * CLASSES))
        {
            let (images, labels) = (rows(images, PIXELS)?, rows(labels, CLASSES)?);
            let mut run = SessionRunArgs::new();
            run.add_feed(&network.images, 0, &images);
            run.add_feed(&wanted, 0, &labels);
            run.add_target(&step);
            session.run(&mut run)?;
        }
        let (images, labels) = (
            &images[TRAINED_WITH * PIXELS..],
            &labels[TRAINED_WITH * CLASSES..],
        );
        let right = network.right(&session, images, labels)?;
        let tested = labels.len() / CLASSES;
        let percent = 100 * right / tested;
        println!("epoch {epoch}: {percent}% of {tested} digits right");

        checkpoints.save_signed(&session, prefix(&folder, epoch))?;
        kept.push(epoch);
        if kept.len() > KEPT {
            autosign.remove_checkpoint(&prefix(&folder, kept.remove(0)))?;
        }
    }
    let model = folder.join("model");
    if model.exists() {
        fs::remove_dir_all(&model)?; // of the run that this one goes on with
    }
    network.export(&session, &model)
}

struct Network {
    images: Operation,
    classes: Output,
    variables: Vec<Variable>,
}

impl Network {
    fn new(values: Vec<Tensor<f32>>, scope: &mut Scope) -> Result<Self, Status> {
        let images = placeholder("images", scope)?;
        let named = values
            .into_iter()
            .zip(["hidden", "hidden_bias", "output", "output_bias"]);
        let mut variables = Vec::new();
        for (value, name) in named {
            let variable = Variable::builder().const_initial_value(value);
            variables.push(variable.build(&mut scope.with_op_name(name))?);
        }
        let value = |place: usize| variables[place].output().clone();
        let hidden = ops::mat_mul(images.clone(), value(0), scope)?;
        let hidden = ops::relu(ops::add(hidden, value(1), scope)?, scope)?;
        let classes = ops::mat_mul(hidden, value(2), scope)?;
        let classes = ops::add(classes, value(3), &mut scope.with_op_name("classes"))?.into();
        Ok(Self {
            images,
            classes,
            variables,
        })
    }

    /// How many of these digits it tells right.
    fn right(&self, session: &Session, images: &[f32], labels: &[f32]) -> Result<usize, Status> {
        let images = rows(images, PIXELS)?;
        let mut run = SessionRunArgs::new();
        run.add_feed(&self.images, 0, &images);
        let classes = run.request_fetch(&self.classes.operation, self.classes.index);
        session.run(&mut run)?;
        let classes: Tensor<f32> = run.fetch(classes)?;
        let pairs = classes.chunks(CLASSES).zip(labels.chunks(CLASSES));
        Ok(pairs
            .filter(|(found, wanted)| greatest(found) == greatest(wanted))
            .count())
    }

    /// A graph can be prepared for checkpoints or for a `SavedModel`, not for both: the latter has a graph of its own.
    fn export(&self, session: &Session, folder: &Path) -> Result<(), Box<dyn Error>> {
        let mut run = SessionRunArgs::new();
        let values = self
            .variables
            .iter()
            .map(|variable| run.request_fetch(&variable.output().operation, 0));
        let values: Vec<_> = values.collect();
        session.run(&mut run)?;
        let values = values
            .into_iter()
            .map(|value| run.fetch(value))
            .collect::<Result<_, _>>()?;

        let mut scope = Scope::new_root_scope();
        let network = Self::new(values, &mut scope)?;
        let floats = |name| TensorInfo::new(DataType::Float, Shape::from(None), name);
        let mut signature = SignatureDef::new(PREDICT_METHOD_NAME.into());
        let images = OutputName {
            name: network.images.name()?,
            index: 0,
        };
        signature.add_input_info(PREDICT_INPUTS.into(), floats(images));
        signature.add_output_info(PREDICT_OUTPUTS.into(), floats(network.classes.name()?));
        let mut builder = SavedModelBuilder::new();
        builder
            .add_tag("serve")
            .add_collection("network", &network.variables)
            .add_signature(DEFAULT_SERVING_SIGNATURE_DEF_KEY, signature);
        let saver = builder.inject(&mut scope)?;
        let graph = scope.graph();
        let session = Session::new(&SessionOptions::new(), &graph)?;
        initialize(&session, &network.variables)?;
        Ok(saver.save_signed(&session, &graph, folder)?)
    }
}

type Gradients = Vec<(Option<Output>, Variable)>;

/// The same gradients, each there when all are: else a variable may be changed while another's gradient still needs it,
/// as with `minimize`, and no two runs are the same.
fn complete(gradients: Gradients, scope: &mut Scope) -> Result<Gradients, Status> {
    let mut all = ops::NoOp::new();
    for gradient in gradients
        .iter()
        .filter_map(|(gradient, _)| gradient.as_ref())
    {
        all = all.add_control_input(gradient.operation.clone());
    }
    let all = all.build(scope)?;
    let mut completed = Vec::new();
    for (gradient, variable) in gradients {
        let after = ops::Identity::new().add_control_input(all.clone());
        let gradient = gradient
            .map(|gradient| after.build(gradient, scope))
            .transpose()?;
        completed.push((gradient.map(Output::from), variable));
    }
    Ok(completed)
}

fn placeholder(name: &str, scope: &mut Scope) -> Result<Operation, Status> {
    ops::Placeholder::new()
        .dtype(DataType::Float)
        .build(&mut scope.with_op_name(name))
}

fn initialize(session: &Session, variables: &[Variable]) -> Result<(), Status> {
    let mut run = SessionRunArgs::new();
    for variable in variables {
        run.add_target(variable.initializer());
    }
    session.run(&mut run)
}

/// The images, with pixels from 0 to 1, and their labels, one of ten. A line of the file is the 64 pixels of a digit, from
/// 0 to 16, and what it is.
fn digits(data: &Path) -> Result<(Vec<f32>, Vec<f32>), Box<dyn Error>> {
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for line in fs::read_to_string(data)?.lines() {
        let numbers = line
            .split(',')
            .map(str::parse::<u8>)
            .collect::<Result<Vec<_>, _>>()?;
        let Some((label, pixels)) = numbers.split_last() else {
            continue;
        };
        images.extend(pixels.iter().map(|pixel| f32::from(*pixel) / 16.0));
        labels.extend((0..CLASSES).map(|class| f32::from(class == usize::from(*label))));
    }
    Ok((images, labels))
}

/// Small numbers that look random, the same each time.
fn initial_values() -> Vec<Tensor<f32>> {
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from((state >> 24) as u8) / 1280.0 - 0.1
    };
    let mut values = |shape: &[usize]| {
        let mut tensor = Tensor::new(&shape.iter().map(|n| *n as u64).collect::<Vec<_>>());
        tensor.iter_mut().for_each(|value| *value = random());
        tensor
    };
    vec![
        values(&[PIXELS, HIDDEN]),
        values(&[HIDDEN]),
        values(&[HIDDEN, CLASSES]),
        values(&[CLASSES]),
    ]
}

fn rows(numbers: &[f32], width: usize) -> Result<Tensor<f32>, Status> {
    Tensor::new(&[(numbers.len() / width) as u64, width as u64]).with_values(numbers)
}

fn greatest(numbers: &[f32]) -> Option<usize> {
    (0..numbers.len()).max_by(|a, b| numbers[*a].total_cmp(&numbers[*b]))
}

fn prefix(folder: &Path, epoch: u32) -> PathBuf {
    folder.join(format!("ckpt-{epoch}"))
}

/// The epochs whose checkpoints are there, the last one last.
fn saved(folder: &Path) -> Result<Vec<u32>, Box<dyn Error>> {
    let mut epochs = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let epoch = name
            .strip_prefix("ckpt-")
            .and_then(|name| name.strip_suffix(".index"));
        epochs.extend(epoch.and_then(|epoch| epoch.parse::<u32>().ok()));
    }
    epochs.sort_unstable();
    Ok(epochs)
}
