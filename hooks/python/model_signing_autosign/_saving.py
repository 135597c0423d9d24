# SPDX-License-Identifier: Apache-2.0
"""Which save is the outermost, what it covers, and reporting it once.

A framework's ``save`` calls other saves: a Trainer checkpoint holds safetensors files and several ``torch.save``. Each
hooked function opens a `Scope` for the path it writes. What ends inside another scope waits for that one to end: then
it is part of it, where it lies within its root, or is reported beside it. Scopes are kept per thread, because
frameworks that save in the background do the whole save in one thread.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from model_signing_autosign import _life, _ranks, _session
from model_signing_autosign._faults import contained, say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType, TracebackType

    from model_signing_autosign._patch import Framework, Wrapper


class Call(NamedTuple):
    """A call of a hooked function, as it was made."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]

    def argument(self, name: str, position: int) -> Any:
        """Return an argument, by keyword or by position, or None where it was not passed.

        By hand instead of by ``inspect.signature``: that is slow, fails for many compiled functions, and would turn a
        wrong call into an error of ours before the framework can raise its own.

        Args:
            name: Name of the parameter.
            position: Its place among the positional arguments, from 0; ``self`` counts.
        """
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[position] if position < len(self.args) else None


Where: TypeAlias = Callable[[Call], object]
"""Tells from a call what it saves to: a path, or something that is none and is not signed."""


def argument(name: str, position: int) -> Where:
    """Make a `Where` for functions that get the path as an argument: see `Call.argument`."""
    return lambda call: call.argument(name, position)


def folder(name: str, position: int) -> Where:
    """Make a `Where` for functions that save into a folder, and return having done nothing where that is a file."""

    def where(call: Call) -> object:
        path = call.argument(name, position)
        return None if isinstance(path, (str, os.PathLike)) and os.path.isfile(path) else path

    return where


_MOST_STEPS: Final = 1 << 63
_remote: Final[set[str]] = set()  # schemes that a line has told of


def local(path: object) -> str | None:
    """Return the path of what is saved on this machine, where it may be a URL.

    None for a URL of anything else, which a line says once for each scheme, and for what names no file.

    Args:
        path: What a framework is asked to save to.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        return None
    name = os.fsdecode(path)
    for scheme in ("file://", "local://"):
        name = name.removeprefix(scheme)
    scheme, separator, _ = name.partition("://")
    if separator and scheme not in _remote:
        _remote.add(scheme)
        say(f"{name} is unsigned, and so is all else that is saved to {scheme}://")
    return None if separator else name


_SUSPENDED: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Flags of functions whose frames are left and entered again."""


class _Thread(threading.local):
    def __init__(self) -> None:
        self.scopes: list[Scope] = []  # outermost first
        # Weak, so that a pause that an interrupt has kept from ending is over with the call that made it.
        self.pauses: weakref.WeakSet[_Pause] = weakref.WeakSet()


_thread = _Thread()


class Scope:
    """One save that is going on in this thread.

    Args:
        target: What the save was asked to write to. Only a ``str`` or a path object yielding one is ever signed: a
            buffer or file object is the caller's, who may go on writing, so the scope then does nothing.
        framework: Name of the framework, for the log.
        owned: False where another process reports this save, which several make together: here it only covers what is
            saved inside it.
        open_ended: True where ``target`` is not known before the end, see `leave`.
        gather: True where every rank of a training writes into the checkpoint: it is then reported when all have left.
        late: True where other ranks may write into it, or not: it is then reported again when another has left.
        step: At which step of the training it is saved; None where the framework does not tell.
        hidden: As `model_signing_autosign._patch.Framework.hidden`.

    Attributes:
        root: Absolute path of the checkpoint, or None where nothing is to be signed.
        files: Absolute paths of the files of the checkpoint, `root` among them, where it is neither a folder nor one
            file.

    Raises:
        AutosignError: At the end of the scope, if the checkpoint cannot be signed and MODEL_SIGNING_ON_ERROR is
            ``raise``.
    """

    def __init__(  # noqa: PLR0913 - every argument is a name
        self,
        target: object,
        framework: str,
        *,
        owned: bool = True,
        open_ended: bool = False,
        gather: bool = False,
        late: bool = False,
        step: int | None = None,
        hidden: bool = False,
    ) -> None:
        self.framework = framework
        # Made absolute now: a save may change the working directory before it ends.
        self.root = _path(target)
        self.files: list[str] = []
        self._owned = owned
        self._gather = gather or late
        self._late = late
        self._step = step
        self._hidden = hidden
        self._begun = False
        self._open_ended = open_ended and self.root is None
        self._scopes: list[Scope] = []
        self._inner: list[Scope] = []  # those that have ended
        self._frame: FrameType | None = None

    def __enter__(self) -> Scope:
        self.ends_with(sys._getframe(1))
        self.enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave(completed=kind is None)

    def ends_with(self, frame: FrameType) -> None:
        """Tell which call opens and leaves it, so that it is known to be over when that call is.

        Between two of its bytecodes a signal handler may raise, as Ctrl-C does, and then nothing leaves the scope. A
        generator or coroutine is not over when it is not running, and an ``__enter__`` or a function of contextlib
        returns before what it has opened ends: those are not gone by.
        """
        code = frame.f_code
        returns_early = code.co_name == "__enter__" or frame.f_globals.get("__name__") == "contextlib"
        if not returns_early and not code.co_flags & _SUSPENDED:
            self._frame = frame

    def begin(self) -> None:
        """Tell that what was signed at `root` is about to be overwritten, for a save that writes before it is entered.

        What has begun ends with `give_up`, or is entered.
        """
        if self.root is None or not self._owned or self._begun:
            return
        _drop_interrupted()
        if not any(outer._covers(self) for outer in _thread.scopes if outer is not self):
            with contained(f"take back the signature of {self.root}"):
                self._begun = True
                try:
                    _ranks.begins(self.root)
                    _session.begins(self.root, hidden=self._hidden)
                except BaseException:  # Ctrl-C came meanwhile
                    self.give_up()
                    raise

    def enter(self) -> None:
        """Begin, unless that is done: what is saved from now on in this thread is saved inside this scope."""
        if self.root is None and not self._open_ended:
            return
        _drop_interrupted()
        # Kept, so that a scope left in another thread still leaves the stack that it entered.
        self._scopes = _thread.scopes
        # Before it begins, so that one whose beginning is interrupted is known.
        self._scopes.append(self)
        self.begin()

    def leave(self, *, completed: bool, target: object = None) -> None:
        """End, and report the checkpoint if the save completed and no outer scope covers it.

        Args:
            completed: Whether the save ended without an exception.
            target: What was saved to, for a scope that could not know before.
        """
        if self not in self._scopes:  # has no root, was never entered or was left before
            return
        self._scopes.remove(self)
        self._frame = None
        if self._open_ended:
            self.root = _path(target)
        # Where nobody knows what the inner ones are part of, they are part of nothing.
        ended = [scope for scope in self._inner if self.root is not None and not self._covers(scope)]
        # Nor is what this save wrote in passing, and has removed again.
        ended = [scope for scope in ended if scope.root is not None and os.path.lexists(scope.root)]
        if completed and self.root is not None and (self._owned or self._gather):
            ended.append(self)
        for scope in (*self._inner, self):
            if scope not in ended or (_thread.pauses and not self._scopes):
                scope.give_up()
        if self._scopes:
            self._scopes[-1]._inner += ended
        elif not _thread.pauses:
            for scope in ended:
                scope._report()

    def give_up(self) -> None:
        """Tell that what had begun is not to be reported: what was there before may be there still."""
        if self.root is not None and self._begun:
            with contained(f"put the signature of {self.root} back"):
                _session.broken_off(self.root)

    def _covers(self, inner: Scope) -> bool:
        if self.root is None or inner.root is None:
            return False
        path, root = os.path.realpath(inner.root), os.path.realpath(self.root)
        return path == root or path.startswith(root.rstrip(os.sep) + os.sep) or inner.root in self.files

    def _report(self) -> None:
        if self.root is not None:
            with contained(f"sign {self.root}"):
                if self._late:
                    _ranks.part_saved(self.root, self.framework, self.files, self._step, owned=self._owned)
                elif self._gather:
                    _ranks.saved(self.root, self.framework, self.files, self._step, owned=self._owned)
                else:
                    _session.saved(self.root, self.framework, self.files, self._step, hidden=self._hidden)


def _drop_interrupted() -> None:
    """Forget the scopes of this thread whose call has ended without leaving them."""
    scopes = _thread.scopes
    if not any(scope._frame for scope in scopes):
        return
    running: set[FrameType] = set()
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        running.add(frame)
        frame = frame.f_back
    for scope in [scope for scope in scopes if scope._frame is not None and scope._frame not in running]:
        scopes.remove(scope)
        scope._frame = None
        scope.give_up()


_session.before_waits.append(_drop_interrupted)


class _Pause:
    """One `paused` block of this thread. Only that block holds it."""

    def __enter__(self) -> None:
        _thread.pauses.add(self)

    def __exit__(self, *_: object) -> None:
        _thread.pauses.discard(self)


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Leave what this thread saves inside the ``with`` block unsigned.

    Other threads are not concerned. It is cheap and nests, and does nothing where signing is not enabled.

    Examples:
        >>> from model_signing_autosign import paused
        >>> with paused():
        ...     pass  # torch.save(state, "scratch.pt")
    """
    with _Pause():
        yield


def is_paused() -> bool:
    """Tell whether this thread is inside `paused`: for a save that another thread ends."""
    return bool(_thread.pauses)


def saves(  # noqa: PLR0913 - every argument is a name
    framework: Framework,
    where: Where | None = None,
    *,
    after: Callable[[Call, Any], object] | None = None,
    files: Callable[[str], Iterable[str]] | None = None,
    owned: Callable[[Call], bool] | None = None,
    gather: bool = False,
    late: bool = False,
    step: Callable[[Call], Any] | None = None,
) -> Wrapper:
    """Make the wrapper for a function that has written a whole checkpoint when it returns.

    A coroutine function has when it has been awaited. There all is done then, and what is written over is not told
    before: nothing here may be open while other coroutines of the thread go on, since what they save is no part of it.

    Args:
        framework: The framework.
        where: What the call saves to.
        after: The same where only the result tells: called with the call and what it returned.
        files: The files of the checkpoint, `where` among them, where it is neither a folder nor one file: called at the
            end with the absolute path that ``where`` gave.
        owned: False for a call whose checkpoint another rank reports, which saves it together with this one.
        gather: True where every rank writes into the checkpoint, and the function does not wait for the others.
        late: The same where it may be that no other rank does.
        step: At which step of the training the call saves: what is no number of steps counts as not told.

    Returns:
        A wrapper for `model_signing_autosign._patch.Patch`.
    """

    async def awaits(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = await original(*args, **kwargs)
        return wrapper(lambda *_args, **_kwargs: result, *args, **kwargs)

    def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if inspect.iscoroutinefunction(original):
            return awaits(original, *args, **kwargs)
        scope = None
        with contained(f"follow a save of {framework.name}"):
            call = Call(args, kwargs)
            scope = Scope(
                where(call) if where else None,
                framework.name,
                owned=owned is None or owned(call),
                open_ended=after is not None,
                gather=gather,
                late=late,
                step=step_of(call, step) if step else None,
                hidden=framework.hidden,
            )
            scope.ends_with(sys._getframe())
            scope.enter()
        if scope is None:
            return original(*args, **kwargs)
        completed, target = False, None
        try:
            result = original(*args, **kwargs)
            completed = True
        finally:
            if completed:
                with contained(f"follow a save of {framework.name}"):
                    target = after(call, result) if after else None
                    root = scope.root or _path(target)
                    if files and root is not None:
                        scope.files = [os.path.abspath(file) for file in files(root)]
            scope.leave(completed=completed, target=target)
        return result

    return wrapper


def step_of(call: Call, step: Callable[[Call], Any]) -> int | None:
    """Return at which step a call saves, or None where ``step`` finds no number of steps."""
    # It is not worth a word where a framework has it elsewhere today: the checkpoint is signed without.
    with contextlib.suppress(Exception):
        found = int(step(call))
        return found if 0 <= found < _MOST_STEPS else None
    return None


def tells(event: str, *paths: Where) -> Wrapper:
    """Make the wrapper for a function that removes or renames files in C++, which Python tells nobody of.

    Args:
        event: What Python would call it: ``os.remove``, ``os.rename`` or ``shutil.rmtree``.
        paths: What it is done to.
    """

    def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with contained(f"follow {event}"):
            call = Call(args, kwargs)
            _life.hear(event, tuple(path(call) for path in paths))
        return original(*args, **kwargs)

    return wrapper


def _path(target: object) -> str | None:
    if isinstance(target, (str, os.PathLike)):
        with contained("tell where a checkpoint is saved"):
            path = os.fspath(target)
            if isinstance(path, str):
                return os.path.abspath(path)
    return None
