"""A store of MLflow in a folder: without a server, and without a database."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

UPSTREAM = Path(__file__).parents[2] / "build/upstream/bin/python"


@pytest.fixture(scope="session")
def settings(settings: dict[str, str]) -> dict[str, str]:
    return settings | {
        "MODEL_SIGNING_HOOKS": "auto,mlflow",
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_REQUIREMENTS_INFERENCE_TIMEOUT": "1",  # what a model needs does not matter here
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def run(tmp_path: Path, environment: None) -> Iterator[Any]:
    """An active run in a store of its own."""
    import mlflow

    mlflow.set_tracking_uri((tmp_path / "store").as_uri())
    with mlflow.start_run() as run:
        yield run


@pytest.fixture
def upstream_verifies(keys: Any) -> Callable[..., None]:
    """Have upstream's command verify a folder, or a file in its folder."""

    def upstream_verifies(model: Path, *options: str) -> None:
        if model.is_file():
            options = ("--ignore_unsigned_files", *options)
        signature = model / "model.sig" if model.is_dir() else f"{model}.sig"
        folder = model if model.is_dir() else model.parent
        command = [UPSTREAM, "-m", "model_signing", "verify", "key", folder, "--signature", signature]
        subprocess.run([*command, "--public_key", keys.public, *options], check=True, capture_output=True)

    return upstream_verifies
