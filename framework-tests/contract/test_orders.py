"""Every order of import, early binding, enable, disable and save gives the right number of signatures."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pickle
import sys
from typing import TYPE_CHECKING

import pytest
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import argument, saves

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STEPS = ("import", "bind", "enable", "disable", "save")
# As torch is hooked: a function that the public one looks up at each call.
INNER = ("tiny.writer:write",)
# As safetensors is hooked: a function that other modules bind by `from ... import`.
REEXPORTED = ("tiny.writer:save", "tiny:save")
# The same, waiting for the module that re-exports.
REEXPORTER_FIRST = ("tiny:save", "tiny.writer:save")


@pytest.mark.usefixtures("make_package")
@pytest.mark.parametrize("names", [INNER, REEXPORTED, REEXPORTER_FIRST], ids=["inner", "reexported", "reexporter"])
@pytest.mark.parametrize("steps", list(itertools.permutations(STEPS)), ids="-".join)
def test_every_order(
    names: tuple[str, ...], steps: tuple[str, ...], tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    tiny = Framework("tiny", ">=1", "1.0")
    patch = Patch(tiny, saves(tiny, argument("path", 1)), names, seen="save", signed="the file", complete="on return")
    applied = False
    bound: Callable[..., None] | None = None
    bound_before_apply = False
    for step in steps:
        if step == "enable":
            patch.apply()
            applied = True
        elif step == "disable":
            patch.revert()
            applied = False
        else:
            tiny, writer = importlib.import_module("tiny"), importlib.import_module("tiny.writer")
            if step == "bind":
                bound, bound_before_apply = tiny.save, not applied
            if step == "save":
                expected = {"package": (tiny.save, applied), "module": (writer.save, applied)}
                if bound is not None:
                    # The documented limit: a hooked function itself, bound before, stays the original.
                    expected["bound"] = (bound, applied and not (bound_before_apply and names is not INNER))
                for name, (save, signed) in expected.items():
                    save(b"weights", tmp_path / name)
                    assert is_signed(tmp_path / name) is signed, name
        if "tiny" in sys.modules:
            assert_intact(wrapped=applied)

    patch.revert()
    assert_intact(wrapped=False)


def assert_intact(*, wrapped: bool) -> None:
    tiny, writer = sys.modules["tiny"], sys.modules["tiny.writer"]
    assert tiny.save is writer.save
    for function in (writer.save, writer.write):
        assert pickle.loads(pickle.dumps(function)) is function
    assert str(inspect.signature(writer.save)) == "(data, path, *, fail=None)"
    assert [hasattr(function, "__wrapped__") for function in (writer.save, writer.write)].count(True) == int(wrapped)
    # Never a wrapper round a wrapper.
    assert not any(hasattr(getattr(f, "__wrapped__", None), "__wrapped__") for f in (writer.save, writer.write))
