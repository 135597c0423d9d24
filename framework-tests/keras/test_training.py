"""A training with Keras's callbacks, stopped and resumed: what it keeps is signed, and is what it keeps without us."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

TRAINING = """
    import model_signing.autosign as autosign
    import os, shutil, sys
    os.environ["KERAS_BACKEND"] = "jax"
    import keras, numpy
    from keras.callbacks import BackupAndRestore, Callback, ModelCheckpoint

    class Stop(Exception):
        pass

    class Rotation(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            begun.append(epoch)

        def on_epoch_end(self, epoch, logs=None):
            for old in (f"run/epoch-{epoch - 1}.keras", f"run/step-{epoch - 1}"):
                if os.path.isdir(old):
                    shutil.rmtree(old)
                elif os.path.exists(old):
                    os.remove(old)
            self.model.save(f"run/step-{epoch + 1}", zipped=False)
            os.replace("run/last.weights.h5", "run/newest.weights.h5")
            if epoch == stop:
                raise Stop

    def fit(epochs):
        global begun
        begun = []
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(64), keras.layers.Dense(2)])
        model.compile("adam", "mse", metrics=["mae"])
        callbacks = [
            ModelCheckpoint("run/epoch-{epoch}.keras"),
            ModelCheckpoint("run/last.weights.h5", save_weights_only=True, save_freq=2),
            ModelCheckpoint("run/best.keras", monitor="mae", mode="min", save_best_only=True),
            ModelCheckpoint("run/worst.keras", monitor="loss", mode="max", save_best_only=True),
            BackupAndRestore("run/kept", save_freq=3, delete_checkpoint=False),
            BackupAndRestore("run/backup", double_checkpoint=True),  # the last to restore
            Rotation(),
        ]
        inputs = numpy.arange(64, dtype="float32").reshape(16, 4) / 64
        model.fit(inputs, inputs[:, :2], epochs=epochs, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)
        return model

    stop = 2
    try:
        fit(9)
        raise AssertionError
    except Stop:
        assert begun == [0, 1, 2]
    assert autosign.flush(timeout=30).pending == 0
    shutil.copytree("run/backup", "backup")
    stop = None
    model = fit(6)
    assert begun == [3, 4, 5], begun
    assert autosign.flush(timeout=30).pending == 0
    assert not os.path.exists("run/backup")
    for name in ("epoch-6.keras", "step-6", "newest.weights.h5"):
        if name.endswith(".weights.h5"):
            restored = keras.models.clone_model(model)
            restored.load_weights(f"run/{name}")
        else:
            restored = keras.models.load_model(f"run/{name}")
        pairs = zip(restored.get_weights(), model.get_weights(), strict=True)
        assert all(numpy.array_equal(*pair) for pair in pairs), name
    assert keras.models.load_model("run/epoch-6.keras").optimizer.iterations == model.optimizer.iterations == 24
    model.save_weights("run/shards.weights.json", max_shard_size=1.5e-6)
"""
SIGNED = {
    "backup": 4,
    "run/best.keras": 1,
    "run/epoch-5.keras": 1,
    "run/epoch-6.keras": 1,
    "run/kept": 2,
    "run/newest.weights.h5": 1,
    "run/shards.weights.json": 5,
    "run/step-5": 3,
    "run/step-6": 3,
    "run/worst.keras": 1,
}


def content(path: Path) -> object:
    """Read what does not tell the time, nor where an object lay in memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return {name: lasting(name, archive.read(name)) for name in archive.namelist()}
    return lasting(path.name, path.read_bytes())


def lasting(name: str, data: bytes) -> bytes:
    said = rb'"shared_object_id": \d+|"date_saved": "[^"]*"'
    return re.sub(said, b"", data) if name.endswith(".json") else data


def test_rotation_and_resume(
    run_script: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    verified: Callable[..., dict[str, list[str]]],
    complaints: Callable[[str], list[str]],
    annotations_of: Callable[[Path], dict[str, object]],
) -> None:
    kept = []
    for mode in ("background", "disabled"):
        result = run_script(TRAINING, MODE=mode, timeout=280)
        assert result.returncode == 0, result.stderr
        assert complaints(result.stderr) == []
        (tmp_path / mode).mkdir()
        for folder in ("run", "backup"):
            (tmp_path / folder).rename(tmp_path / mode / folder)
        files = [path for path in (tmp_path / mode).rglob("*") if path.is_file() and path.suffix != ".sig"]
        kept.append({str(path.relative_to(tmp_path / mode)): content(path) for path in files})
    assert kept[0] == kept[1]
    signed = verified(tmp_path / "background", upstream=True)
    assert {name: len(files) for name, files in signed.items()} == SIGNED
    assert verified(tmp_path / "disabled") == {}
    steps = {name: annotations_of(tmp_path / "background" / name).get("step") for name in SIGNED if "." in name}
    assert steps["run/epoch-5.keras"] == 20
    assert steps["run/epoch-6.keras"] == steps["run/newest.weights.h5"] == steps["run/shards.weights.json"] == 24
    assert annotations_of(tmp_path / "background" / "run/step-6")["step"] == 24
    assert annotations_of(tmp_path / "background" / "backup")["step"]
    # All that is kept is within one of them.
    files = {str(path) for path in kept[0]}
    assert files == {
        f"{name}/{file}" if (tmp_path / "background" / name).is_dir() else f"{name.rpartition('/')[0]}/{file}"
        for name, inside in signed.items()
        for file in inside
    }
    assert {path.suffix for path in (tmp_path / "spool").iterdir() if path.is_file()} <= {".lock"}


TF_KERAS = """
    import builtins, json, os, pickle, shutil
    import model_signing_autosign as autosign
    import numpy
    import tf_keras as keras
    from pathlib import Path
    from tf_keras.models import save_model as bound

    autosign.enable()
    inputs = numpy.arange(64, dtype="float32").reshape(16, 4) / 64

    def fit(epochs, stop=None):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(8), keras.layers.Dense(2)])
        model.compile("adam", "mse")

        def rotate(epoch, logs):
            for old in Path().glob(f"prefix-{epoch - 1}.*"):
                if old.suffix != ".sig":
                    old.unlink()
            if os.path.exists(f"epoch-{epoch - 1}.keras"):
                os.remove(f"epoch-{epoch - 1}.keras")
            if epoch == stop:
                raise InterruptedError

        callbacks = [
            keras.callbacks.ModelCheckpoint("epoch-{epoch}.keras"),
            keras.callbacks.ModelCheckpoint("prefix-{epoch}", save_weights_only=True),
            keras.callbacks.ModelCheckpoint("best.h5", monitor="loss", save_best_only=True),
            keras.callbacks.BackupAndRestore("backup"),
            keras.callbacks.LambdaCallback(on_epoch_end=rotate),
        ]
        model.fit(inputs, inputs[:, :2], epochs=epochs, batch_size=4, shuffle=False, verbose=0, callbacks=callbacks)
        return model

    def run(folder):
        os.mkdir(folder)
        os.chdir(folder)
        for shard in ("dotted.h.data-00000-of-00002", "dotted.h.data-00001-of-00002"):
            Path(shard).touch()
            os.utime(shard, (1, 1))
        try:
            fit(5, stop=1)
            raise AssertionError
        except InterruptedError:
            pass
        model = fit(4)
        assert model.optimizer.iterations == 16
        for result in (
            model.save("folder"),
            model.save("by-name.hdf5", save_format="h5"),
            bound(model, "bound.keras"),
            model.save_weights("a.weights.h5"),
            model.save_weights("b.h5"),
            model.save_weights(Path("dotted.h"), save_format="TF"),
            model.export("exported"),
        ):
            assert result is None
        before = autosign.flush(timeout=30)
        assert type(pickle.loads(pickle.dumps(model))) is type(model)
        model.save("ram://x.keras")
        model.save_weights("ram://x.h5")
        model.save("ram://x")
        # Not even of the temporary files was anything heard.
        assert autosign.flush(timeout=30) == before
        try:
            model.save("wrong.h5", save_format="wrong")
            raise AssertionError
        except ValueError:
            pass
        for answer in "ny":
            builtins.input = lambda _: answer
            for name in ("folder", "by-name.hdf5", "bound.keras"):
                model.save(name, overwrite=False)
            for name in ("a.weights.h5", "b.h5"):
                model.save_weights(name, overwrite=False)
            model.save_weights("dotted.h", overwrite=False, save_format="tf")
            Path("foreign.h5").touch()
            builtins.input = lambda _: "n"
            model.save("foreign.h5", overwrite=False)
        assert autosign.flush(timeout=30).pending == 0
        os.chdir("..")
        return model

    run("signed")
    autosign.disable()
    signed = autosign.flush().signed
    model = run("silent")
    assert autosign.flush().signed == signed
    restored = keras.models.load_model("signed/folder")
    restored.load_weights("signed/prefix-4").assert_existing_objects_matched()
    pairs = zip(restored.get_weights(), model.get_weights(), strict=True)
    assert all(numpy.array_equal(*pair) for pair in pairs)
"""


def test_tf_keras(
    run_script: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    verified: Callable[..., dict[str, list[str]]],
    complaints: Callable[[str], list[str]],
) -> None:
    result = run_script(TF_KERAS, timeout=280)
    assert result.returncode == 0, result.stderr
    signed = verified(tmp_path / "signed")
    one = {"a.weights.h5", "b.h5", "best.h5", "bound.keras", "by-name.hdf5", "epoch-3.keras", "epoch-4.keras"}
    groups = {"dotted.h.index", "prefix-3.index", "prefix-4.index"}
    assert signed.keys() == one | groups | {"folder", "exported"}
    for name in one:
        assert signed[name] == [name]
    for name in groups:
        assert signed[name] == [f"{name.removesuffix('.index')}.data-00000-of-00001", name]
    names = [
        {
            path.relative_to(tmp_path / run)
            for path in (tmp_path / run).rglob("*")
            if path.name != "model.sig" and ".signatures" not in path.parts
        }
        for run in ("signed", "silent")
    ]
    assert names[0] == names[1]
    assert verified(tmp_path / "silent") == {}
    assert complaints(result.stderr) == [
        "model-signing: ram://x.keras is unsigned, and so is all else that is saved to ram://"
    ]
