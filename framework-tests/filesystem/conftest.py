"""A file system that behaves as it is told: faultfs, mounted over a folder of the test. README.md has its words."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


class FaultyFolder:
    """A mounted folder, and what it does otherwise than other folders."""

    def __init__(self, program: Path, beneath: Path, path: Path) -> None:
        self.path = path
        self.beneath = beneath
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([program, beneath, path], stdin=pipe, stdout=pipe, text=True)
        assert self._answer() == "mounted", "faultfs could not be mounted: see README.md"

    def tell(self, *faults: str) -> None:
        """Have it behave so from now on: `rename=EPERM`, `write=EIO once`, `unlink=30ms`, `inodes=changing`."""
        assert self._process.stdin is not None
        for fault in faults:
            self._process.stdin.write(f"{fault}\n")
            self._process.stdin.flush()
            assert self._answer() == "ok", fault

    def end(self) -> None:
        self._process.communicate(timeout=30)

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="session")
def faultfs() -> Path:
    """Build the program with what builds the servers of Sigstore, unless that has been done."""
    start = HERE.parent / "sigstore/start.py"
    spec = importlib.util.spec_from_file_location("start", start)
    assert spec is not None
    assert spec.loader is not None
    builder = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(builder)
    builder.CACHE.mkdir(parents=True, exist_ok=True)
    program: Path = builder.build(HERE / "faultfs", *builder.find_go())
    return program


@pytest.fixture
def faulty(faultfs: Path, tmp_path: Path) -> Iterator[FaultyFolder]:
    folders = tmp_path / "beneath", tmp_path / "mounted"
    for folder in folders:
        folder.mkdir()
    mounted = FaultyFolder(faultfs, *folders)
    yield mounted
    mounted.end()
