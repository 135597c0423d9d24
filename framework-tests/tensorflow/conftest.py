"""TensorFlow, imported once for the tests that run in this process, and what both CLIs say of a signature."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0"}
SAME_EACH_TIME = {"TF_NUM_INTRAOP_THREADS": "1"}  # sums in the same order


@pytest.fixture(scope="session", autouse=True)
def quiet(environment: None, settings: dict[str, str]) -> None:
    settings.update(QUIET | SAME_EACH_TIME)
    os.environ.update(QUIET | SAME_EACH_TIME)


@pytest.fixture(scope="session")
def tf(quiet: None) -> Any:
    tensorflow = importlib.import_module("tensorflow")
    cpus = tensorflow.config.list_physical_devices("CPU")
    logical = [tensorflow.config.LogicalDeviceConfiguration()] * 2
    tensorflow.config.set_logical_device_configuration(cpus[0], logical)
    return tensorflow


@pytest.fixture
def verified(keys: Any, upstream_verifies: Callable[[Path], None]) -> Callable[[Path], dict[str, list[str]]]:
    """Name what each signature below a folder is for, and its files; one that does not verify here fails the test."""

    def verified(folder: Path, *, upstream: bool = False) -> dict[str, list[str]]:
        assert model_signing_autosign.flush(timeout=30).pending == 0
        found = {}
        for signature in sorted(folder.rglob("*.sig")):
            model = signature.parent if signature.name == "model.sig" else signature.with_suffix("")
            found[str(model.relative_to(folder))] = model_signing_autosign.verify(model, public_key=keys.public)
            if upstream:
                upstream_verifies(model)
        return found

    return verified
