"""Signatures that lie out of the way: MODEL_SIGNING_SIGNATURE=hidden."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from conftest import Keys

    Run = Callable[..., CompletedProcess[str]]

COMMAND = str(Path(sys.executable).with_name("model-signing"))
BEGIN = """
import os, shutil, sys
import model_signing.autosign as autosign
import numpy
from safetensors.numpy import save_file

os.chdir(sys.argv[1])

def save(name, value=0):
    save_file({"w": numpy.full(3, value)}, name)

def signed():
    status = autosign.flush()
    assert (status.failed, status.pending) == (0, 0), status
"""


@pytest.fixture
def train(run_script: Run, tmp_path: Path) -> Callable[..., list[str]]:
    """Run a script below a folder, and list the files that are then in it."""
    folder = tmp_path / "runs"
    folder.mkdir()

    def train(script: str, signature: str = "hidden", **settings: str) -> list[str]:
        ran = run_script(BEGIN + script, str(folder), SIGNATURE=signature, **settings)
        assert ran.returncode == 0, ran.stderr
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    return train


def verifies(path: Path, keys: Keys) -> bool:
    import model_signing_autosign

    return bool(model_signing_autosign.verify(path, public_key=keys.public))


def hidden(name: str) -> str:
    return f".signatures/files/{name}.sig"


@pytest.mark.parametrize("flushed", ["pass", "signed()"])
def test_what_is_renamed_takes_it_along(
    train: Callable[..., list[str]], tmp_path: Path, keys: Keys, flushed: str
) -> None:
    files = train(f"save('a.pt'); {flushed}; os.rename('a.pt', 'b.pt'); signed()")
    assert files == [hidden("b.pt"), "b.pt"]
    assert verifies(tmp_path / "runs/b.pt", keys)


def test_a_folder_that_is_moved_takes_it_along(train: Callable[..., list[str]], tmp_path: Path, keys: Keys) -> None:
    files = train("os.mkdir('tmp'); save('tmp/a.pt'); signed(); os.mkdir('out'); os.rename('tmp', 'out/1'); signed()")
    assert files == [f"out/1/{hidden('a.pt')}", "out/1/a.pt"]
    assert verifies(tmp_path / "runs/out/1/a.pt", keys)


def test_what_is_saved_again_has_a_new_one(train: Callable[..., list[str]], tmp_path: Path, keys: Keys) -> None:
    files = train(
        "save('a.pt'); signed(); save('a.pt', 1); assert not os.path.exists('.signatures/files/a.pt.sig'); signed()"
    )
    assert files == [hidden("a.pt"), "a.pt"]
    assert verifies(tmp_path / "runs/a.pt", keys)


def test_it_goes_with_the_last_file_and_so_does_its_folder(train: Callable[..., list[str]], tmp_path: Path) -> None:
    assert train("save('a.pt'); save('b.pt'); signed(); os.remove('a.pt'); signed()") == [hidden("b.pt"), "b.pt"]
    # Another process removes the other.
    assert train("save('c.pt'); signed(); os.remove('b.pt'); os.remove('c.pt'); signed()") == []
    assert os.listdir(tmp_path / "runs") == []


@pytest.mark.parametrize(("first", "then"), [("beside", "hidden"), ("hidden", "beside")])
def test_a_file_has_one_signature_whatever_was_set_before(
    train: Callable[..., list[str]], tmp_path: Path, keys: Keys, first: str, then: str
) -> None:
    train("save('a.pt'); signed()", first)
    files = train("save('a.pt', 1); signed()", then)
    assert files == ([hidden("a.pt"), "a.pt"] if then == "hidden" else ["a.pt", "a.pt.sig"])
    assert verifies(tmp_path / "runs/a.pt", keys)


def test_a_failed_save_gives_it_back(train: Callable[..., list[str]], tmp_path: Path, keys: Keys) -> None:
    train("save('a.pt'); signed()")
    files = train("""
try:
    save_file({"w": "no tensor"}, "a.pt")
except Exception as error:
    print(type(error))
""")
    assert files == [hidden("a.pt"), "a.pt"]
    assert verifies(tmp_path / "runs/a.pt", keys)


def test_the_signature_of_a_folder_stays_in_it(train: Callable[..., list[str]], tmp_path: Path, keys: Keys) -> None:
    files = train("""
from model_signing_autosign._saving import Scope
os.mkdir("model")
with Scope("model", "test"):
    open("model/weights", "w").write("weights")
signed()
""")
    assert files == ["model/model.sig", "model/weights"]
    assert os.listdir(tmp_path / "runs") == ["model"]


def test_of_two_signatures_the_one_beside_counts(train: Callable[..., list[str]], tmp_path: Path, keys: Keys) -> None:
    """It is what other tools look at. Where it does not fit, the model is refused."""
    train("save('a.pt'); signed()")
    beside = tmp_path / "runs/a.pt.sig"
    beside.write_bytes((tmp_path / "runs" / hidden("a.pt")).read_bytes().replace(b"payload", b"payl0ad"))
    import model_signing_autosign

    with pytest.raises(model_signing_autosign.errors.AutosignError):
        verifies(tmp_path / "runs/a.pt", keys)
    beside.unlink()
    assert verifies(tmp_path / "runs/a.pt", keys)


def test_every_command_finds_it(
    train: Callable[..., list[str]], tmp_path: Path, keys: Keys, settings: dict[str, str]
) -> None:
    spool = tmp_path / "offline"
    train("save('a.pt'); autosign.flush()", MODE="offline", SPOOL=str(spool))
    model = tmp_path / "runs/a.pt"
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[[allow]]\nmodels = ["*.pt"]\npublic_key = "{keys.public}"\n')
    policy.chmod(0o600)
    for command, said in (
        (["flush", spool], "1 signed, 0 left"),
        (["verify", "key", model, "--public-key", keys.public], "Verification succeeded"),
        (["verify", "policy", model, "--policy", policy], "Verification succeeded"),
        (["log", "verify", "key", tmp_path / "runs", "--public-key", keys.public], "1 signature"),
    ):
        ran = subprocess.run(
            [COMMAND, *command], env=settings, capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert said in ran.stdout, (command, ran)


def test_a_copy_has_its_own(train: Callable[..., list[str]], tmp_path: Path, keys: Keys) -> None:
    files = train("save('a.pt'); shutil.copyfile('a.pt', 'best.pt'); signed()")
    assert files == [hidden("a.pt"), hidden("best.pt"), "a.pt", "best.pt"]
    assert verifies(tmp_path / "runs/best.pt", keys)


@pytest.mark.parametrize("flushed", ["pass", "signed()"])
def test_a_folder_can_be_removed(train: Callable[..., list[str]], tmp_path: Path, flushed: str) -> None:
    script = f"""
for step in range(20):
    os.mkdir("1"), os.mkdir("2"), os.mkdir("3")
    save("1/a.pt"), save("2/a.pt"), save("3/a.pt")
    {flushed}
    os.remove("1/a.pt")
    os.rmdir("1")
    shutil.rmtree("2")
    for name in os.listdir("3"):
        if name.endswith(".pt"):
            os.remove("3/" + name)
    os.rmdir("3")
signed()
"""
    assert train(script) == []
    assert os.listdir(tmp_path / "runs") == []
