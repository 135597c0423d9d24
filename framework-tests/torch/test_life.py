"""What scripts do to checkpoints after torch.save, with the calls that scripts make."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from model_signing_autosign._saving import Scope, _thread
from model_signing_autosign.frameworks.torch import _open, _Opened

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")
flushed = pytest.mark.parametrize("flushed", [False, True], ids=["pending", "signed"])


def save(path: Path, value: float = 0) -> Path:
    torch.save({"w": torch.full((1000,), value)}, path)
    return path


@flushed
def test_written_under_another_name_and_linked(
    flushed: bool, autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    """A temporary file that becomes the last checkpoint, and that a link keeps as one of many."""
    for epoch in range(3):
        temporary = save(tmp_path / "tmp.pth.tar", epoch)
        if flushed:
            autosign.flush(timeout=30)
        (tmp_path / "last.pth.tar").unlink(missing_ok=True)
        os.rename(temporary, tmp_path / "last.pth.tar")
        os.link(tmp_path / "last.pth.tar", tmp_path / f"checkpoint-{epoch}.pth.tar")
    names = ["last.pth.tar", *(f"checkpoint-{epoch}.pth.tar" for epoch in range(3))]
    assert all(is_signed(tmp_path / name) for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, *(f"{name}.sig" for name in names)])


@flushed
def test_replaced(flushed: bool, autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    for value in range(3):
        save(tmp_path / "new.pt", value).replace(tmp_path / "last.pt")
        if flushed:
            assert is_signed(tmp_path / "last.pt")
    assert is_signed(tmp_path / "last.pt")
    assert torch.load(tmp_path / "last.pt")["w"][0] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"last.pt", "last.pt.sig"}
    assert autosign.status().failed == 0


@flushed
def test_moved_with_its_folder(
    flushed: bool, autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    (tmp_path / "step-1.tmp").mkdir()
    save(tmp_path / "step-1.tmp" / "w.pt")
    if flushed:
        autosign.flush(timeout=30)
    shutil.move(tmp_path / "step-1.tmp", tmp_path / "step-1")
    assert is_signed(tmp_path / "step-1" / "w.pt")


@pytest.mark.parametrize("remove", ["rmtree", "one by one"])
def test_removed_while_it_is_signed(remove: str, autosign: ModuleType, tmp_path: Path) -> None:
    """Without ignoring errors, as accelerate removes: nothing may come into the folder meanwhile."""
    for step in range(20):
        folder = tmp_path / str(step)
        folder.mkdir()
        with model_scope(folder):
            (folder / "w.bin").write_bytes(bytes(1 << 20))
        if remove == "rmtree":
            shutil.rmtree(folder)
        else:
            for path in folder.iterdir():
                path.unlink()
            if step % 2:
                folder.rmdir()
    assert autosign.flush(timeout=30).pending == 0
    assert list(tmp_path.rglob("*.sig")) == []


def model_scope(folder: Path) -> Scope:
    return Scope(folder, "test")


@flushed
def test_the_best_is_copied(
    flushed: bool, autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    """As the training of ImageNet does it, whose copies of copies are everywhere."""
    for epoch in range(3):
        save(tmp_path / "checkpoint.pth.tar", epoch)
        if flushed:
            autosign.flush(timeout=30)
        shutil.copyfile(tmp_path / "checkpoint.pth.tar", tmp_path / "model_best.pth.tar")
    assert is_signed(tmp_path / "model_best.pth.tar")
    assert is_signed(tmp_path / "checkpoint.pth.tar")


@flushed
def test_moved_to_another_disk(
    flushed: bool, autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as disk:
        assert os.stat(disk).st_dev != tmp_path.stat().st_dev
        model = save(tmp_path / "last.pt")
        if flushed:
            autosign.flush(timeout=30)
        shutil.move(model, disk)
        assert is_signed(Path(disk, "last.pt"))
    autosign.flush(timeout=30)
    assert list(tmp_path.iterdir()) == []


def test_rotated(autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    for step in range(5):
        save(tmp_path / f"{step}.pt", step)
        if step % 2:
            autosign.flush(timeout=30)
        if step > 1:
            (tmp_path / f"{step - 2}.pt").unlink()
    assert all(is_signed(tmp_path / f"{step}.pt") for step in (3, 4))
    assert {path.name for path in tmp_path.iterdir()} == {"3.pt", "3.pt.sig", "4.pt", "4.pt.sig"}


def test_a_failed_save_takes_the_old_signature_only_where_it_wrote(
    tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    assert is_signed(save(tmp_path / "x.pt"))
    with pytest.raises(AttributeError, match="Can't"):
        torch.save({"f": lambda: 0}, tmp_path / "x.pt")
    assert not is_signed(tmp_path / "x.pt")
    assert is_signed(save(tmp_path / "x.pt"))


def test_written_over_in_a_pause(autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    assert is_signed(save(tmp_path / "x.pt"))
    with autosign.paused():
        save(tmp_path / "x.pt", 1)
    assert not is_signed(tmp_path / "x.pt")
    assert autosign.status().pending == 0
    assert is_signed(save(tmp_path / "x.pt", 2))


def test_files_that_follow_into_a_folder(
    autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    with model_scope(folder):
        (folder / "w.bin").write_bytes(b"w")
    assert is_signed(folder)
    (folder / "README.md").write_text("card")
    save(folder / "extra.pt")
    assert is_signed(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "extra.pt", "model.sig", "w.bin"]


def test_wait_and_sign_by_hand(autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    assert autosign.wait(save(tmp_path / "x.pt"), timeout=30) == tmp_path / "x.pt.sig"
    with autosign.paused():
        save(tmp_path / "y.pt")
    with pytest.raises(autosign.UnsignedError):
        autosign.wait(tmp_path / "y.pt", timeout=30)
    assert autosign.sign(tmp_path / "y.pt") == tmp_path / "y.pt.sig"
    assert is_signed(tmp_path / "y.pt")
    with pytest.raises(autosign.SigningError):
        autosign.sign(tmp_path / "missing.pt")


def test_an_interrupt_at_any_moment_of_a_save_leaves_nothing_open(
    tmp_path: Path, is_signed: Callable[[Path], bool], at_each_moment: Callable[..., Iterator[int]]
) -> None:
    codes = [hooked.__code__ for hooked in (_open, _Opened.__enter__, _Opened.__exit__, torch.serialization.save)]
    for moment in at_each_moment(lambda: save(tmp_path / "interrupted.pt"), *codes):
        save(tmp_path / "next.pt")
        assert _thread.scopes == [], moment
    assert moment > 100, "it has more bytecodes than that"
    assert is_signed(tmp_path / "next.pt")
