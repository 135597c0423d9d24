"""What users install: the wheel alone and beside upstream's package, in fresh environments."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
UV = ROOT / "build/tools/bin/uv"
UPSTREAM = ["model-signing==1.1.1", "pyOpenSSL==26.4.0", "sigstore==4.5.1"]
BOTH = """
import model_signing.autosign, model_signing.signing
model_signing.autosign.enable()
model_signing.signing.Config()
"""

TYPED = """
import model_signing.autosign, model_signing.signing
reveal_type(model_signing.autosign.flush(timeout=1.0).signed)
reveal_type(model_signing.signing.Config())
"""
REVEALED = r'Revealed type is "(?:builtins\.)?(.*)"'


def run(*command: str | Path, cwd: Path | None = None) -> str:
    result = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel() -> Path:
    (wheel,) = (ROOT / "build/wheel").glob("*.whl")
    return wheel


@pytest.fixture
def python(tmp_path: Path) -> Path:
    run(UV, "venv", "--python", sys.executable, tmp_path / "env")
    return tmp_path / "env/bin/python"


def install(python: Path, *what: str | Path) -> None:
    run(UV, "pip", "install", "--python", python, *what)


def test_alone(python: Path, wheel: Path, tmp_path: Path) -> None:
    install(python, wheel)
    assert run(UV, "pip", "freeze", "--python", python).count("\n") == 1, "the wheel depends on nothing"
    modules = run(python, "-c", "import sys, model_signing.autosign; print(*sys.modules)").split()
    heavy = {"torch", "numpy", "safetensors", "asyncio", "ssl", "requests", "multiprocessing"}
    assert not heavy.intersection(modules)
    assert run(python, "-c", "import model_signing.autosign as a; print(a.__version__)").startswith("0.")
    assert re.match(r"model-signing 0\.", run(python.with_name("model-signing"), "--version"))


def test_from_the_source_tree(tmp_path: Path) -> None:
    """`pip install .`, as the README says."""
    environment = tmp_path / "env"
    run(sys.executable, "-m", "venv", environment)
    run(environment / "bin/python", "-m", "pip", "install", "--quiet", ROOT)
    assert run(environment / "bin/model-signing", "--version").startswith("model-signing 0.")


def judged(python: Path, folder: Path, text: str) -> str:
    """What mypy says of a user's file, for which this interpreter's packages are installed."""
    script = folder / "train.py"
    script.write_text(text)
    mypy = [Path(sys.executable).with_name("mypy"), "--strict", "--python-executable", python, "--config-file", ""]
    return subprocess.run([*mypy, script], cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("order", ["ours first", "upstream first"])
def test_beside_upstream(python: Path, wheel: Path, tmp_path: Path, order: str) -> None:
    if order == "ours first":
        install(python, wheel)
        install(python, *UPSTREAM)
    else:
        install(python, *UPSTREAM)
        install(python, wheel)
    run(python, "-c", BOTH)
    assert re.findall(REVEALED, judged(python, tmp_path, TYPED)) == ["int", "model_signing.signing.Config"]
    run(UV, "pip", "check", "--python", python)
    run(UV, "pip", "uninstall", "--python", python, "model-signing-autosign")
    run(python, "-c", "import model_signing.signing")


def test_the_wheel_puts_nothing_into_upstream_s_folder(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    switch = [name for name in names if name.startswith("model_signing/")]
    assert sorted(switch) == [f"model_signing/autosign/{name}" for name in ("__init__.py", "__init__.pyi", "py.typed")]
    assert not [name for name in names if name.endswith(".pth")]


def test_the_two_commands_are_one(python: Path, wheel: Path) -> None:
    install(python, wheel)
    stand_alone = ["cargo", "run", "--quiet", "--bin", "model-signing", "--"]
    for arguments in (["--help"], ["sign", "key", "--help"], ["env", "--markdown"]):
        ours = run(python.with_name("model-signing"), *arguments)
        assert ours == run(*stand_alone, *arguments, cwd=ROOT)


@pytest.mark.parametrize(("size", "drawn"), [(1 << 20, False), (4 << 30, True)], ids=["at once", "more than a second"])
def test_a_bar_on_a_terminal(tmp_path: Path, size: int, drawn: bool) -> None:
    """A person who waits more than a second sees how far it is; what goes to a pipe is never touched."""
    model = tmp_path / "large.bin"
    with model.open("wb") as file:
        file.truncate(size)
    terminal, end = pty.openpty()
    command = [Path(sys.executable).with_name("model-signing"), "digest", model]
    environment = os.environ | {"TERM": "xterm"}  # a terminal that calls itself dumb, or nothing, gets no bar
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=end, text=True)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # Linux says so that the other end is closed
        while part := os.read(terminal, 1 << 16):
            shown += part
    os.close(terminal)
    said, _ = running.communicate()
    assert re.fullmatch(r"sha256:[0-9a-f]{64}\n", said)
    assert ("█".encode() in shown) is drawn


USES = """
import model_signing.autosign
from model_signing.autosign import UnsignedError
from model_signing_autosign import hashing, signing, verifying

reveal_type(model_signing.autosign.flush(timeout=1.0).signed)
reveal_type(model_signing.autosign.wait("a.pt"))
reveal_type(model_signing.autosign.verify("a.pt"))
reveal_type(UnsignedError("a.pt has no signature").hint)
reveal_type(signing.Config().use_elliptic_key_signer(private_key="key.pem"))
reveal_type(verifying.Config().use_elliptic_key_verifier(public_key="key.pub.pem"))
reveal_type(hashing.hash("model"))
model_signing.autosign.flush(timeout="1")
signing.Config().sign("model")
"""


def test_type_checkers_see_the_switch_and_the_library(python: Path, wheel: Path, tmp_path: Path) -> None:
    install(python, wheel)
    said = judged(python, tmp_path, USES)
    assert re.findall(REVEALED, said) == [
        "int",
        "pathlib.Path",
        "list[str]",
        "str",
        "model_signing_autosign.signing.Config",
        "model_signing_autosign.verifying.Config",
        "model_signing_autosign.manifest.Manifest",
    ]
    assert re.findall(r"error: .*\[(.*)\]", said) == ["arg-type", "call-arg"], said
