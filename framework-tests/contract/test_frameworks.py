"""The contract every hook keeps, run against the real frameworks, each script in a process of its own."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from model_signing_autosign import frameworks

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess


# Steps come as arguments. Saves go through every public name; each must be signed exactly if signing is enabled.
ORDERS = """
    import builtins, inspect, pickle, sys, types
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess
    import model_signing_autosign as autosign

    enabled, saved, bound = False, 0, {}

    def save():
        global saved
        saved += 1
        tensors = {"w": torch.arange(saved + 3.0)}
        arrays = {"w": tensors["w"].numpy()}
        calls = {
            "torch": lambda path: torch.save(tensors, path),
            "serialization": lambda path: torch.serialization.save(tensors, f=path),
            "legacy": lambda path: torch.save(tensors, path, _use_new_zipfile_serialization=False),
            "safetensors": lambda path: safetensors.torch.save_file(tensors, path),
            "numpy": lambda path: safetensors.numpy.save_file(arrays, path),
            "bytes": lambda path: Path(path).write_bytes(safetensors.torch.save(tensors)),
        }
        if bound:
            calls["bound torch"] = lambda path: bound["torch"](tensors, path)
            calls["bound safetensors"] = lambda path: bound["safetensors"](tensors, path)
        before = autosign.flush().signed
        for name, call in calls.items():
            path = Path(f"{saved} {name}")
            call(str(path))
            autosign.flush()
            assert path.exists()
            signed = Path(f"{path}.sig").exists()
            assert signed is (enabled and name != "bytes"), (name, enabled)
        assert autosign.flush().signed == before + (len(calls) - 1 if enabled else 0)

    def check():
        if "torch" in sys.modules:
            assert pickle.loads(pickle.dumps(torch.save)) is torch.save is torch.serialization.save
            assert not hasattr(torch.save, "__wrapped__")
            assert list(inspect.signature(torch.save).parameters)[:2] == ["obj", "f"]
            names = [torch.serialization._open_zipfile_writer, torch.serialization._open_file_like]
            names += [module.serialize_file for module in
                (safetensors, safetensors._safetensors_rust, safetensors.numpy, safetensors.torch)]
            assert [hasattr(name, "__wrapped__") for name in names] == [enabled] * 6
            serialize_file = safetensors.serialize_file
            assert pickle.loads(pickle.dumps(serialize_file)) is serialize_file
            assert all(name is serialize_file for name in names[2:])
            assert (type(serialize_file) is types.BuiltinFunctionType) is not enabled
            assert inspect.signature(serialize_file).parameters.keys() == {"tensor_dict", "filename", "metadata"}
        if not enabled:  # else it waits for parts that torch imports later
            ours = [f for f in sys.meta_path if type(f).__module__.startswith("model_signing_autosign")]
            assert ours == [], ours

    for step in sys.argv[1:]:
        if step == "enable":
            autosign.enable()
            enabled = True
        elif step == "disable":
            autosign.disable()
            enabled = False
        elif step == "import":
            import torch, safetensors.numpy, safetensors.torch
        elif step == "bind":
            from torch import save as torch_save
            from safetensors.torch import save_file
            bound = {"torch": torch_save, "safetensors": save_file}
        elif step == "save":
            save()
        check()
    print("ok", saved)
"""


@pytest.mark.parametrize(
    "steps",
    [
        "enable import bind save disable save enable save",
        "import bind save enable enable save disable disable save enable save",
        "enable disable import save bind enable save disable save",
    ],
)
def test_orders(steps: str, run_script: Callable[..., CompletedProcess[str]]) -> None:
    result = run_script(ORDERS, *steps.split(), timeout=120)
    assert result.stdout == f"ok {steps.count('save')}\n", result.stderr


@pytest.mark.parametrize("name", frameworks.NAMES)
def test_every_name_exists(name: str, run_script: Callable[..., CompletedProcess[str]]) -> None:
    """What a hook names is there in the installed version; a new hook is tested by being listed."""
    script = """
        import importlib, sys
        from model_signing_autosign import _patch, frameworks
        import model_signing_autosign as autosign
        autosign.enable()
        for patch in frameworks.patches([sys.argv[1]]):
            importlib.import_module(patch.framework.name)
            importlib.import_module(patch.module)
            owner, name = _patch._lookup(patch.names[0])
            assert hasattr(getattr(owner, name), "__wrapped__"), patch.names[0]
    """
    result = run_script(script, name, HOOKS=name, timeout=120)  # by name, as some are off by default
    # Some frameworks have something to say when they are imported; we have not.
    assert result.returncode == 0, result.stderr
    assert "model-signing" not in result.stdout + result.stderr


def test_importing_the_package_does_nothing(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    script = """
        import sys
        before = list(sys.meta_path)
        import model_signing_autosign
        assert sys.meta_path == before
        assert "atexit" not in sys.modules or __import__("atexit")._ncallbacks() == 0
        print(sorted({"torch", "safetensors", "numpy", "multiprocessing", "asyncio"} & set(sys.modules)))
        print(model_signing_autosign.__version__ != "")
    """
    result = run_script(script)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[]\nTrue\n", "")
    assert not (tmp_path / "spool").exists()


def test_the_switch(run_script: Callable[..., CompletedProcess[str]]) -> None:
    script = """
        import sys
        import model_signing.autosign as autosign
        import model_signing.autosign
        from model_signing.autosign import AutosignError, flush
        import model_signing_autosign
        assert autosign is model_signing.autosign is model_signing_autosign
        assert flush is model_signing_autosign.flush
        print(sorted({"torch", "safetensors", "numpy"} & set(sys.modules)))
        print(len(sys.meta_path), type(sys.meta_path[0]).__module__)
    """
    result = run_script(script)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("[]\n")
    assert result.stdout.endswith(" model_signing_autosign._patch\n")


SAVE = """
    import model_signing.autosign
    import numpy, safetensors.numpy, sys
    safetensors.numpy.save_file({"w": numpy.arange(9.0)}, "model.safetensors")
    print(hasattr(safetensors.serialize_file, "__wrapped__"))
"""


class TestSettings:
    @pytest.mark.parametrize(
        ("hooks", "signed"),
        [("auto", True), ("safetensors", True), ("torch,safetensors", True), ("torch", False), ("none", False)],
    )
    def test_hooks(
        self, hooks: str, signed: bool, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
    ) -> None:
        result = run_script(SAVE, HOOKS=hooks)
        assert (result.returncode, result.stdout) == (0, f"{signed}\n"), result.stderr
        assert (tmp_path / "model.safetensors.sig").exists() is signed

    def test_unknown_hook(self, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
        result = run_script(SAVE, HOOKS="safetensors,keras9", ON_ERROR="warn")
        assert (result.returncode, result.stdout) == (0, "True\n")
        assert "keras9" in result.stderr
        assert (tmp_path / "model.safetensors.sig").exists()

    def test_disabled(self, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
        """The kill switch: nothing is patched, nothing written, not even with settings that make no sense."""
        result = run_script(SAVE, MODE="disabled", PRIVATE_KEY="/nowhere", SPOOL=str(tmp_path / "file" / "spool"))
        assert (result.returncode, result.stdout, result.stderr) == (0, "False\n", "")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "train.py"]

    def test_inline(self, run_script: Callable[..., CompletedProcess[str]]) -> None:
        script = """
            import model_signing.autosign
            import numpy, os, safetensors.numpy
            safetensors.numpy.save_file({"w": numpy.arange(9.0)}, "model.safetensors")
            print(os.path.exists("model.safetensors.sig"))
        """
        assert run_script(script, MODE="inline").stdout == "True\n"


def test_the_settings_page_names_every_hook() -> None:
    page = Path(__file__).parents[2] / "docs/reference/environment.md"
    (row,) = [line for line in page.read_text(encoding="utf-8").splitlines() if "`MODEL_SIGNING_HOOKS`" in line]
    assert row.split(" | ")[1] == f"auto, none, or a list of {', '.join(frameworks.NAMES)}"


ONCE_MORE = {
    "safetensors": """
        import importlib.util, sys
        spec = importlib.util.find_spec("safetensors")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        safetensors = sys.modules["safetensors"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(safetensors)
        import safetensors.numpy, numpy
        safetensors.numpy.save_file({"w": numpy.arange(9.0)}, "model")
    """,
    "torch": """
        import importlib, torch
        importlib.reload(torch.serialization)
        torch.serialization.save({"w": torch.zeros(9)}, "model")
    """,
    "keras": """
        import os, sys
        os.environ["KERAS_BACKEND"] = "jax"
        import keras
        keras.config.set_backend("torch")
        for name in [name for name in sys.modules if name.partition(".")[0] == "keras"]:
            del sys.modules[name]
        import keras
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save("model.keras")
        os.rename("model.keras", "model")
    """,
}


@pytest.mark.parametrize("name", sorted(ONCE_MORE))
def test_a_framework_that_is_imported_once_more_is_hooked_again(
    name: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    switch = "import model_signing.autosign\n"
    result = run_script(switch + textwrap.dedent(ONCE_MORE[name]), timeout=120)
    assert result.returncode == 0, result.stderr
    assert list(tmp_path.rglob("model.sig")), result.stderr
    assert "not signed" not in result.stderr
