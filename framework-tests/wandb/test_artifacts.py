"""What is put into artifacts of Weights & Biases, with signing enabled in this process."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import torch
import wandb
from model_signing_autosign import _uploads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")


def save(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": torch.ones(3)}, path)
    return str(path)


@pytest.fixture
def artifact() -> Any:
    return wandb.Artifact("model", type="model")


def names(artifact: Any) -> set[str]:
    return set(artifact.manifest.entries)


ADDS: dict[str, Callable[[Any, str], object]] = {
    "add_file": lambda artifact, path: artifact.add_file(path),
    "keyword": lambda artifact, path: artifact.add_file(local_path=path),
    "immutable": lambda artifact, path: artifact.add_file(path, policy="immutable"),
    "again": lambda artifact, path: [artifact.add_file(path), artifact.add_file(path), artifact.add_dir(parent(path))],
    "by hand too": lambda artifact, path: [artifact.add_file(path), artifact.add_file(f"{path}.sig")],
    "add_dir": lambda artifact, path: artifact.add_dir(parent(path)),
    "add_dir, keyword": lambda artifact, path: artifact.add_dir(local_path=parent(path), policy="immutable"),
}


def parent(path: str) -> str:
    return os.path.dirname(path)


@pytest.mark.parametrize("add", ADDS.values(), ids=ADDS)
def test_file_that_has_just_been_saved(
    add: Callable[[Any, str], object],
    artifact: Any,
    tmp_path: Path,
    autosign: ModuleType,
    keys: Any,
    uploaded: Callable[[Any], Path],
) -> None:
    add(artifact, save(tmp_path / "kept/model.pt"))
    assert names(artifact) == {"model.pt", "model.pt.sig"}
    assert autosign.verify(uploaded(artifact) / "model.pt", public_key=keys.public) == ["model.pt"]


@pytest.mark.parametrize("name", ["model.ckpt", "deep/er/model.ckpt", "deep/epoch=1.ckpt"])
def test_another_name(
    name: str,
    artifact: Any,
    tmp_path: Path,
    autosign: ModuleType,
    keys: Any,
    uploaded: Callable[[Any], Path],
    signatures: Callable[[], list[str]],
    upstream_verifies: Callable[[Path], None],
) -> None:
    entry = artifact.add_file(save(tmp_path / "epoch=1.ckpt"), name=name)
    assert isinstance(entry, type(artifact.manifest.entries[name]))
    assert (entry.path, names(artifact)) == (name, {name, f"{name}.sig"})
    assert signatures() == ["epoch=1.ckpt.sig"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch=1.ckpt", "epoch=1.ckpt.sig"]
    model = uploaded(artifact) / name
    assert autosign.verify(model, public_key=keys.public) == [model.name]
    upstream_verifies(model)


def test_another_name_for_what_another_program_signed(
    artifact: Any, tmp_path: Path, autosign: ModuleType, keys: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """Who signed it is not for us to repeat."""
    (tmp_path / "weights.bin").write_bytes(b"weights")
    autosign.sign(tmp_path / "weights.bin", private_key=keys.private)
    artifact.add_file(str(tmp_path / "weights.bin"), name="model.bin")
    artifact.add_file(str(tmp_path / "weights.bin"))
    assert names(artifact) == {"model.bin", "weights.bin", "weights.bin.sig"}
    assert "weights.bin is put into an artifact as model.bin: its signature" in capfd.readouterr().err


def test_changed_since_it_was_saved(
    artifact: Any, tmp_path: Path, autosign: ModuleType, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nobody gets his change signed by having the file put into an artifact under another name."""
    path = save(tmp_path / "a.pt")
    autosign.wait(path)
    change = "import sys; open(sys.argv[1], 'r+b').write(b'XX')"
    subprocess.run([sys.executable, "-c", change, path], check=True)
    artifact.add_file(path, name="model.ckpt")
    assert names(artifact) == {"model.ckpt"}
    assert "a.pt is put into an artifact as model.ckpt: its signature" in capfd.readouterr().err


def test_overwritten(
    artifact: Any, tmp_path: Path, autosign: ModuleType, keys: Any, uploaded: Callable[[Any], Path]
) -> None:
    artifact.add_file(save(tmp_path / "model.pt"))
    torch.save({"weights": torch.zeros(9)}, tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"Cannot add the same path twice: 'model\.pt'"):
        artifact.add_file(str(tmp_path / "model.pt"))
    artifact.add_file(str(tmp_path / "model.pt"), overwrite=True)
    assert autosign.verify(uploaded(artifact) / "model.pt", public_key=keys.public)


def test_folders(
    artifact: Any, tmp_path: Path, autosign: ModuleType, keys: Any, uploaded: Callable[[Any], Path]
) -> None:
    from model_signing_autosign._saving import Scope

    for name in ("checkpoint-1", "checkpoint-2"):
        with Scope(tmp_path / "run" / name, "test"):
            save(tmp_path / "run" / name / "weights.pt")
    save(tmp_path / "run/deep/best.pt")
    artifact.add_dir(str(tmp_path / "run"), name="run")
    folder = uploaded(artifact) / "run"
    assert autosign.verify(folder / "checkpoint-1", public_key=keys.public) == ["weights.pt"]
    assert autosign.verify(folder / "checkpoint-2", public_key=keys.public) == ["weights.pt"]
    assert autosign.verify(folder / "deep/best.pt", public_key=keys.public) == ["best.pt"]
    assert len(names(artifact)) == 6


def test_nothing_but_our_signatures_goes_along(artifact: Any, tmp_path: Path, autosign: ModuleType) -> None:
    for name in ("plain.txt", "archive.gz", "archive.gz.sig"):
        (tmp_path / name).write_bytes(b"something")
    with autosign.paused():
        save(tmp_path / "unsigned.pt")
    for name in ("plain.txt", "archive.gz", "unsigned.pt"):
        artifact.add_file(str(tmp_path / name))
    with artifact.new_file("new.txt") as file:
        file.write("new")
    artifact.add_reference((tmp_path / "plain.txt").as_uri(), name="reference")
    assert names(artifact) == {"plain.txt", "archive.gz", "unsigned.pt", "new.txt", "reference"}


def test_wrong_calls_raise_as_ever(artifact: Any, tmp_path: Path, autosign: ModuleType) -> None:
    path = save(tmp_path / "model.pt")

    def errors() -> list[tuple[type, str]]:
        found = []
        for call in (
            lambda: artifact.add_file(str(tmp_path / "missing.pt")),
            lambda: artifact.add_file(str(tmp_path)),
            lambda: artifact.add_file(path, policy="wrong"),
            lambda: artifact.add_file(path, "../outside"),
            lambda: artifact.add_dir(path),
            lambda: artifact.add_file(None),
            artifact.add_file,
            artifact.add_dir,
        ):
            with pytest.raises(Exception, match=r".+") as caught:
                call()
            found.append((caught.type, str(caught.value)))
        return found

    signed = errors()
    assert names(artifact) == set()
    autosign.disable()
    assert errors() == signed


def test_what_is_pending_elsewhere_is_not_waited_for(
    artifact: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_uploads, "_LONGEST_WAIT", 0.0)
    (tmp_path / "plain.txt").write_bytes(b"something")
    save(tmp_path / "other.pt")
    artifact.add_file(str(tmp_path / "plain.txt"))
    assert names(artifact) == {"plain.txt"}
    assert "any longer" not in capfd.readouterr().err


def test_functions_stay_as_they_are(autosign: ModuleType) -> None:
    functions = [vars(wandb.Artifact)[name] for name in ("add_file", "add_dir")]
    for function in functions:
        assert pickle.loads(pickle.dumps(function)) is function
        assert inspect.signature(function) == inspect.signature(function.__wrapped__)
    autosign.disable()
    assert all(vars(wandb.Artifact)[function.__name__] is function.__wrapped__ for function in functions)
