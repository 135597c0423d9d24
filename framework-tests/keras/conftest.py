"""Looking over a folder of checkpoints that a script of its own process has made: importing Keras takes long."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

UPSTREAM = Path(__file__).parents[2] / "build/upstream/bin/model_signing"


@pytest.fixture(scope="session", autouse=True)
def quiet(environment: None) -> None:
    """Of what TensorFlow prints when it is imported, and of threads that cost more than such small models do."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def verified(keys: Any) -> Callable[..., dict[str, list[str]]]:
    """Name the signed checkpoints of a folder, with their files; a signature that does not verify fails the test."""

    def verified(folder: Path, *, upstream: bool = False) -> dict[str, list[str]]:
        found = {}
        for signature in sorted(folder.rglob("*.sig")):
            whole = signature.name == "model.sig"
            model = signature.parent if whole else signature.with_suffix("")
            files = model_signing_autosign.verify(model, public_key=keys.public)
            found[str(model.relative_to(folder))] = sorted(files)
            if upstream:
                # It knows files only as a folder that holds them.
                command = [UPSTREAM, "verify", "key", model if whole else model.parent, "--signature", signature]
                command += ["--public_key", keys.public, *([] if whole else ["--ignore_unsigned_files"])]
                result = subprocess.run(command, capture_output=True, text=True, check=False)
                assert "Verification succeeded" in result.stdout, (signature, result.stdout + result.stderr)
        return found

    return verified


@pytest.fixture
def complaints(tmp_path: Path) -> Callable[[str], list[str]]:
    """List what we have said but that something in the test's folder was signed."""

    def complaints(stderr: str) -> list[str]:
        ours = [line for line in stderr.splitlines() if line.startswith("model-signing: ")]
        return [line for line in ours if not line.startswith(f'model-signing: signed "{tmp_path}')]

    return complaints
