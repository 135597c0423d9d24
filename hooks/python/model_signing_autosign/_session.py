# SPDX-License-Identifier: Apache-2.0
"""The signing session of this process: opened once, never shared with a forked child, drained at exit.

Who drains, by how the process ends:

* The main process and ``os.fork()`` children that end normally: ``atexit``.
* ``multiprocessing`` children (fork, spawn and forkserver; DataLoader and ProcessPoolExecutor workers): they end with
  ``os._exit``, which skips ``atexit``, so a ``multiprocessing.util.Finalize`` does it. It is registered at the first
  save, because a child forgets earlier ones when it starts its target, and only where multiprocessing started this
  process, so that we never import it.
* ``os._exit`` by hand, SIGKILL, a default SIGTERM: nobody. The core has written the job to the spool on disk before
  ``saved`` returned, and the next session or ``model-signing flush`` signs it.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign import _core, _life, _patch, _steps
from model_signing_autosign._faults import say

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LAST_WAIT: Final = 5.0
"""Seconds that the end of a process waits for other ranks."""

lock = threading.RLock()
"""Held while the session is opened and while hooks are enabled or disabled."""

_session: _core.Session | None = None
# Sessions of parent processes. Their threads do not exist here and their locks may be held for ever, so not even
# their destructors may run.
_inherited: Final[list[_core.Session]] = []
ending = threading.Event()
"""Set when the process ends: a thread inside torch's store when the interpreter goes would abort the process."""

before_waits: Final[list[Callable[[], None]]] = []
"""Called before anybody waits for what was saved, also at the end of the process."""

_reporting: Final[list[threading.Thread]] = []  # each of them is going to call `saved`
_following: Final[list[threading.Thread]] = []  # each of them may call `saved`
_looked_at_hooks = False  # at the first save
_told_of: Final[set[str]] = set()
_registered = False
_finalizer: Any = None  # multiprocessing.util.Finalize


def current() -> _core.Session:
    """Return this process's session, opened from the environment on first use.

    Raises:
        ConfigError: If a setting is unusable and MODEL_SIGNING_ON_ERROR is ``raise``.
    """
    global _session, _registered  # noqa: PLW0603 - one session per process is the purpose of this module
    with lock:
        if _session is None:
            _session = _core.Session.from_environment()
        if not _registered:
            _registered = True
            atexit.register(_drain)
            if hasattr(os, "register_at_fork"):  # not on Windows
                os.register_at_fork(after_in_child=_forked)
        return _session


def begins(root: str, *, hidden: bool = False) -> None:
    """Tell the core that a checkpoint is about to be written, over what may have been signed there.

    Args:
        root: Absolute path of the file or directory.
        hidden: As for `saved`.
    """
    current().begins(root, hidden=hidden)


def broken_off(root: str) -> None:
    """Tell the core that the save that had begun at ``root`` has failed, so that what was there before may stay signed.

    Args:
        root: Absolute path of the file or directory.
    """
    current().broken_off(root)


def saved(
    root: str, framework: str, files: Sequence[str] = (), step: int | None = None, *, hidden: bool = False
) -> None:
    """Hand a finished checkpoint to the core.

    Args:
        root: Absolute path of the file or directory.
        framework: Name of the framework that wrote it.
        files: Absolute paths of its files, ``root`` among them, where it is neither a directory nor one file.
        step: At which step of the training; None where the framework does not tell.
        hidden: Whether the signature of a file goes to the hidden folder unless a setting says otherwise.

    Raises:
        AutosignError: If it cannot be signed and MODEL_SIGNING_ON_ERROR is ``raise``.
    """
    global _looked_at_hooks  # noqa: PLW0603
    session = current()
    _drain_where_atexit_is_skipped()
    listen()
    if not _looked_at_hooks:
        _looked_at_hooks = True
        tell_of_replaced()
    session.saved(root, framework, list(files), step, _steps.inside(root, framework), hidden=hidden)


def listen() -> None:
    """Tell the session what this process does to files: what it removes may have been signed before it began."""
    _life.listen(_opened, _parent)


def _opened() -> _core.Session | None:
    return _session


def _parent() -> _core.Session | None:
    return _inherited[-1] if _inherited else None


def tell_of_replaced() -> None:
    """Say which hooked functions somebody has replaced by others that do not call them: once for each."""
    for path, by in _patch.replaced():
        if path not in _told_of:
            _told_of.add(path)
            say(f"{path} was replaced by {by}, which seems not to call it: what that saves is not signed then")


def saved_by(thread: threading.Thread) -> None:
    """Start a thread that is going to call `saved`; `settle` and the end of the process wait for it."""
    _start(thread, _reporting)


def followed_by(thread: threading.Thread) -> None:
    """Start a thread that may call `saved` until `ending` is set; nobody waits for it before."""
    _start(thread, _following)


def _start(thread: threading.Thread, among: list[threading.Thread]) -> None:
    current()
    _drain_where_atexit_is_skipped()
    among[:] = [other for other in among if other.is_alive()]
    among.append(thread)
    thread.start()


def settle(timeout: float | None) -> list[threading.Thread]:
    """Wait for the threads of `saved_by`, and return those that took longer than ``timeout`` seconds."""
    for call in before_waits:
        call()
    end = None if timeout is None else time.monotonic() + timeout
    for thread in tuple(_reporting):
        thread.join(None if end is None else max(0.0, end - time.monotonic()))
    return [thread for thread in _reporting if thread.is_alive()]


def _drain_where_atexit_is_skipped() -> None:
    global _finalizer  # noqa: PLW0603
    process = sys.modules.get("multiprocessing.process")
    util = sys.modules.get("multiprocessing.util")
    if process is None or util is None or process.parent_process() is None:
        return
    if _finalizer is None or not _finalizer.still_active():
        _finalizer = util.Finalize(None, _drain, exitpriority=0)


def _drain() -> None:
    if _session is None:  # a forked child that saved nothing
        return
    try:
        tell_of_replaced()
        for thread in settle(_LAST_WAIT):
            say(f"the process ends, and {thread.name} is not over: that checkpoint is unsigned")
        ending.set()
        for thread in (*_reporting, *_following):
            thread.join(_LAST_WAIT)
        _session.drain()
    except BaseException as error:  # noqa: BLE001 - nobody is left to catch it, Ctrl-C included
        say(f"cannot finish signing: {type(error).__name__}: {error}; run `model-signing flush` to sign what is left")


def _forked() -> None:
    global lock, _session, _finalizer  # noqa: PLW0603
    # Another thread of the parent may hold any of our locks, and that thread does not exist here.
    lock = threading.RLock()
    _patch.renew_lock()
    _reporting.clear()
    _following.clear()
    _finalizer = None
    if _session is not None:
        _inherited.append(_session)
        _session = None
