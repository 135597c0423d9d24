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


class _Slots:
    __slots__ = ("found",)

    def __init__(self, found: Callable[..., Any]) -> None:
        self.found = found

    def __call__(self, *args: Any) -> None:
        self.found(*args)


def _by_name(found: Callable[..., Any]) -> Callable[..., Any]:
    _kept["by name"] = [[[[[[found]]]]]]

    def save(*args: Any) -> None:
        held = globals()["_kept"]["by name"]
        while isinstance(held, list):
            held = held[0]
        held(*args)

    return save


@pytest.mark.parametrize("caller", [_Slots, _by_name])
def test_who_has_called_ours_is_left_in_peace(patched: Any, caller: Callable[..., Any], tmp_path: Any) -> None:
    """However it keeps what it found."""
    patched.save = caller(patched.save)
    assert len(_patch.replaced()) == 1
    patched.save(b"", tmp_path / "x")
    assert _patch.replaced() == []


def test_a_name_that_was_bound_when_it_was_hooked_already(make_package: Any) -> None:
    make_package(later="from tiny.writer import save\n")
    names = ("tiny.writer:save", "tiny:save", "tiny.later:save")
    patch = Patch(TINY, lambda original, *args: original(*args), names, seen="", signed="", complete="")
    tiny = importlib.import_module("tiny")
    patch.apply()
    later = importlib.import_module("tiny.later")
    assert later.save is tiny.save
    later.save = print
    assert [path for path, _ in _patch.replaced()] == ["tiny.later:save"]
    patch.revert()


def test_a_module_that_is_imported_once_more(patched: Any) -> None:
    held = patched.save
    importlib.reload(patched.writer)
    assert patched.save is held is not patched.writer.save
    assert _patch.replaced() == []
