"""torch.save and torch.load, with signing enabled in this process."""

from __future__ import annotations

import inspect
import io
import os
import pickle
import shutil
import threading
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
import torch
from torch import save as bound_before_enable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")
formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def state() -> dict[str, torch.Tensor]:
    return torch.nn.Linear(8, 4).state_dict()


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@formats
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_path(kind: Callable[[Path], Any], zipped: bool, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    path, tensors = tmp_path / "x.pt", state()
    torch.save(tensors, kind(path), _use_new_zipfile_serialization=zipped)
    assert is_signed(path)
    assert same(torch.load(path), tensors)


@formats
def test_signed_once(zipped: bool, tmp_path: Path, autosign: ModuleType, signatures: Callable[[], list[str]]) -> None:
    before = autosign.flush().signed
    torch.save(state(), f=tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert signatures() == ["x.pt.sig"]
    assert autosign.flush().signed == before + 1


@formats
def test_bytes_are_the_same(zipped: bool, tmp_path: Path) -> None:
    tensors = state()
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
    torch.save(tensors, tmp_path / "with" / "x.pt", _use_new_zipfile_serialization=zipped)
    model_signing_autosign.disable()
    torch.save(tensors, tmp_path / "without" / "x.pt", _use_new_zipfile_serialization=zipped)
    if zipped:
        assert (tmp_path / "with" / "x.pt").read_bytes() == (tmp_path / "without" / "x.pt").read_bytes()
    else:  # the legacy format contains memory addresses
        assert (tmp_path / "with" / "x.pt").stat().st_size == (tmp_path / "without" / "x.pt").stat().st_size


def test_early_bound(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    bound_before_enable(state(), tmp_path / "x.pt")
    assert is_signed(tmp_path / "x.pt")


def test_torch_save_is_untouched() -> None:
    assert pickle.loads(pickle.dumps(torch.save)) is torch.save
    assert not hasattr(torch.save, "__wrapped__")
    assert inspect.getsourcefile(torch.save) == inspect.getsourcefile(torch.load)


def test_non_ascii_and_relative_path(
    tmp_path: Path, is_signed: Callable[[Path], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(state(), "modèle 重み.pt")
    assert is_signed(tmp_path / "modèle 重み.pt")


@formats
def test_buffers_and_open_files(zipped: bool, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    buffer = io.BytesIO()
    torch.save(state(), buffer, _use_new_zipfile_serialization=zipped)
    with (tmp_path / "x.pt").open("wb") as file:
        torch.save(state(), file, _use_new_zipfile_serialization=zipped)
        file.write(b"more")
    assert signatures() == []


class Interrupts:
    def __reduce__(self) -> Any:
        raise KeyboardInterrupt


@formats
@pytest.mark.parametrize(
    ("content", "target"),
    [
        ({"w": torch.zeros(9), "f": lambda: 0}, "x.pt"),
        ({"w": torch.zeros(9), "i": Interrupts()}, "x.pt"),
        ({"w": torch.zeros(9)}, "missing/x.pt"),
        ({"w": torch.zeros(9)}, "."),
        ({"w": torch.zeros(9)}, 3),
        ({"w": torch.zeros(9)}, None),
        ({"w": torch.zeros(9)}, b"x.pt"),
        ({"w": torch.zeros(9)}, io.StringIO()),
    ],
    ids=["unpicklable", "interrupt", "no folder", "folder", "int", "None", "bytes", "text"],
)
def test_failing_save(
    zipped: bool,
    content: Any,
    target: Any,
    tmp_path: Path,
    signatures: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same exception with the same words, and the same half of a file."""
    outcomes = []
    for folder in ("with", "without"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is compared
            torch.save(content, target, _use_new_zipfile_serialization=zipped)
        file = tmp_path / folder / "x.pt"
        context = caught.value.__context__
        outcomes.append((caught.type, str(caught.value), type(context), file.read_bytes() if file.exists() else None))
        model_signing_autosign.disable()
    assert outcomes[0] == outcomes[1]
    assert signatures() == []


@formats
def test_load_is_unaffected(zipped: bool, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    path, tensors = tmp_path / "x.pt", state()
    with model_signing_autosign.paused():
        torch.save(tensors, path, _use_new_zipfile_serialization=zipped)
    assert same(torch.load(path), tensors)
    assert same(torch.load(str(path), weights_only=False), tensors)
    assert same(torch.load(io.BytesIO(path.read_bytes())), tensors)
    with path.open("rb") as file:
        assert same(torch.load(file), tensors)
    if zipped:
        assert same(torch.load(path, mmap=True), tensors)
    with pytest.raises(FileNotFoundError):
        torch.load(tmp_path / "missing.pt")
    opener = torch.serialization._open_file_like(path, "rb")
    assert type(opener) is torch.serialization._open_file
    with opener:
        pass
    assert signatures() == []


def test_opener_behaves_as_the_original(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    path = tmp_path / "x.bin"
    opener = torch.serialization._open_file_like(path, "wb")
    with opener as file:
        assert file is opener.file_like
        file.write(b"weights")
    assert opener.file_like.closed
    assert is_signed(path)
    writer: Any = torch.serialization._open_zipfile_writer(str(tmp_path / "x.pt"))
    assert writer.name == str(tmp_path / "x.pt")
    with pytest.raises(AttributeError, match="nothing"):
        writer.nothing  # noqa: B018


def test_overwritten_again_and_again(tmp_path: Path, is_signed: Callable[[Path], bool], autosign: ModuleType) -> None:
    for step in range(20):
        torch.save({"w": torch.full((1 << 18,), step)}, tmp_path / "last.pt")
    assert is_signed(tmp_path / "last.pt")
    assert torch.load(tmp_path / "last.pt")["w"][0] == 19
    assert autosign.status().failed == 0


def test_deleted_while_pending(tmp_path: Path, is_signed: Callable[[Path], bool], autosign: ModuleType) -> None:
    for step in range(5):
        folder = tmp_path / str(step)
        folder.mkdir()
        torch.save({"w": torch.zeros(1 << 20)}, folder / "x.pt")
        if step % 2:
            (folder / "x.pt").unlink()
        else:
            shutil.rmtree(folder, ignore_errors=True)
    assert autosign.flush(timeout=30).pending == 0
    torch.save(state(), tmp_path / "y.pt")
    assert is_signed(tmp_path / "y.pt")


def test_renamed_while_pending(tmp_path: Path, autosign: ModuleType, is_signed: Callable[[Path], bool]) -> None:
    """What is then signed, if anything, is never the wrong file."""
    torch.save({"w": torch.zeros(1 << 20)}, tmp_path / "x.pt")
    os.replace(tmp_path / "x.pt", tmp_path / "y.pt")
    (tmp_path / "x.pt").write_bytes(b"something else")
    assert autosign.flush(timeout=30).pending == 0
    if (tmp_path / "x.pt.sig").exists():
        with pytest.raises(model_signing_autosign.VerificationError):
            is_signed(tmp_path / "x.pt")


def test_threads(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    def work(index: int) -> None:
        for step in range(4):
            torch.save({"w": torch.full((1000,), index)}, tmp_path / f"{index}-{step}.pt")

    threads = [threading.Thread(target=work, args=(index,)) for index in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(is_signed(tmp_path / f"{index}-{step}.pt") for index in range(6) for step in range(4))


def test_paused_and_disabled(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    with model_signing_autosign.paused():
        torch.save(state(), tmp_path / "paused.pt")
    model_signing_autosign.disable()
    torch.save(state(), tmp_path / "disabled.pt")
    model_signing_autosign.enable()
    torch.save(state(), tmp_path / "enabled.pt")
    assert signatures() == ["enabled.pt.sig"]


def test_save_inside_save(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """An object that saves a file of its own while it is pickled."""

    class Nested:
        def __reduce__(self) -> Any:
            torch.save(1, tmp_path / "inner.pt")
            torch.save(1, io.BytesIO())
            return int, ()

    torch.save(Nested(), tmp_path / "outer.pt")
    assert signatures() == ["inner.pt.sig", "outer.pt.sig"]


def test_compile(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    @torch.compile(backend="eager")
    def computes(x: torch.Tensor) -> torch.Tensor:
        return x * 2 + 1

    @torch.compile(backend="eager")
    def saves(x: torch.Tensor) -> torch.Tensor:
        y = x + 1
        torch.save(y, tmp_path / "compiled.pt")
        return y * 2

    assert computes(torch.ones(3)).tolist() == [3, 3, 3]
    assert saves(torch.ones(3)).tolist() == [4, 4, 4]
    assert is_signed(tmp_path / "compiled.pt")
