"""A store of MLflow in a folder: without a server, and without a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
