"""`model-signing run`, as a user types it."""

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


@pytest.fixture
def variables(tmp_path: Path, settings: dict[str, str]) -> dict[str, str]:
    """The environment of the program under test."""
    return {name: value for name, value in settings.items() if not name.startswith("PYTHON")} | {
        "LC_ALL": "C.UTF-8",  # else Python sets LC_CTYPE for the programs it starts
        "MODEL_SIGNING_SPOOL": str(tmp_path / "spool"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def plain(tmp_path: Path, variables: dict[str, str]) -> Callable[..., CompletedProcess[str]]:
    """Run a program without us, in the test's folder; variables as keywords."""

    def plain(*command: str | Path, stdin: str = "", **more: str) -> CompletedProcess[str]:
        return subprocess.run(
            [*map(str, command)],
            cwd=tmp_path,
            env=variables | more,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )

    return plain


@pytest.fixture
def launched(plain: Callable[..., CompletedProcess[str]]) -> Callable[..., CompletedProcess[str]]:
    """The same under `model-signing run`."""

    def launched(*command: str | Path, **more: str) -> CompletedProcess[str]:
        return plain(*LAUNCHER, *command, **more)

    return launched


LAUNCHER = (str(Path(sys.executable).with_name("model-signing")), "run", "--")


@pytest.fixture
def launcher() -> tuple[str, ...]:
    return LAUNCHER


@pytest.fixture
def startup() -> Path:
    import model_signing_autosign

    return Path(os.path.dirname(model_signing_autosign.__file__)) / "startup"
