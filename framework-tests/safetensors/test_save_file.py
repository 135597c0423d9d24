"""Every writer of safetensors files, with signing enabled in this process."""

from __future__ import annotations

import pickle
import sys
import types
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import numpy
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from safetensors.torch import save_file as bound_before_enable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")

TENSORS = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(3)}
ARRAYS = {name: tensor.numpy() for name, tensor in TENSORS.items()}

WRITERS = {
    "torch": lambda path: safetensors.torch.save_file(TENSORS, path),
    "torch with metadata": lambda path: safetensors.torch.save_file(TENSORS, path, metadata={"format": "pt"}),
    "torch by keyword": lambda path: safetensors.torch.save_file(tensors=TENSORS, filename=path),
    "torch model": lambda path: safetensors.torch.save_model(torch.nn.Linear(2, 2), path),
    "torch early-bound": lambda path: bound_before_enable(TENSORS, path),
    "numpy": lambda path: safetensors.numpy.save_file(ARRAYS, path),
}


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_signed_once(
    write: Callable[[Any], None],
    kind: Callable[[Path], Any],
    tmp_path: Path,
    autosign: ModuleType,
    is_signed: Callable[[Path], bool],
    signatures: Callable[[], list[str]],
) -> None:
    before = autosign.flush().signed
    write(kind(tmp_path / "x.safetensors"))
    assert is_signed(tmp_path / "x.safetensors")
    assert signatures() == ["x.safetensors.sig"]
    assert autosign.flush().signed == before + 1


@pytest.mark.parametrize("write", [WRITERS["torch"], WRITERS["torch with metadata"], WRITERS["numpy"]])
def test_bytes_and_mode_are_the_same(write: Callable[[Any], None], tmp_path: Path) -> None:
    write(tmp_path / "with")
    model_signing_autosign.disable()
    write(tmp_path / "without")
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()
    assert (tmp_path / "with").stat().st_mode == (tmp_path / "without").stat().st_mode


def test_round_trip(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    safetensors.torch.save_file(TENSORS, tmp_path / "x")
    loaded = safetensors.torch.load_file(tmp_path / "x")
    assert all(torch.equal(loaded[name], TENSORS[name]) for name in TENSORS)
    assert numpy.array_equal(safetensors.numpy.load_file(tmp_path / "x")["w"], ARRAYS["w"])
    assert signatures() == ["x.sig"]


def test_bytes_are_not_signed(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    (tmp_path / "x").write_bytes(safetensors.torch.save(TENSORS))
    assert signatures() == []


@pytest.mark.parametrize(
    ("tensors", "filename"),
    [
        ({"w": torch.zeros(2, 3).t()}, "x"),
        ({"a": TENSORS["w"], "b": TENSORS["w"]}, "x"),
        (TENSORS, "missing/x"),
        (TENSORS, "."),
        (TENSORS, None),
        (TENSORS, 3),
    ],
    ids=["strided", "shared", "no folder", "folder", "None", "int"],
)
def test_failing_save(
    tensors: Any, filename: Any, tmp_path: Path, signatures: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same exception with the same words, and nothing written either way."""
    outcomes = []
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is compared
            safetensors.torch.save_file(tensors, filename)
        # The names of temporary files are random.
        words = "temporary" if ".tmp" in str(caught.value) else str(caught.value)
        outcomes.append((caught.type, words, list((tmp_path / folder).iterdir())))
        model_signing_autosign.disable()
    assert outcomes[0][:2] == outcomes[1][:2]
    assert outcomes[0][2] == outcomes[1][2] == []
    assert signatures() == []


def test_restored_exactly() -> None:
    hooked = safetensors.serialize_file
    assert pickle.loads(pickle.dumps(hooked)) is hooked
    original = hooked.__wrapped__
    assert type(original) is types.BuiltinFunctionType
    modules = (safetensors, sys.modules["safetensors._safetensors_rust"], safetensors.numpy, safetensors.torch)
    assert all(module.serialize_file is hooked for module in modules)
    model_signing_autosign.disable()
    assert all(module.serialize_file is original for module in modules)
    assert pickle.loads(pickle.dumps(original)) is original


def test_overwritten_again_and_again(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    """Each save renames a new file over the old one."""
    for step in range(20):
        safetensors.torch.save_file({"w": torch.full((1 << 18,), step)}, tmp_path / "last.safetensors")
    assert is_signed(tmp_path / "last.safetensors")


def test_existing_signature_of_an_older_save_is_replaced(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    for step in range(2):
        safetensors.torch.save_file({"w": torch.full((3,), step)}, tmp_path / "x")
        assert is_signed(tmp_path / "x")
