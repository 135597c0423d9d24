"""Train a small Keras model on handwritten digits; the best is kept, and a stopped training goes on where it was."""

import model_signing.autosign  # isort: skip
import argparse
from pathlib import Path

import keras
from sklearn.datasets import load_digits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the checkpoints go")
    parser.add_argument("--epochs", type=int, default=5)
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    digits = load_digits()
    images, labels = digits.images[..., None] / 16, digits.target  # 1,797 of 8 x 8 x 1

    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    callbacks = [
        keras.callbacks.ModelCheckpoint(options.folder / "epoch-{epoch}.weights.h5", save_weights_only=True),
        keras.callbacks.ModelCheckpoint(options.folder / "best.keras", monitor="val_accuracy", save_best_only=True),
        keras.callbacks.BackupAndRestore(options.folder / "backup"),  # removed at the end
    ]
    model.fit(
        images[:1500],
        labels[:1500],
        batch_size=50,
        epochs=options.epochs,
        validation_data=(images[1500:], labels[1500:]),
        callbacks=callbacks,
        verbose=2,
    )


if __name__ == "__main__":
    main()
