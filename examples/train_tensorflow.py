"""Train a small network on handwritten digits with TensorFlow, with a checkpoint an epoch; the last two are kept."""

import argparse
from pathlib import Path

import model_signing.autosign
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the checkpoints go; a training that ended early goes on")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    tf.random.set_seed(0)
    digits = load_digits()
    images, labels = (digits.data / 16).astype(np.float32), digits.target
    order = np.random.default_rng(0).permutation(len(labels))
    train, test = order[:1500], order[1500:]
    batches = tf.data.Dataset.from_tensor_slices((images[train], labels[train])).shuffle(1500, seed=0).batch(50)

    network = tf.Module()
    network.hidden = tf.Variable(tf.random.normal([64, 64], stddev=0.1))
    network.output = tf.Variable(tf.random.normal([64, 10], stddev=0.1))

    @tf.function(input_signature=[tf.TensorSpec([None, 64])])
    def classify(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.relu(images @ network.hidden) @ network.output

    epoch = tf.Variable(0)
    checkpoint = tf.train.Checkpoint(network=network, epoch=epoch)
    manager = tf.train.CheckpointManager(checkpoint, str(options.folder), max_to_keep=2)
    if manager.latest_checkpoint:
        checkpoint.restore(manager.latest_checkpoint).assert_consumed()
        print(f"resumed from {manager.latest_checkpoint}")

    while epoch < options.epochs:
        for batch, wanted in batches:
            with tf.GradientTape() as tape:
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(wanted, classify(batch))
                loss = tf.reduce_mean(losses)
            for variable, gradient in zip(network.variables, tape.gradient(loss, network.variables), strict=True):
                variable.assign_sub(0.5 * gradient)
        epoch.assign_add(1)

        accuracy = np.mean(np.argmax(classify(images[test]), axis=1) == labels[test])
        print(f"epoch {int(epoch)}: {accuracy:.0%} of {len(test)} digits right")
        manager.save()

    network.classify = classify
    tf.saved_model.save(network, str(options.folder / "model"))


if __name__ == "__main__":
    main()
