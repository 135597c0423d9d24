# SPDX-License-Identifier: Apache-2.0
"""Whether a function that somebody has put in the place of our wrapper still calls it.

Most do: they keep the function that they found, and call it. A changed copy of the framework's function does not, and
what it saves is unsigned. Nobody can tell for
sure before it is called. What can be told is what it refers to, and when it is called, whether it calls ours.
"""

from __future__ import annotations

import functools
import sys
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_STEPS: Final = 5
"""So far references are followed: a wrapper, what it holds the original in, and once more the same. Further on nearly
every function refers to every other."""


def leads_to(function: object, ours: Collection[object]) -> bool:
    """Tell whether a function may call one of others, by what it refers to in a few steps. Calls and imports nothing.

    Args:
        function: The function, method or callable object that was found.
        ours: Those that it may call; it may be one of them.
    """
    wanted = set(map(id, ours))
    seen: set[int] = set()
    reached = [function]
    for _ in range(_STEPS):
        if any(id(value) in wanted for value in reached):
            return True
        reached = [value for value in reached if id(value) not in seen]
        seen.update(map(id, reached))
        reached = [value for holder in reached for value in _references(holder)]
    return False


def is_running(function: Any) -> bool:
    """Tell whether this call came from a function, method or callable object, however it found us."""
    if not isinstance(function, (FunctionType, MethodType, staticmethod, classmethod)):
        function = getattr(type(function), "__call__", None)  # noqa: B004 - not whether it is one, but which
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    frame = sys._getframe(1)
    while code is not None and frame is not None:
        if frame.f_code is code:
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


def described(function: object) -> str:
    """Return the name of a function as its own module knows it."""
    function = getattr(function, "__func__", function)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{getattr(named, '__module__', None) or '?'}.{getattr(named, '__qualname__', '?')}"


def _references(value: Any) -> Iterator[object]:
    if isinstance(value, (staticmethod, classmethod, MethodType)):
        yield value.__func__
        yield getattr(value, "__self__", None)
    elif isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, FunctionType):
        yield from vars(value).values()  # `__wrapped__`, and where libraries keep what they have replaced
        yield from (cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell))
        yield from (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        yield from _named(set(_names(value.__code__)), value.__globals__)
    elif isinstance(value, (list, tuple)):
        yield from value
    elif isinstance(value, dict):
        yield from value.values()
    elif not isinstance(value, (type, ModuleType)):
        yield from getattr(value, "__dict__", {}).values()
        if callable(value):
            yield getattr(value, "__wrapped__", None)  # wrapt keeps it elsewhere


def _is_filled(cell: Any) -> bool:
    try:
        return bool(cell.cell_contents is not cell)
    except ValueError:
        return False


def _names(code: CodeType) -> Iterator[str]:
    """Yield the global names and attributes that a function and those inside it use."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _named(names: set[str], variables: dict[str, Any]) -> Iterator[object]:
    for found in (variables[name] for name in names if name in variables):
        yield found
        if isinstance(found, (type, ModuleType)):
            # Not getattr, which may run a module's own __getattr__ and so import something.
            yield from (vars(found)[name] for name in names if name in vars(found))
