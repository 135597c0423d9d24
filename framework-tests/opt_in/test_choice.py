"""Who is off by default, how one asks for them, and that nobody else pays for it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import model_signing_autosign
import pytest
from model_signing_autosign import frameworks

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

STARTUP = Path(model_signing_autosign.__file__).with_name("startup")
DEFAULT = {"w.pt", "w.safetensors"}
OPT_IN = {"w.joblib", "w.npz", "w.onnx", "w.json", "w.txt"}

SAVE = """
    import model_signing.autosign as autosign
    import sys
    waited_for = sys.modules["model_signing_autosign._patch"]._waiting & {"joblib", "numpy", "onnx", "xgboost"}
    import joblib, lightgbm, numpy, onnx, xgboost
    from numpy import savez
    x = numpy.arange(80.0).reshape(40, 2)
    joblib.dump(x, "w.joblib")
    savez("w.npz", x)
    onnx.save(onnx.ModelProto(ir_version=9), "w.onnx")
    xgboost.train({"nthread": 1}, xgboost.DMatrix(x, label=x[:, 0] > 9), 1).save_model("w.json")
    lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, x[:, 0] > 9), 1).save_model("w.txt")
    if "default" in sys.argv:
        import safetensors.numpy, torch
        torch.save({"w": torch.ones(3)}, "w.pt")
        safetensors.numpy.save_file({"w": x}, "w.safetensors")
    wrapped = [hasattr(f, "__wrapped__") for f in (joblib.dump, numpy.lib._npyio_impl._savez, onnx.save)]
    print(sorted(waited_for), wrapped)
"""


@pytest.mark.parametrize(
    ("hooks", "signed", "waited_for", "wrapped"),
    [
        ("auto", DEFAULT, [], [False, False, False]),
        ("joblib, onnx", {"w.joblib", "w.onnx"}, ["joblib", "onnx"], [True, False, True]),
        ("auto,numpy", {"w.npz"}, ["numpy"], [False, True, False]),
        ("xgboost,lightgbm,auto", {"w.json", "w.txt"}, ["xgboost"], [False, False, False]),
    ],
)
def test_choice(
    hooks: str, signed: set[str], waited_for: list[str], wrapped: list[bool], run_script: Run, tmp_path: Path
) -> None:
    result = run_script(SAVE, *(["default"] if hooks == "auto" else []), HOOKS=hooks, timeout=120)
    assert (result.returncode, result.stdout) == (0, f"{waited_for} {wrapped}\n"), result.stderr
    assert {path.name for path in tmp_path.glob("w.*") if path.suffix != ".sig"} >= OPT_IN
    assert {path.stem for path in tmp_path.glob("*.sig")} == signed


def test_auto_leaves_them_out() -> None:
    names = {patch.framework.name for patch in frameworks.patches(frameworks.NAMES)}
    default = {patch.framework.name for patch in frameworks.patches(["auto"])}
    assert names - default == set(frameworks.OPT_IN)
    one_more = {patch.framework.name for patch in frameworks.patches(["auto", "joblib"])}
    assert one_more == default | {"joblib"}
    assert {patch.framework.name for patch in frameworks.patches(["joblib", "none"])} == {"joblib"}


def test_a_slip_is_told_all_names(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(frameworks.patches(["jobllib"])) == []
    names = ", ".join(frameworks.NAMES)
    assert f"'jobllib', which is no hook; there are: auto, none, {names}" in capfd.readouterr().err


def test_installed_are_all_that_have_a_hook() -> None:
    hooks = {hook for _, _, hooks in frameworks.installed() for hook in hooks}
    assert hooks >= {*frameworks.OPT_IN, "auto"}
    assert {name for name, _, _ in frameworks.installed()} >= {"mlflow-skinny", "onnx", "safetensors", "torch"}


def test_the_doctor_tells_them_apart(run_script: Run) -> None:
    script = """
        import json
        import model_signing_autosign
        report = model_signing_autosign.doctor()
        print(json.dumps([[framework["name"] for framework in report[key]] for key in ("hooked", "unhooked")]))
    """
    hooked, left_out = json.loads(run_script(script, HOOKS="auto,joblib").stdout)
    assert set(hooked) >= {"joblib", "safetensors", "torch"}
    left_out_by_choice = {"lightgbm", "numpy", "onnx", "xgboost"}
    assert left_out_by_choice <= set(left_out)
    assert set(left_out) & {"joblib", "safetensors", "torch"} == set()


class TestLauncher:
    """`model-signing run` is no more than its folder in PYTHONPATH."""

    @pytest.fixture
    def launched(self, tmp_path: Path, settings: dict[str, str]) -> Callable[..., str]:
        def launched(script: str, **more: str) -> str:
            path = os.pathsep.join([str(STARTUP), settings.get("PYTHONPATH", "")])
            variables = settings | {"MODEL_SIGNING_HOOKS": "auto", "PYTHONPATH": path} | more
            result = subprocess.run(
                [sys.executable, "-c", script],
                cwd=tmp_path,
                env={name: value for name, value in variables.items() if value},
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, result.stderr
            return result.stdout

        return launched

    def test_it_knows_the_same_names(self) -> None:
        """It cannot import them: the interpreter may be one without the package."""
        lines = (STARTUP / "sitecustomize.py").read_text(encoding="utf-8").splitlines()
        (known,) = [line.partition(" = ")[2] for line in lines if line.startswith("_OPT_IN = ")]
        assert ast.literal_eval(known) == set(frameworks.OPT_IN)

    LOOK = "import numpy, sys; numpy.savez('w', 3); print('model_signing_autosign' in sys.modules)"

    @pytest.mark.parametrize("hooks", ["auto", "", "auto,onnx", "none"])
    def test_numpy_wakes_nobody_up(self, hooks: str, launched: Callable[..., str], tmp_path: Path) -> None:
        assert launched(self.LOOK, MODEL_SIGNING_HOOKS=hooks) == "False\n"
        assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]

    @pytest.mark.parametrize("place", ["variable", "own file", "home", "named file"])
    def test_who_asks_for_it(self, place: str, launched: Callable[..., str], tmp_path: Path) -> None:
        variables = {"MODEL_SIGNING_HOOKS": ""}
        if place == "variable":
            variables["MODEL_SIGNING_HOOKS"] = "auto, numpy"
        elif place == "named file":
            variables["MODEL_SIGNING_CONFIG"] = "named.toml"  # in the working directory
            (tmp_path / "named.toml").write_text('hooks = ["numpy"]\n')
        else:
            variables |= {"XDG_CONFIG_HOME": str(tmp_path / "own")} if place == "own file" else {}
            variables |= {"XDG_CONFIG_HOME": "", "HOME": str(tmp_path)} if place == "home" else {}
            folder = tmp_path / ("own" if place == "own file" else ".config") / "model-signing"
            folder.mkdir(parents=True)
            (folder / "config.toml").write_text('hooks = "auto,numpy"\n')
        assert launched(self.LOOK, **variables) == "True\n"
        assert (tmp_path / "w.npz.sig").exists()

    def test_a_variable_overrules_the_file(self, launched: Callable[..., str], tmp_path: Path) -> None:
        """Then the package has been loaded for nothing, and signs nothing."""
        (tmp_path / "named.toml").write_text('hooks = ["numpy"]\n')
        assert launched(self.LOOK, MODEL_SIGNING_CONFIG="named.toml") == "True\n"
        assert not (tmp_path / "w.npz.sig").exists()

    def test_the_default_ones_still_do(self, launched: Callable[..., str], tmp_path: Path) -> None:
        script = "import numpy, safetensors.numpy as s; s.save_file({'w': numpy.ones(3)}, 'w.safetensors')"
        launched(script)
        assert (tmp_path / "w.safetensors.sig").exists()
