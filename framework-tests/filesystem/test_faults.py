"""Checkpoints on file systems of clusters, which lack what others have."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

    from conftest import Keys

    from .conftest import FaultyFolder

    Run = Callable[..., CompletedProcess[str]]

TRAIN = """
import sys
import model_signing.autosign as autosign
import torch

folder = sys.argv[1]
for step in range(3):
    torch.save({"step": torch.tensor(step)}, f"{folder}/{step}.pt")
torch.save({"weights": torch.zeros(1000)}, f"{folder}/last.pt")
autosign.wait(f"{folder}/last.pt")
torch.save({"weights": torch.zeros(2000)}, f"{folder}/last.pt")
status = autosign.flush()
print(status.signed, status.failed, status.pending)
"""
NAMES = ["0.pt", "1.pt", "2.pt", "last.pt"]


def verify(folder: Path, keys: Keys) -> None:
    import model_signing_autosign

    for name in NAMES:
        model_signing_autosign.verify(folder / name, public_key=keys.public)


def left_over(folder: Path) -> list[str]:
    """Every file that is neither a checkpoint nor its signature."""
    return sorted(set(os.listdir(folder)) - {f"{name}{end}" for name in NAMES for end in ("", ".sig")})


@pytest.mark.parametrize(
    "faults",
    [
        ["rename=EPERM"],
        ["rename=ENOSYS", "link=EPERM"],
        ["rename=EINVAL", "fsync=EINVAL"],
        ["rename=EOPNOTSUPP", "link=EOPNOTSUPP", "fsync=ENOSYS", "inodes=changing"],
    ],
)
def test_where_nothing_can_be_renamed_signatures_are_written_in_place(
    faulty: FaultyFolder, run_script: Run, keys: Keys, faults: list[str]
) -> None:
    faulty.tell(*faults)
    ran = run_script(TRAIN, str(faulty.path), LOG_LEVEL="info")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "5 0 0\n", ran.stderr
    assert ran.stderr.count("knows no renames") == 1, ran.stderr
    verify(faulty.path, keys)
    assert left_over(faulty.path) == []


def test_where_nothing_can_be_removed_either_no_file_is_left_for_each_signature(
    faulty: FaultyFolder, run_script: Run, keys: Keys
) -> None:
    faulty.tell("rename=EPERM", "unlink=EPERM")
    ran = run_script(TRAIN, str(faulty.path))
    assert ran.stdout == "5 0 0\n", ran.stderr
    verify(faulty.path, keys)
    # One for each thread that was at it before the first had seen what cannot be done.
    assert len(left_over(faulty.path)) <= 2


@pytest.mark.parametrize("operation", ["create", "write", "fsync", "rename"])
def test_an_error_that_comes_once_is_told_and_leaves_nothing(
    autosign: ModuleType, faulty: FaultyFolder, is_signed: Callable[[Path], bool], operation: str
) -> None:
    path = faulty.path / "a.pt"
    path.write_bytes(b"weights")
    faulty.tell(f"{operation}=EIO once")
    with pytest.raises(autosign.errors.AutosignError, match="Input/output error"):
        autosign.sign(path)
    assert os.listdir(faulty.path) == ["a.pt"]
    assert autosign.sign(path) == faulty.path / "a.pt.sig"
    assert is_signed(path)


def test_a_signature_that_could_not_be_taken_away_is_replaced(
    autosign: ModuleType, faulty: FaultyFolder, is_signed: Callable[[Path], bool]
) -> None:
    path = faulty.path / "a.pt"
    for value in range(2):
        faulty.tell("unlink=EIO once")
        torch.save({"w": torch.tensor(value)}, path)
        assert is_signed(path)
    assert sorted(os.listdir(faulty.path)) == ["a.pt", "a.pt.sig"]


def test_no_part_of_a_signature_stays(autosign: ModuleType, faulty: FaultyFolder) -> None:
    path = faulty.path / "a.pt"
    path.write_bytes(b"weights")
    faulty.tell("rename=EPERM", "write=ENOSPC")
    with pytest.raises(autosign.errors.AutosignError, match="No space left on device") as told:
        autosign.sign(path)
    assert "make room" in str(told.value)
    assert os.listdir(faulty.path) == ["a.pt"]
    faulty.tell("write=")
    autosign.sign(path)


def test_a_spool_is_kept_where_nothing_can_be_renamed(
    faulty: FaultyFolder, run_script: Run, settings: dict[str, str], keys: Keys
) -> None:
    faulty.tell("rename=ENOSYS", "link=ENOSYS", "fsync=EINVAL", "inodes=changing")
    runs, spool = faulty.path / "runs", faulty.path / "spool"
    runs.mkdir()
    ran = run_script(TRAIN.replace("autosign.wait", "#"), str(runs), MODE="offline", SPOOL=str(spool))
    assert ran.returncode == 0, ran.stderr
    assert left_over(runs) == []
    flush = [Path(sys.executable).parent / "model-signing", "flush", spool]
    flushed = subprocess.run(flush, env=settings, capture_output=True, text=True, check=False)
    assert "4 signed, 0 left" in flushed.stdout, flushed
    verify(runs, keys)
    assert left_over(runs) == []


@pytest.mark.parametrize("faults", [[], ["rename=ENOSYS", "fsync=ENOSYS"]])
def test_a_folder_is_signed_where_inode_numbers_change(
    autosign: ModuleType, faulty: FaultyFolder, is_signed: Callable[[Path], bool], faults: list[str]
) -> None:
    from model_signing_autosign._saving import Scope

    faulty.tell("inodes=changing", *faults)
    folder = faulty.path / "model"
    folder.mkdir()
    for name in ("config.json", "weights.bin", "more.bin"):
        with Scope(folder, "test"):
            (folder / name).write_bytes(name.encode())
        assert is_signed(folder)
    assert autosign.status().failed == 0


def test_a_file_of_another_content_is_noticed_where_inode_numbers_change(
    autosign: ModuleType, faulty: FaultyFolder, is_signed: Callable[[Path], bool]
) -> None:
    faulty.tell("inodes=changing")
    path = faulty.path / "a.pt"
    torch.save({"w": torch.zeros(1)}, path)
    path.write_bytes(bytes(path.stat().st_size))
    assert not is_signed(path)
