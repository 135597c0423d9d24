"""What an interpreter under `model-signing run` does at its start: nearly nothing, and then what it would have done."""

from __future__ import annotations

import ast
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

UV = Path(__file__).parents[2] / "build/tools/bin/uv"

LOOK = """
import importlib.util, sys
print(__name__, sys.path, sys.argv, sys.flags)
print(sorted(set(sys.modules)))
print(getattr(importlib.util.find_spec("sitecustomize"), "origin", None))
try:
    import sitecustomize
    print(sitecustomize.__file__, sitecustomize.__name__, sitecustomize.seen)
except ImportError as error:
    print(error)
"""

SAVE = """
import numpy, safetensors.numpy
safetensors.numpy.save_file({"w": numpy.arange(9)}, "w.safetensors")
"""

# All that is seen of a framework: no import of its own gives a second chance to notice it.
FAKE = "def serialize_file(*_): pass\n"


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Path]:
    def script(text: str) -> Path:
        path = tmp_path / "train.py"
        path.write_text(textwrap.dedent(text))
        return path

    return script


@pytest.fixture
def fake(tmp_path: Path) -> None:
    (tmp_path / "safetensors.py").write_text(FAKE)


def sitecustomize(folder: Path, text: str) -> str:
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(text)
    return str(folder)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name != "spool"}


@pytest.mark.parametrize("before", [None, "", "relative:/absolute"])
def test_a_program_sees_what_it_saw(
    before: str | None, script: Callable[[str], Path], plain: Run, launched: Run, tmp_path: Path
) -> None:
    path = {} if before is None else {"PYTHONPATH": before}
    program = script(LOOK)
    there = files(tmp_path)
    with_us, without = (run(sys.executable, program, **path) for run in (launched, plain))
    assert "No module named 'sitecustomize'" in without.stdout
    assert (with_us.returncode, with_us.stdout, with_us.stderr) == (0, without.stdout, "")
    assert files(tmp_path) == there, "nothing is left behind"


def test_the_folder_holds_one_file(startup: Path) -> None:
    """Whatever else lay there would hide modules of the same name. (Python keeps its byte code as everywhere.)"""
    assert {path.name for path in startup.iterdir()} - {"__pycache__"} == {"sitecustomize.py"}


@pytest.mark.parametrize(
    "text",
    [
        "import sys; seen = sys.path; print(__name__, __file__, *sys.path)",
        "raise ValueError('theirs')",
        "import no_such_module",
        "raise ImportError('theirs', name='sitecustomize')",
        "import sys; sys.modules[__name__] = o = type(sys)('other'); o.__spec__, o.__file__, o.seen = __spec__, '', 3",
    ],
)
def test_another_sitecustomize(
    text: str, script: Callable[[str], Path], plain: Run, launched: Run, tmp_path: Path
) -> None:
    """It runs in the launcher's own interpreter, too, as in every Python program."""
    path = {"PYTHONPATH": sitecustomize(tmp_path / "theirs", text)}
    program = script(LOOK)
    plain(sys.executable, program, **path)  # writes the byte code, whose being there is seen
    with_us, without = (run(sys.executable, program, **path) for run in (launched, plain))
    own = launched("true", **path)
    assert with_us.returncode == without.returncode
    assert (with_us.stdout, with_us.stderr) == (own.stdout + without.stdout, own.stderr + without.stderr)

    assert launched(sys.executable, script(SAVE), **path).returncode == 0
    assert (tmp_path / "w.safetensors.sig").exists()


def test_helper_programs_pay_and_hear_nothing(launched: Run) -> None:
    wrong = {"MODEL_SIGNING_MODE": "fast"}
    look = "import sys; print('model_signing_autosign' in sys.modules, 'json' in sys.modules)"
    result = launched(sys.executable, "-c", look, **wrong)
    assert (result.stdout, result.stderr) == ("False False\n", "")
    result = launched(sys.executable, "-c", f"import safetensors; {look}", **wrong)
    assert result.stdout.startswith("True ")
    assert "MODEL_SIGNING_MODE" in result.stderr


@pytest.mark.usefixtures("fake")
def test_the_import_that_switches_signing_on_is_hooked_itself(launched: Run) -> None:
    look = "import safetensors as s, sys; print(s.serialize_file.__wrapped__); print(sys.meta_path)"
    result = launched(sys.executable, "-c", look)
    assert result.returncode == 0, result.stderr
    assert "_FirstFramework" not in result.stdout


def test_every_hook_is_noticed() -> None:
    """What is imported first must be the name of a file in `frameworks`, or import something that is."""
    from model_signing_autosign import frameworks

    names = {path.stem for path in Path(frameworks.__file__).parent.glob("*.py")}
    import_another_first = {"lightning_fabric": "torch", "pytorch_lightning": "torch", "tf_keras": "tensorflow"}
    assert names.issuperset(import_another_first.values())
    patches = frameworks.patches(frameworks.NAMES)
    assert {patch.module.partition(".")[0] for patch in patches} <= names | set(import_another_first)


@pytest.mark.parametrize(
    ("program", "signed"),
    [
        ("autosign.disable()\n" + SAVE, 0),
        ("autosign.disable()\n" + SAVE + "autosign.enable()\n" + SAVE, 1),
        ("autosign.disable()\nautosign.enable()\n" + SAVE, 1),
        ("with autosign.paused():" + SAVE.replace("\n", "\n    ") + "\n" + SAVE, 1),
    ],
    ids=["off", "off, later on", "off and on", "paused"],
)
def test_the_program_s_own_word_counts(
    program: str, signed: int, script: Callable[[str], Path], launched: Run, tmp_path: Path
) -> None:
    result = launched(sys.executable, script("import model_signing_autosign as autosign\n" + program))
    assert (result.returncode, result.stderr.count("signed")) == (0, signed), result.stderr
    assert (tmp_path / "w.safetensors.sig").exists() is (signed == 1)


@pytest.mark.parametrize("imported", ["import model_signing.autosign", "import model_signing_autosign"])
def test_the_switch_may_be_there_as_well(
    imported: str, script: Callable[[str], Path], launched: Run, tmp_path: Path
) -> None:
    result = launched(sys.executable, script(imported + SAVE))
    assert result.stderr.count("signed") == 1
    assert (tmp_path / "w.safetensors.sig").exists()


@pytest.mark.usefixtures("fake")
def test_an_interpreter_without_the_package(launched: Run, tmp_path: Path) -> None:
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, tmp_path / "other"], check=True)
    python = tmp_path / "other/bin/python"
    result = launched(python, "-c", "print('helped')")
    assert (result.returncode, result.stdout, result.stderr) == (0, "helped\n", "")
    result = launched(python, "-c", "import safetensors; print('trained')")
    assert (result.returncode, result.stdout) == (0, "trained\n")
    assert result.stderr == (
        f"model-signing: nothing that {python} saves is signed: No module named 'model_signing_autosign'\n"
    )


@pytest.mark.usefixtures("fake")
def test_a_broken_package_costs_one_line(launched: Run, tmp_path: Path) -> None:
    (tmp_path / "model_signing_autosign.py").write_text("raise RuntimeError('broken')")
    program = "import safetensors; print(7)"
    result = launched(sys.executable, "-c", program)
    assert (result.returncode, result.stdout) == (0, "7\n")
    assert result.stderr == f"model-signing: nothing that {sys.executable} saves is signed: broken\n"
    result = launched("sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", program)
    assert (result.returncode, result.stdout) == (0, "7\n"), "nobody to tell"


def test_any_python_can_read_it(startup: Path) -> None:
    ast.parse((startup / "sitecustomize.py").read_text(), feature_version=(3, 6))
