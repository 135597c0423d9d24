# SPDX-License-Identifier: Apache-2.0
"""Signatures go along where checkpoints are uploaded.

An upload that follows a save is faster than the signature, so it waits, as no save does: for what this process has
saved at the very path that is uploaded, and not for ever. What has no signature then is uploaded without one.
"""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from model_signing_autosign import _session
from model_signing_autosign._faults import contained, say
from model_signing_autosign._saving import Call, Scope
from model_signing_autosign.errors import AutosignError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_signing_autosign._core import Session
    from model_signing_autosign._patch import Framework, Wrapper
    from model_signing_autosign._saving import Where

_LONGEST_WAIT: Final = 30.0
"""Seconds that an upload waits for signatures."""

_FIRST_WAIT: Final = 0.2
"""Seconds until it looks whether it waits in vain, and then again after twice as long."""

Beside: TypeAlias = Callable[[Callable[..., Any], Call, Any, str], object]
"""Uploads a file's signature to the place of the file: called with the function, its call, what it returned, and the
path of the file, which has a signature."""


class _Thread(threading.local):
    def __init__(self) -> None:
        self.filling: list[Scope] = []  # of `fills_and_uploads`, outermost first


_thread = _Thread()


def uploads(
    framework: Framework, where: Where, *, beside: Beside | None = None, filled: Callable[[str], bool] | None = None
) -> Wrapper:
    """Make the wrapper for a function that uploads a file or a folder.

    Args:
        framework: The framework.
        where: What the call uploads, a local path.
        beside: Uploads the signature of a file. None for folders, which hold theirs.
        filled: Tells whether a folder is what a function with the wrapper `fills_and_uploads` has filled.

    Returns:
        A wrapper for `model_signing_autosign._patch.Patch`.
    """

    def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        call, path = Call(args, kwargs), ""
        with contained(f"wait for the signature of what {framework.name} uploads"):
            target = where(call)
            if isinstance(target, (str, os.PathLike)) and os.path.exists(target):
                path = os.path.abspath(os.fspath(target))
                if _thread.filling and filled is not None and filled(path):
                    _thread.filling[-1].leave(completed=True, target=path)
                _wait(path)
        result = original(*args, **kwargs)
        if path and beside is not None:
            with contained(f"upload the signature of {path}"):
                if signature_of(path):
                    beside(original, call, result, path)
        return result

    return wrapper


def fills_and_uploads(framework: Framework) -> Wrapper:
    """Make the wrapper for a function that has a folder of its own filled, uploads it and removes it.

    What is saved into the folder meanwhile is part of it. It is reported where its upload begins, see `uploads`: then
    it is complete, and there for the last time.
    """

    def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        scope = Scope(None, framework.name, open_ended=True)
        scope.ends_with(sys._getframe())
        scope.enter()
        _thread.filling.append(scope)
        try:
            return original(*args, **kwargs)
        finally:
            _thread.filling.remove(scope)
            scope.leave(completed=False)  # nothing, where it was uploaded

    return wrapper


@contextlib.contextmanager
def signature_as(path: str, name: str) -> Iterator[str | None]:
    """Yield the path of a file's signature, which says the name that the file is uploaded under.

    For another name than its own it is made, and gone afterwards: the session signs what a file that it knows is linked
    to, after a look whether that is still what was saved. None where it does not know the file.

    Args:
        path: Absolute path of a file with a signature.
        name: The name, without folders.
    """
    if os.path.basename(path) == name:
        yield signature_of(path)
        return
    with tempfile.TemporaryDirectory(prefix=".autosign-", dir=os.path.dirname(path)) as folder:
        link = os.path.join(folder, name)
        os.link(path, link)
        _wait(link)
        yield signature_of(link)


def _wait(path: str) -> None:
    """Wait for what is pending at a path, or below it."""
    session, end = _session.current(), time.monotonic() + _LONGEST_WAIT
    _session.settle(_LONGEST_WAIT)
    # What was renamed or linked a moment ago is pending once the next event is heard; this one is of no checkpoint.
    session.moving(os.devnull, os.devnull, linked=True)
    # A folder that is signed may have got more files since, and is then signed again when asked for. Else nothing is
    # asked for that cannot be pending: it would have other folders signed too early, and failed ones tried again.
    asks = os.path.isfile(os.path.join(path, "model.sig"))
    for root in _below(path):
        if not asks and not session.status().pending:
            break
        asks = False
        if not _is_settled(session, root, end):
            say(f"{path} is uploaded without waiting any longer for the signature of {root}")
            break


def _is_settled(session: Session, root: str, end: float) -> bool:
    """Wait until a checkpoint has a signature, or none is to come; False where the time runs out."""
    patience = _FIRST_WAIT
    while True:
        left = end - time.monotonic()
        try:
            session.wait_for(root, max(0.0, min(patience, left)))
        except TimeoutError:
            status = session.status()
            if status.spooled or not status.pending:
                return True  # mode offline: it is signed elsewhere
            if left <= patience:
                return False
            patience *= 2
        except AutosignError:
            return True  # It was not saved here; or could not be signed, which the core has said.
        else:
            return True


def _below(path: str) -> Iterator[str]:
    yield path
    for folder, folders, files in os.walk(path):
        yield from (os.path.join(folder, name) for name in (*folders, *files))


def signature_of(path: str) -> str | None:
    """Return the path of a file's signature; None where it has none.

    Args:
        path: Absolute path of the file.
    """
    if not os.path.isfile(path):
        return None
    return next(filter(_is_signature, signatures_of(path)), None)


def signatures_of(path: str) -> tuple[str, str]:
    """Return where the signature of a file may lie, as the core has it: beside it, or hidden.

    Args:
        path: Absolute path of the file.
    """
    folder, name = os.path.split(path)
    return f"{path}.sig", os.path.join(folder, ".signatures", "files", f"{name}.sig")


def _is_signature(path: str) -> bool:
    """Tell a signature like ours: other programs' are called ``.sig``, too, and a pipe or link is none."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as signature:
            is_file = stat.S_ISREG(os.fstat(signature.fileno()).st_mode)
            return is_file and b"vnd.dev.sigstore.bundle" in signature.read(1 << 20)
    except OSError:
        return False
