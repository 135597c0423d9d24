"""Ours and upstream 1.1.1 side by side: their command lines and their libraries."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent
KEYS = HERE.parents[1] / "core/signing/tests/keys"
OURS = Path(sys.executable).with_name("model-signing")
UPSTREAM_PYTHON = HERE.parents[1] / "build/upstream/bin/python"
PERFORM = HERE / "perform.py"


class Sides:
    """What either does, `ours` or `upstream`."""

    def __init__(self, upstream: Any) -> None:
        self.upstream = upstream
        self._perform = runpy.run_path(str(PERFORM))["perform"]
        self._library: subprocess.Popen[str] | None = None  # upstream's, from when it is first needed

    def command(
        self, side: str, *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        if side == "upstream":
            result: subprocess.CompletedProcess[str] = self.upstream(*arguments, cwd=cwd, environment=environment)
            return result
        command = [OURS, *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)

    def run(self, side: str, *arguments: str | Path, code: int = 0, **how: Any) -> str:
        """Run a command that ends with this exit code; what it says."""
        result = self.command(side, *arguments, **how)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr

    def sign(self, side: str, model: Path, signature: Path, *options: str | Path, key: str = "p256.pem") -> None:
        self.run(side, "sign", "key", model, "--signature", signature, "--private_key", KEYS / key, *options)

    def verify(
        self, side: str, model: Path, signature: Path, *options: str | Path, curve: str = "p256", code: int = 0
    ) -> str:
        key = KEYS / f"{curve}.pub.pem"
        words = ["verify", "key", model, "--signature", signature, "--public_key", key, *options]
        return self.run(side, *words, code=code)

    def perform(self, side: str, task: str, model: Path, signature: Path, **how: Any) -> str:
        """Have the library perform a task; what became of it."""
        named = {"task": task, "model": str(model), "signature": str(signature), **how}
        if side == "ours":
            outcome: str = self._perform("model_signing_autosign", **named)
            return outcome
        if self._library is None:
            command = [UPSTREAM_PYTHON, PERFORM, "model_signing"]
            self._library = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._library.stdin is not None
        assert self._library.stdout is not None
        self._library.stdin.write(json.dumps(named) + "\n")
        self._library.stdin.flush()
        outcome = json.loads(self._library.stdout.readline())
        return outcome

    def end(self) -> None:
        if self._library is not None:
            self._library.communicate()


@pytest.fixture(scope="session")
def sides(upstream: Any) -> Iterator[Sides]:
    sides = Sides(upstream)
    yield sides
    sides.end()


@pytest.fixture(scope="session")
def certificates(upstream: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    made = upstream.python(HERE / "certificates.py", folder)
    assert made.returncode == 0, made.stderr
    return folder
