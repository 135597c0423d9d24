"""JAX on the CPU, whatever this machine has; and what a folder's signatures say."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

os.environ["JAX_PLATFORMS"] = "cpu"


@pytest.fixture
def verified(keys: Any, upstream_verifies: Callable[[Path], None]) -> Callable[[Path], set[str]]:
    """Name the signed folders in one; a signature that does not verify, here and upstream, fails the test."""
    import model_signing_autosign

    def verified(folder: Path) -> set[str]:
        models = set()
        for signature in folder.rglob("*.sig"):
            assert signature.name == "model.sig"
            model = signature.parent
            files = {str(file.relative_to(model)) for file in model.rglob("*") if file.is_file()} - {"model.sig"}
            assert set(model_signing_autosign.verify(model, public_key=keys.public)) == files
            upstream_verifies(model)
            models.add(str(model.relative_to(folder)))
        return models

    return verified
