"""Weights & Biases without its service: offline, and with all that it writes in a folder of the test session."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture(scope="session")
def settings(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("wandb")
    folders = {f"WANDB_{name}_DIR": str(folder / name) for name in ("DATA", "CACHE", "CONFIG", "ARTIFACT")}
    return settings | {
        "MODEL_SIGNING_HOOKS": "auto,wandb",
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(folder),
        "WANDB_CONSOLE": "off",
        "WANDB_ERROR_REPORTING": "false",
        "WANDB_SILENT": "true",
        "OMP_NUM_THREADS": "1",
        **folders,
    }


@pytest.fixture
def uploaded(tmp_path: Path) -> Callable[[Any], Path]:
    """Put what an artifact is going to upload where a download puts it."""

    def uploaded(artifact: Any) -> Path:
        folder = tmp_path / "downloads" / artifact.digest
        for name, entry in artifact.manifest.entries.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(entry.local_path, folder / name)
        return folder

    return uploaded
