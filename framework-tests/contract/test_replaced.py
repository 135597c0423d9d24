"""Hooked functions that somebody replaces after us: who calls ours is left in peace, who does not is told of."""

from __future__ import annotations

import functools
import importlib
import types
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign import _patch
from model_signing_autosign._patch import Framework, Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TINY = Framework("tiny", ">=0.5,<2", "1.0")


@pytest.fixture
def patched(make_package: Any) -> Iterator[Any]:
    """Return the module `tiny`, hooked."""
    patches = [
        Patch(TINY, lambda original, *args: original(*args), names, seen="", signed="", complete="")
        for names in (("tiny.writer:save", "tiny:save"), ("tiny.writer:Model.save_static",))
    ]
    tiny = importlib.import_module("tiny")
    for patch in patches:
        patch.apply()
    yield tiny
    for patch in patches:
        patch.revert()
    assert _patch.replaced() == []


class _Holder:
    kept: Any = None

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, *args: Any) -> None:
        self.function(*args)


_kept: dict[str, Any] = {}


def _by_closure(found: Callable[..., Any]) -> Callable[..., Any]:
    def save(*args: Any) -> None:
        def inner() -> None:
            found(*args)

        inner()

    return save


def _by_default(found: Callable[..., Any]) -> Callable[..., Any]:
    def save(*args: Any, found: Callable[..., Any] = found) -> None:
        found(*args)

    return save


def _by_global(found: Callable[..., Any]) -> Callable[..., Any]:
    _kept["found"] = found

    def save(*args: Any) -> None:
        _kept["found"](*args)

    return save


def _by_class(found: Callable[..., Any]) -> Callable[..., Any]:
    _Holder.kept = staticmethod(found)

    def save(*args: Any) -> None:
        _Holder.kept(*args)

    return save


def _twice(found: Callable[..., Any]) -> Callable[..., Any]:
    return _by_default(functools.wraps(found)(_by_closure(found)))


CALLERS: list[Callable[[Callable[..., Any]], Any]] = [
    _by_closure,
    _by_default,
    _by_global,
    _by_class,
    _twice,
    _Holder,
    functools.partial,
    lambda found: _Holder(found).__call__,
    lambda found: types.MethodType(lambda _self, *args: found(*args), object()),
]


@pytest.mark.parametrize("caller", CALLERS)
def test_who_calls_ours_is_left_in_peace(patched: Any, caller: Callable[..., Any], tmp_path: Any) -> None:
    patched.save = caller(patched.save)
    patched.save(b"", tmp_path / "x")
    assert (tmp_path / "x").exists()
    assert _patch.replaced() == []


def test_a_changed_copy(patched: Any) -> None:
    def copy(content: bytes, path: Any) -> None:
        path.write_bytes(content)

    patched.save = copy
    patched.writer.Model.save_static = staticmethod(copy)
    by = f"{__name__}.{copy.__qualname__}"
    assert _patch.replaced() == [("tiny.writer:Model.save_static", by), ("tiny:save", by)]


def test_a_module_that_is_imported_once_more(patched: Any) -> None:
    held = patched.save
    importlib.reload(patched.writer)
    assert patched.save is held is not patched.writer.save
    assert _patch.replaced() == []
