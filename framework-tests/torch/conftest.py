"""Tests with torch in this process."""

import pytest

pytest.importorskip("torch", exc_type=ImportError)
