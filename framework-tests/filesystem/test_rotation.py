"""Old checkpoints are removed in all the ways that scripts know: whoever removes finds what it has listed."""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

    from .conftest import FaultyFolder

pytestmark = pytest.mark.usefixtures("autosign")

NAMES = [f"{number}.pt" for number in range(4)]
ROUNDS = 30
SLOW_ROUNDS = 2


def loop(folder: str) -> None:
    for name in os.listdir(folder):
        os.remove(os.path.join(folder, name))
    os.rmdir(folder)


def globbed(folder: str) -> None:
    for path in glob.glob(os.path.join(folder, "*")):
        os.unlink(path)
    os.rmdir(folder)


def pathlib(folder: str) -> None:
    for path in list(Path(folder).iterdir()):
        path.unlink()
    Path(folder).rmdir()


def what_was_saved(folder: str) -> None:
    """It knows what it has saved, and knows of no signatures."""
    for name in NAMES:
        os.remove(os.path.join(folder, name))
    os.rmdir(folder)


def walked(folder: str) -> None:
    for path, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.remove(os.path.join(path, name))
        for name in folders:
            os.rmdir(os.path.join(path, name))
    os.rmdir(folder)


def another_thread(folder: str) -> None:
    raised: list[OSError] = []

    def remove() -> None:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raised.append(error)

    thread = threading.Thread(target=remove)
    thread.start()
    thread.join()
    assert raised == []


def another_process(folder: str) -> None:
    subprocess.run(["rm", "-r", folder], check=True)


def a_shell(folder: str) -> None:
    assert os.system(f"rm -rf {folder}") == 0  # noqa: S605 - as scripts do


def a_forked_child(folder: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            loop(folder)
        except OSError:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def moved_out_first(folder: str) -> None:
    """As what is written as a whole: into a temporary folder, out of it, and the folder is removed."""
    kept = f"{folder}-kept"
    os.mkdir(kept)
    for name in NAMES:
        os.replace(os.path.join(folder, name), os.path.join(kept, name))
    os.rmdir(folder)
    shutil.rmtree(kept)


MANNERS = [
    shutil.rmtree,
    loop,
    globbed,
    pathlib,
    what_was_saved,
    walked,
    another_thread,
    another_process,
    a_shell,
    a_forked_child,
    moved_out_first,
]


@pytest.mark.parametrize("signed", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.__name__)
def test_whoever_removes_finds_what_it_has_listed(
    manner: Callable[[str], None], signed: bool, autosign: ModuleType, tmp_path: Path
) -> None:
    folder = tmp_path / "step"
    for round_ in range(ROUNDS):
        save(folder, round_)
        if signed:
            autosign.wait(folder / NAMES[-1], timeout=30)
        manner(str(folder))
        assert not folder.exists()
    autosign.flush(timeout=30)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("manner", MANNERS, ids=lambda manner: manner.__name__)
def test_so_it_is_where_a_removal_takes_its_time(
    manner: Callable[[str], None], autosign: ModuleType, faulty: FaultyFolder
) -> None:
    """As on a network drive: the signing thread looks more than once between two removals."""
    faulty.tell("unlink=60ms")
    folder = faulty.path / "step"
    for round_ in range(SLOW_ROUNDS):
        save(folder, round_)
        assert autosign.flush(timeout=30).pending == 0
        manner(str(folder))
        assert not folder.exists()
    autosign.flush(timeout=30)
    assert list(faulty.path.iterdir()) == []


@pytest.mark.parametrize(
    "act",
    [
        lambda path: os.system(f"echo confirm {path}"),  # noqa: S605 - as scripts do
        lambda path: os.system(f"rm -f {path}.old; cp {path} {path}.copy"),  # noqa: S605
        lambda path: subprocess.run(["sh", "-ec", f"true perform {path}\n rm -f x"], check=True),
        lambda path: os.remove(path.parent),
        lambda path: os.rmdir(path.parent),
        lambda path: os.removedirs(path.parent),
    ],
)
def test_what_is_not_removed_is_signed(
    act: Callable[[Path], None], autosign: ModuleType, tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    """Whatever a program says of it, and also where it tries and cannot."""
    save(tmp_path / "run", 0)
    with contextlib.suppress(OSError):
        act(tmp_path / "run" / NAMES[-1])
    assert autosign.flush(timeout=30).failed == 0
    assert all(is_signed(tmp_path / "run" / name) for name in NAMES)


def test_a_rename_by_descriptors_is_followed(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    save(tmp_path / "tmp", 0)
    (tmp_path / "run").mkdir()
    source, target = (os.open(tmp_path / name, os.O_RDONLY) for name in ("tmp", "run"))
    try:
        os.rename("0.pt", "model.pt", src_dir_fd=source, dst_dir_fd=target)
        os.link("1.pt", "linked.pt", src_dir_fd=source, dst_dir_fd=target)
    finally:
        os.close(source)
        os.close(target)
    assert all(is_signed(tmp_path / name) for name in ("run/model.pt", "run/linked.pt", "tmp/1.pt"))
    assert not (tmp_path / "tmp/0.pt.sig").exists()


RESUMED = """
    import model_signing.autosign
    import os, sys
    import torch
    for name in sys.argv[2:]:
        os.remove(os.path.join(sys.argv[1], name))
    os.rmdir(sys.argv[1])
"""


def test_an_old_checkpoint_is_removed_before_anything_is_saved(
    autosign: ModuleType, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    save(tmp_path / "run", 0)
    assert autosign.flush(timeout=30).pending == 0
    result = run_script(RESUMED, str(tmp_path / "run"), *NAMES)
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "run").exists()


def test_the_signature_of_a_removed_file_is_gone_after_a_flush(autosign: ModuleType, tmp_path: Path) -> None:
    save(tmp_path / "run", 0)
    assert autosign.flush(timeout=30).pending == 0
    for name in NAMES[:-1]:
        (tmp_path / "run" / name).unlink()
    assert (tmp_path / "run" / "0.pt.sig").exists(), "whoever removes may have listed it"
    autosign.flush(timeout=30)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["3.pt", "3.pt.sig"]


def save(folder: Path, value: float) -> None:
    folder.mkdir()
    for name in NAMES:
        torch.save({"w": torch.full((2000,), value)}, folder / name)
