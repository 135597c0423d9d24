"""Training scripts that have never heard of signing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

SCRIPTS = Path(__file__).with_name("scripts")
TORCHRUN = ("--standalone", "--nproc-per-node", "2")


@pytest.fixture
def check(tmp_path: Path, is_signed: Callable[[Path], bool]) -> Callable[[CompletedProcess[str], set[str]], None]:
    """Assert that exactly these files were saved, and each one signed once."""

    def check(result: CompletedProcess[str], names: set[str]) -> None:
        assert result.returncode == 0, result.stderr
        left = {path.name for path in tmp_path.iterdir()} - {"spool"}
        assert left == names | {f"{name}.sig" for name in names}, result.stderr
        assert all(is_signed(tmp_path / name) for name in names)
        assert result.stderr.count("model-signing: signed") == len(names), result.stderr
        assert {path.suffix for path in (tmp_path / "spool").iterdir() if path.is_file()} <= {".lock"}, "nothing waits"

    return check


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("state_dict", {"model.pt"}),
        ("tensors", {"autoencoder.safetensors"}),
        ("early", {"gru.pth", "gru-legacy.pth"}),
        ("spawn", {"worker-0.pt", "worker-1.pt"}),
    ],
)
def test_unchanged_script(
    script: str, names: set[str], launched: Run, check: Callable[[CompletedProcess[str], set[str]], None]
) -> None:
    check(launched(sys.executable, SCRIPTS / f"{script}.py"), names)


def test_without_us_there_is_no_signature(plain: Run, tmp_path: Path) -> None:
    result = plain(sys.executable, SCRIPTS / "early.py")
    assert (result.returncode, result.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"gru.pth", "gru-legacy.pth"}


def test_resumed(launched: Run, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    assert launched(sys.executable, SCRIPTS / "resume.py").returncode == 0
    result = launched(sys.executable, SCRIPTS / "resume.py", "--resume", "checkpoint-1.tar")
    assert result.stdout == "resumed at epoch 2\n"
    assert all(is_signed(tmp_path / f"checkpoint-{epoch}.tar") for epoch in range(4))


@pytest.mark.parametrize("by", ["torchrun", "module"])
def test_every_rank_of_torchrun(
    by: str, launched: Run, check: Callable[[CompletedProcess[str], set[str]], None]
) -> None:
    torchrun = Path(sys.executable).with_name("torchrun")
    command = [torchrun] if by == "torchrun" else [sys.executable, "-m", "torch.distributed.run"]
    result = launched(*command, *TORCHRUN, SCRIPTS / "distributed.py")
    check(result, {"epoch-0.pt", "epoch-1.pt", "epoch-2.pt", "final.safetensors"})
    assert {f"rank {rank} of 2 done" in result.stdout for rank in range(2)} == {True}
