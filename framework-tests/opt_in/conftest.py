"""Hooks that are off by default, here on."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def settings(settings: dict[str, str]) -> dict[str, str]:
    hooks = "auto,joblib,lightgbm,numpy,onnx,xgboost"
    return settings | {"MODEL_SIGNING_HOOKS": hooks, "OMP_NUM_THREADS": "1"}
