"""AutosignCallback, in one process: with the hooks off it does their work, with them on nothing is signed twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

SCRIPT = """
    import builtins, os, pickle, sys
    os.environ["KERAS_BACKEND"] = "tensorflow"  # whose models look at each attribute that they are given
    import keras, numpy
    from keras.callbacks import BackupAndRestore, Callback, LambdaCallback, ModelCheckpoint
    import model_signing_autosign as autosign
    from model_signing_autosign.plugins.keras import AutosignCallback

    @keras.saving.register_keras_serializable()
    class Model(keras.Sequential):
        def save(self, filepath, overwrite=True):
            saved.append(filepath)
            return super().save(filepath, overwrite)

    def fit(folder, *callbacks):
        keras.utils.set_random_seed(0)  # else the loss may not improve in one epoch, and there is no new best
        model = Model([keras.Input((4,)), keras.layers.Dense(16), keras.layers.Dense(16), keras.layers.Dense(2)])
        model.compile("adam", "mse")
        inputs = numpy.ones((8, 4), "float32")
        callbacks = [
            *callbacks,
            ModelCheckpoint(f"{folder}/epoch-{{epoch}}.keras"),
            ModelCheckpoint(f"{folder}/best.weights.h5", monitor="loss", save_best_only=True, save_weights_only=True),
            BackupAndRestore(f"{folder}/backup", delete_checkpoint=False),
            LambdaCallback(on_epoch_begin=lambda epoch, logs: autosign.flush()),
        ]
        for _ in range(2):
            model.fit(inputs, inputs[:, :2], epochs=2, verbose=0, callbacks=callbacks)
            callbacks = [callback for callback in callbacks if not isinstance(callback, BackupAndRestore)]
        model.save_weights(f"{folder}/shards.weights.json", max_shard_size=1.5e-6)
        model.export(f"{folder}/exported", verbose=False)
        builtins.input = lambda _: "n"
        open(f"{folder}/foreign.keras", "w").close()
        model.save(f"{folder}/foreign.keras", overwrite=False)
        for call, error in (
            (lambda: model.save(f"{folder}/wrong.txt"), ValueError),
            (lambda: model.save(), TypeError),
            (lambda: model.export("x", format="wrong"), ValueError),
        ):
            try:
                call()
                raise AssertionError(error)
            except error:
                pass
        pickle.loads(pickle.dumps(model))
        assert all(numpy.array_equal(*pair) for pair in zip(
            keras.models.load_model(f"{folder}/epoch-2.keras").get_weights(), model.get_weights(),
        ))
        return autosign.flush(timeout=30).signed

    callback = AutosignCallback()
    assert isinstance(callback, Callback)
    saved = []
    counts = [fit("alone", callback)]
    assert len(saved) == 6, saved
    autosign.enable()
    counts.append(fit("both", callback))
    counts.append(fit("hooks"))
    autosign.disable()
    counts.append(fit("disabled", callback))
    print(*counts)
"""


def test_callback(
    run_script: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    verified: Callable[[Path], dict[str, list[str]]],
    complaints: Callable[[str], list[str]],
) -> None:
    result = run_script(SCRIPT, timeout=280)
    assert result.returncode == 0, result.stderr
    assert complaints(result.stderr) == []
    signed = {folder.name: set(verified(folder)) for folder in tmp_path.iterdir() if folder.name != "spool"}
    common = {"epoch-1.keras", "epoch-2.keras", "best.weights.h5", "shards.weights.json", "exported"}
    assert signed["alone"] == common | {"backup/latest.weights.h5"}
    assert signed["both"] == signed["hooks"] == common | {"backup"}
    assert signed["disabled"] == set()
    alone, both, hooks, disabled = map(int, result.stdout.split()[-4:])
    # As often with both as with one of them; that folders wait to be left alone makes no difference, they are flushed.
    assert both - alone == hooks - both == alone
    assert disabled == hooks
