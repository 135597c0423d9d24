# SPDX-License-Identifier: Apache-2.0
"""Which save is the outermost, what it covers, and reporting it once.

A framework's ``save`` calls other saves: a Trainer checkpoint holds safetensors files and several ``torch.save``. Each
hooked function opens a `Scope` for the path it writes; only the outermost scope over a path is reported, once, and
only if it ended without an exception. Scopes are kept per thread, because frameworks that save in the background
do the whole save in one thread.
"""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

from model_signing_autosign import _session
from model_signing_autosign._faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from model_signing_autosign._patch import Wrapper


class _Thread(threading.local):
    def __init__(self) -> None:
        self.scopes: list[Scope] = []  # outermost first
        self.pauses = 0


_thread = _Thread()


class Scope:
    """One save that is going on in this thread.

    Args:
        target: What the save was asked to write to. Only a ``str`` or a path object yielding one is ever signed: a
            buffer or file object is the caller's, who may go on writing, so the scope then does nothing.
        framework: Name of the framework, for the log.

    Attributes:
        root: Absolute path of the checkpoint, or None where nothing is to be signed.

    Raises:
        AutosignError: At the end of the scope, if the checkpoint cannot be signed and MODEL_SIGNING_ON_ERROR is
            ``raise``.
    """

    def __init__(self, target: object, framework: str) -> None:
        self.framework = framework
        # Made absolute now: a save may change the working directory before it ends.
        self.root = _path(target)
        self._scopes: list[Scope] = []

    def __enter__(self) -> Scope:
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(completed=kind is None)

    def enter(self) -> None:
        """Begin."""
        if self.root is not None:
            # Kept, so that a scope left in another thread still leaves the stack that it entered.
            self._scopes = _thread.scopes
            self._scopes.append(self)

    def leave(self, *, completed: bool) -> None:
        """End, and report the checkpoint if the save completed and no outer scope covers it.

        Args:
            completed: Whether the save ended without an exception.
        """
        if self not in self._scopes:  # has no root, was never entered or was left before
            return
        self._scopes.remove(self)
        if self.root is None or not completed or _thread.pauses:
            return
        with contained(f"sign {self.root}"):
            if not any(_within(self.root, outer.root) for outer in self._scopes):
                _session.saved(self.root, self.framework)


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Leave what this thread saves inside the ``with`` block unsigned.

    Other threads are not concerned. It is cheap and nests, and does nothing where signing is not enabled.

    Examples:
        >>> from model_signing_autosign import paused
        >>> with paused():
        ...     pass  # torch.save(state, "scratch.pt")
    """
    _thread.pauses += 1
    try:
        yield
    finally:
        _thread.pauses -= 1


def saves(framework: str, argument: str, position: int) -> Wrapper:
    """Make the wrapper for a function that has written a whole checkpoint when it returns.

    Args:
        framework: Name of the framework, for the log.
        argument: Name of the parameter that is the path.
        position: Its place among the positional arguments, from 0; ``self`` counts.

    Returns:
        A wrapper for `model_signing_autosign._patch.Patch`.
    """

    def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with Scope(passed(argument, position, args, kwargs), framework):
            return original(*args, **kwargs)

    return wrapper


def passed(argument: str, position: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return an argument of a call, by keyword or by position, or None where it was not passed.

    By hand instead of by ``inspect.signature``: that is slow, fails for many compiled functions, and would turn a
    wrong call into an error of ours before the framework can raise its own.
    """
    if argument in kwargs:
        return kwargs[argument]
    return args[position] if position < len(args) else None


def _path(target: object) -> str | None:
    if isinstance(target, (str, os.PathLike)):
        with contained("tell where a checkpoint is saved"):
            path = os.fspath(target)
            if isinstance(path, str):
                return os.path.abspath(path)
    return None


def _within(path: str, root: str | None) -> bool:
    if root is None:
        return False
    path, root = os.path.realpath(path), os.path.realpath(root)
    return path == root or path.startswith(root.rstrip(os.sep) + os.sep)
