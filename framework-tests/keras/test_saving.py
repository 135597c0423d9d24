"""One model, saved in every format with each backend, which Keras chooses long after signing was enabled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

SAVES = """
    import builtins, importlib, inspect, json, os, pickle, sys
    from pathlib import Path
    import model_signing_autosign as autosign
    from model_signing_autosign import _patch
    from model_signing_autosign.frameworks import keras as hook

    backend, steps = sys.argv[1], sys.argv[2:]
    os.environ.pop("KERAS_BACKEND", None)
    enabled, wanted = False, []

    def load():
        global keras, numpy, model, inputs, bound
        os.environ["KERAS_BACKEND"] = backend
        import keras, numpy
        from keras.models import save_model as bound
        assert keras.backend.backend() == backend
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(64, name="one"), keras.layers.Dense(64, name="two"), keras.layers.Dense(2)]
        model = keras.Sequential([keras.Input((4,), name="input"), *layers])
        model.compile("adam", "mse")
        inputs = numpy.ones((4, 4), "float32")
        model.fit(inputs, numpy.ones((4, 2), "float32"), verbose=0)

    def save(number):
        folder = Path(f"{number}-{backend}")
        folder.mkdir()
        before = autosign.flush().signed
        path = lambda name: str(folder / name)
        exact = [keras.InputSpec("float32", (1, 4), name="input")]

        def archive(to):
            made = keras.export.ExportArchive()
            made.track_and_add_endpoint("serve", model, [keras.InputSpec("float32", (None, 4))])
            made.write_out(to, verbose=False)

        def edited(to):
            editor = keras.saving.KerasFileEditor(path("a.keras"))
            editor.save(to)

        calls = {
            "a.keras": lambda to: model.save(to),
            "path.keras": lambda to: model.save(filepath=Path(to), overwrite=False),
            "b.keras": lambda to: keras.saving.save_model(model, to),
            "bound.keras": lambda to: bound(model, to),
            "a.h5": lambda to: model.save(to),
            "by-hand.hdf5": lambda to: keras.models.save_model(model, to),
            "unzipped": lambda to: model.save(to, zipped=False),
            "a.weights.h5": lambda to: model.save_weights(to),
            "b.weights.h5": lambda to: keras.saving.save_weights(model, to),
            "edited.weights.h5": edited,
            "sharded.weights.json": lambda to: model.save_weights(to, max_shard_size=2e-5),
            "größe.weights.json": lambda to: model.save_weights(to.replace(".json", ".h5"), max_shard_size=2e-5),
        }
        if backend == "torch":
            # SavedModels need torch_xla.
            calls["exported.pt2"] = lambda to: model.export(to, "torch", verbose=False)
            calls["exported.onnx"] = lambda to: model.export(to, "onnx", verbose=False, input_signature=exact)
        else:
            calls["exported"] = lambda to: model.export(to, verbose=False)
            calls["archive"] = archive
        if backend == "tensorflow":
            calls["exported.tflite"] = lambda to: model.export(to, format="litert", verbose=False)
        for name, call in calls.items():
            result = call(path(name))
            assert result in (None, path(name)), (name, result)
            assert os.path.exists(path(name)), name
        kept = keras.models.load_model(path("unzipped"))
        kept.load_weights(path("sharded.weights.json"))
        assert numpy.array_equal(kept.predict(inputs, verbose=0), model.predict(inputs, verbose=0))
        wrong(path)
        autosign.flush()  # else one that is about to be overwritten is not signed before
        asked(path)
        pickle.loads(pickle.dumps(model))
        model.save("ram://x.keras")
        model.save_weights("ram://x.weights.h5")
        wanted.extend(path(name) for name in calls if enabled)
        # Asked whether to overwrite it, the user said yes to one of them, and it was there before.
        assert autosign.flush().signed - before == (len(calls) + 1 if enabled else 0)

    def wrong(path):
        class Failing(keras.layers.Layer):
            def call(self, inputs):
                return inputs

            def save_own_variables(self, store):
                raise OSError("disk full")

        failing = keras.Sequential([keras.Input((4,)), Failing()])
        for call, error, words in (
            (lambda: failing.save(path("failing.keras")), OSError, "disk full"),
            (lambda: failing.save_weights(path("failing.weights.h5")), OSError, "disk full"),
            (lambda: failing.save(path("failing"), zipped=False), OSError, "disk full"),
            (lambda: model.save_weights(path("fail.weights.json"), max_shard_size=1e-6), ValueError, "exceeds"),
            (lambda: model.save(path("wrong.txt")), ValueError, "Invalid filepath extension"),
            (lambda: model.save_weights(path("wrong.h5")), ValueError, "must end in"),
            (lambda: model.export(path("wrong"), format="wrong"), ValueError, "Unrecognized format"),
            (lambda: model.save("hf://a/b/c"), ValueError, "Invalid `hf_path`"),
            (lambda: keras.saving.save_model(), TypeError, "missing 2 required positional arguments"),
            (lambda: keras.src.saving.saving_lib.save_weights_only(), TypeError, "'model' and 'filepath'"),
        ):
            try:
                call()
            except error as caught:
                assert words in str(caught), caught
            else:
                raise AssertionError(words)

    def asked(path):
        # In this format Keras asks twice.
        Path(path("foreign.h5")).touch()
        for name, answers in (("foreign.h5", "yn"), ("a.h5", "n"), ("a.h5", "yn"), ("by-hand.hdf5", "yy")):
            left = iter(answers)
            builtins.input = lambda _: next(left)
            state = os.stat(path(name)).st_mtime_ns
            model.save(path(name), overwrite=False)
            assert next(left, None) is None
            assert (os.stat(path(name)).st_mtime_ns != state) is (answers == "yy")

    def check():
        for patch in hook.PATCHES:
            found = _patch._lookup(patch.names[0])
            if patch.framework is hook.FRAMEWORK and found is not None:
                function = vars(found[0])[found[1]]
                assert hasattr(function, "__wrapped__") is enabled, patch.names
                assert pickle.loads(pickle.dumps(function)) is function
                if enabled:
                    assert inspect.signature(function) == inspect.signature(function.__wrapped__)

    for number, step in enumerate(steps):
        if step == "import":
            load()
        elif step == "save":
            save(number)
        else:
            getattr(autosign, step)()
            enabled = step == "enable"
        if "keras" in sys.modules:
            check()
        else:
            assert not {"tensorflow", "jax", "torch"} & set(sys.modules)
    print(json.dumps(wanted))
"""


@pytest.mark.parametrize(
    ("backend", "steps"),
    [
        ("tensorflow", "enable import save disable save"),
        ("jax", "import enable disable save enable enable save"),
        ("torch", "enable disable import enable save"),
    ],
)
def test_every_format(
    backend: str,
    steps: str,
    run_script: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    verified: Callable[[Path], dict[str, list[str]]],
    complaints: Callable[[str], list[str]],
) -> None:
    result = run_script(SAVES, backend, *steps.split(), timeout=280)
    assert result.returncode == 0, result.stderr
    signed = verified(tmp_path)
    assert sorted(signed) == sorted(json.loads(result.stdout.splitlines()[-1]))
    for name, files in signed.items():
        model = tmp_path / name
        if model.suffix == ".json":
            shards = {path.name for path in model.parent.glob(f"{model.name.removesuffix('.weights.json')}_*.h5")}
            assert len(shards) > 1
            assert set(files) == {model.name} | shards
        elif model.is_dir():
            inside = {str(path.relative_to(model)) for path in model.rglob("*") if path.is_file()}
            assert set(files) == inside - {"model.sig"}
        else:
            assert files == [model.name]
    # One line each, however often.
    said = complaints(result.stderr)
    assert sorted(line.partition(" is unsigned, and so is all else that is saved to ")[2] for line in said) == [
        "hf://",
        "ram://",
    ]


def test_weights_beside_an_export(tmp_path: Path) -> None:
    """Of formats that no package here writes, or not so small."""
    from model_signing_autosign.frameworks.keras import _exported

    names = ["a.xml", "a.bin", "small.onnx", "small.onnx.data", "large.onnx", "large.onnx.data", "a.tflite"]
    paths = {name: str(tmp_path / name) for name in names}
    for name, path in paths.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write("weights are in large.onnx.data" if name == "large.onnx" else "no path")
    assert _exported(paths["a.xml"]) == [paths["a.xml"], paths["a.bin"]]
    assert _exported(paths["small.onnx"]) == []
    assert _exported(paths["large.onnx"]) == [paths["large.onnx"], paths["large.onnx.data"]]
    assert _exported(paths["a.tflite"]) == _exported(str(tmp_path)) == []
