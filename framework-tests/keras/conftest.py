"""Looking over a folder of checkpoints that a script of its own process has made: importing Keras takes long."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def quiet(environment: None) -> None:
    """Of what TensorFlow prints when it is imported, and of threads that cost more than such small models do."""
    os.environ |= {"TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def verified(keys: Any, upstream_verifies: Callable[[Path], None]) -> Callable[..., dict[str, list[str]]]:
    """Name the signed checkpoints of a folder, with their files; a signature that does not verify fails the test."""

    def verified(folder: Path, *, upstream: bool = False) -> dict[str, list[str]]:
        found = {}
        for signature in sorted(folder.rglob("*.sig")):
            # Those of files are hidden, and none is beside its file.
            assert signature.name == "model.sig" or signature.match(".signatures/files/*"), signature
            model = signature.parent if signature.name == "model.sig" else signature.parents[2] / signature.stem
            files = model_signing_autosign.verify(model, public_key=keys.public)
            found[str(model.relative_to(folder))] = sorted(files)
            if upstream:
                upstream_verifies(model)
        return found

    return verified


@pytest.fixture
def complaints(tmp_path: Path) -> Callable[[str], list[str]]:
    """List what we have said but that something in the test's folder was signed."""

    def complaints(stderr: str) -> list[str]:
        ours = [line for line in stderr.splitlines() if line.startswith("model-signing: ")]
        return [line for line in ours if not line.startswith(f'model-signing: signed "{tmp_path}')]

    return complaints
