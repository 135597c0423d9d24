"""Hooks that are off by default, here on; and upstream's word on what they sign."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

UPSTREAM = Path(__file__).parents[2] / "build/upstream/bin/python"


@pytest.fixture(scope="session")
def settings(settings: dict[str, str]) -> dict[str, str]:
    hooks = "auto,joblib,lightgbm,numpy,onnx,xgboost"
    return settings | {"MODEL_SIGNING_HOOKS": hooks, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def by_upstream(keys: Any) -> Callable[[Path], bool]:
    """Ask upstream 1.1.1, which knows a file or a group of files as a folder that holds more."""

    def by_upstream(model: Path) -> bool:
        signature = model.with_name(f"{model.name}.sig")
        command: list[str | Path] = [UPSTREAM, "-m", "model_signing", "verify", "key", model.parent]
        command += ["--signature", signature, "--public_key", keys.public, "--ignore_unsigned_files"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.returncode == 0 and "Verification succeeded" in result.stdout + result.stderr

    return by_upstream
