"""Imports and switches in any order, beside frameworks that do not agree with TensorFlow, each in a process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

STEPS = """
    import inspect, os, pickle, sys
    from pathlib import Path
    import model_signing_autosign as autosign

    enabled, saved, bound = False, 0, {}

    def save():
        global saved
        saved += 1
        calls = {}
        if "torch" in sys.modules:
            calls["torch"] = lambda path: torch.save({"w": torch.zeros(3)}, path)
        if "tensorflow" in sys.modules:
            module = tf.Module()
            module.w = tf.Variable([1.0])
            checkpoint = tf.train.Checkpoint(w=module.w)
            calls["write.index"] = lambda path: checkpoint.write(path.removesuffix(".index"))
            calls["saver.index"] = lambda path: tf.compat.v1.train.Saver([module.w]).save(
                None, path.removesuffix(".index")
            )
            calls["model"] = lambda path: tf.saved_model.save(module, path)
            if bound:
                calls["bound.index"] = lambda path: bound["write"](checkpoint, path.removesuffix(".index"))
                calls["bound"] = lambda path: bound["save"](module, path)
        for name, call in calls.items():
            path = Path(f"{saved}-{name}")
            call(str(path))
            autosign.flush()
            assert path.exists()
            signature = path / "model.sig" if path.is_dir() else Path(f"{path}.sig")
            assert signature.exists() is enabled, (path, enabled)
        if "tensorflow" in sys.modules:
            remove = bound.get("remove", tf.io.gfile.remove)
            remove(f"{saved}-write.index")
            autosign.flush()
            assert not Path(f"{saved}-write.index.sig").exists()

    def check():
        assert ("tensorflow" in sys.modules) is ("tensorflow" in done), done
        if "tensorflow" not in done:
            return
        names = [
            (sys.modules["tensorflow.python.saved_model.save"], "save_and_return_nodes"),
            (sys.modules["tensorflow.python.checkpoint.checkpoint"].TrackableSaver, "save"),
            (sys.modules["tensorflow.python.training.saver"].Saver, "save"),
            (sys.modules["tensorflow.python.lib.io._pywrap_file_io"], "DeleteFile"),
            (sys.modules["tensorflow.python.lib.io._pywrap_file_io"], "RenameFile"),
        ]
        for owner, name in names:
            assert hasattr(getattr(owner, name), "__wrapped__") is enabled, (name, enabled)
        assert pickle.loads(pickle.dumps(tf.saved_model.save)) is tf.saved_model.save
        assert list(inspect.signature(tf.compat.v1.train.Saver.save).parameters)[:3] == ["self", "sess", "save_path"]

    done = set()
    for step in sys.argv[1:]:
        if step in ("enable", "disable"):
            getattr(autosign, step)()
            enabled = step == "enable"
        elif step == "torch":
            import torch
        elif step == "triton":
            import torch.export, triton
        elif step == "tensorflow":
            import tensorflow as tf
        elif step == "bind":
            from tensorflow.saved_model import save as save_model
            from tensorflow.io.gfile import remove
            bound = {"save": save_model, "remove": remove, "write": tf.train.Checkpoint.write}
        else:
            save()
        done.add(step)
        check()
    print("ok", saved)
"""


@pytest.mark.parametrize(
    "steps",
    [
        "enable torch tensorflow bind save disable save enable save",
        # By itself, TensorFlow before triton aborts the process.
        "torch triton tensorflow bind enable save disable save",
        "enable tensorflow torch save enable save",
    ],
)
def test_orders(steps: str, run_script: Run) -> None:
    result = run_script(STEPS, *steps.split(), timeout=120)
    assert result.stdout == f"ok {steps.count('save')}\n", result.stderr
    assert "model-signing: cannot" not in result.stderr


LATE = """
    import os, sys
    import model_signing_autosign as autosign

    autosign.enable()
    backend = sys.argv[1]
    assert not {"tensorflow", "keras", "jax", "torch"} & set(sys.modules)
    os.environ["KERAS_BACKEND"] = backend
    import keras
    assert keras.backend.backend() == backend
    assert backend in sys.modules
    print("tensorflow" in sys.modules)
"""


@pytest.mark.parametrize("backend", ["jax"])
def test_no_backend_is_chosen(backend: str, run_script: Run) -> None:
    """Keras chooses when it is imported, and leaves TensorFlow alone then, as it does without us."""
    result = run_script(LATE, backend, timeout=120)
    assert result.stdout == "False\n", result.stderr
