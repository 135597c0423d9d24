"""Hooks that are off by default, here on; and upstream's word on what they sign."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

UPSTREAM = Path(__file__).parents[2] / "build/upstream/bin/python"
# Its command line, for one after another: it takes long to load.
COMMANDS = """
import json, sys
from model_signing._cli import main
for arguments in json.loads(sys.argv[1]):
    main(arguments, standalone_mode=False)
"""


@pytest.fixture(scope="session")
def settings(settings: dict[str, str]) -> dict[str, str]:
    hooks = "auto,joblib,lightgbm,numpy,onnx,xgboost"
    return settings | {"MODEL_SIGNING_HOOKS": hooks, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def by_upstream(keys: Any) -> Callable[..., int]:
    """Ask upstream 1.1.1, which knows a file or a group of files as a folder that holds more; count what verifies."""

    def by_upstream(*models: Path) -> int:
        options = ["--public_key", str(keys.public), "--ignore_unsigned_files"]
        commands = [["verify", "key", str(model.parent), "--signature", f"{model}.sig", *options] for model in models]
        command: list[str | Path] = [UPSTREAM, "-c", COMMANDS, json.dumps(commands)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return (result.stdout + result.stderr).count("Verification succeeded")

    return by_upstream
