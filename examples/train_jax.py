"""Train a small network on handwritten digits with JAX; the last two epochs are kept, and a later run goes on there."""

import argparse
from pathlib import Path

import model_signing.autosign  # isort: skip
import jax
import numpy
import optax
import orbax.checkpoint as ocp
from flax import nnx
from sklearn.datasets import load_digits


@nnx.jit
def step(model: nnx.Module, optimizer: nnx.Optimizer, images: jax.Array, labels: jax.Array) -> None:
    def loss(model: nnx.Module) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()

    optimizer.update(model, nnx.grad(loss)(model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the checkpoints go")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    digits = load_digits()
    images, labels = digits.data.astype("float32") / 16, digits.target  # 1,797 of 8 x 8
    order = numpy.random.default_rng(0).permutation(len(labels))
    train, test = order[:1500], order[1500:]

    random = nnx.Rngs(0)
    model = nnx.Sequential(nnx.Linear(64, 64, rngs=random), nnx.relu, nnx.Linear(64, 10, rngs=random))
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)

    keep = ocp.CheckpointManagerOptions(max_to_keep=2)
    with ocp.CheckpointManager(options.folder.absolute(), options=keep) as manager:
        done = manager.latest_step() or 0
        if done:
            state = nnx.state((model, optimizer))
            nnx.update((model, optimizer), manager.restore(done, args=ocp.args.StandardRestore(state)))

        for epoch in range(done + 1, options.epochs + 1):
            for batch in numpy.split(numpy.random.default_rng(epoch).permutation(train), 30):
                step(model, optimizer, images[batch], labels[batch])
            accuracy = (model(images[test]).argmax(1) == labels[test]).mean()
            print(f"epoch {epoch}: {accuracy:.0%} of {len(test)} digits right")
            manager.save(epoch, args=ocp.args.StandardSave(nnx.state((model, optimizer))))


if __name__ == "__main__":
    main()
