"""Tests with safetensors in this process, and with torch as the tensors it saves."""

import pytest

pytest.importorskip("safetensors", exc_type=ImportError)
pytest.importorskip("torch", exc_type=ImportError)
