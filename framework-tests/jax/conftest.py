"""JAX on the CPU, whatever this machine has; and what a folder's signatures say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

os.environ["JAX_PLATFORMS"] = "cpu"

UPSTREAM = Path(__file__).parents[2] / "build/upstream/bin/python"
# Its command line, once for all models: starting it takes a second.
VERIFY = """
import sys
from model_signing._cli import main

key, *models = sys.argv[1:]
for model in models:
    main(["verify", "key", model, "--signature", f"{model}/model.sig", "--public_key", key], standalone_mode=False)
"""


@pytest.fixture
def verified(keys: Any) -> Callable[[Path], set[str]]:
    """Name the signed folders in one; a signature that does not verify, here and upstream, fails the test."""
    import model_signing_autosign

    def verified(folder: Path) -> set[str]:
        models = []
        for signature in folder.rglob("*.sig"):
            assert signature.name == "model.sig"
            model = signature.parent
            files = {str(file.relative_to(model)) for file in model.rglob("*") if file.is_file()} - {"model.sig"}
            assert set(model_signing_autosign.verify(model, public_key=keys.public)) == files
            models.append(model)
        command = [UPSTREAM, "-c", VERIFY, keys.public, *models]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stdout.count("Verification succeeded") == len(models)
        return {str(model.relative_to(folder)) for model in models}

    return verified
