# SPDX-License-Identifier: Apache-2.0
"""What the program does to its files after a save: renames, links, removals, and more files in a folder.

Python tells of each before it happens (``sys.addaudithook``, PEP 578), whoever does it, the framework's rotation and
the script alike. It is heard from the first save on and cannot be unheard, so all that is not ours ends after one look
into a dictionary. Nothing is raised: an exception would be one of ``os.remove`` or ``open``.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_signing_autosign._core import Session

_WRITES: Final = os.O_WRONLY | os.O_RDWR
_STARTERS: Final = {"", "!", "command", "do", "else", "env", "exec", "nohup", "sudo", "then", "{"}
"""Words of a shell that what it runs may come after."""
_HERE: Final = -1  # for "relative to the working directory", where a descriptor of a folder could be

_session: Callable[[], Session | None] = lambda: None  # noqa: E731 - until `listen`
_parent: Callable[[], Session | None] = lambda: None  # noqa: E731 - the same
_listens = False


def _path(path: Any) -> str:
    # What is no text names no checkpoint; the error ends the matter.
    return os.path.abspath(os.fspath(path)) if not isinstance(path, bytes) else os.fsdecode(os.path.abspath(path))


def _opened(session: Session, path: Any, _mode: str | None, flags: int) -> None:
    if flags & _WRITES and not isinstance(path, int):
        session.touched(_path(path))


def _moved(session: Session, path: Any, to: Any, source: int = _HERE, target: int = _HERE) -> None:
    session.moving(_path_in(source, path), _path_in(target, to), linked=False)


def _linked(session: Session, path: Any, to: Any, source: int = _HERE, target: int = _HERE) -> None:
    session.moving(_path_in(source, path), _path_in(target, to), linked=True)


def _copied(session: Session, path: Any, to: Any) -> None:
    session.copying(_path(path), _path(to))


def _removed(session: Session, path: Any, folder: int | None = _HERE) -> None:
    session.removing(_path_in(folder, path))


def _file_removed(session: Session, path: Any, folder: int | None = _HERE) -> None:
    name = _path_in(folder, path)
    if os.path.islink(name) or not os.path.isdir(name):  # else it fails
        session.removing(name)


def _folder_removed(session: Session, path: Any, folder: int | None = _HERE) -> None:
    session.removing_folder(_path_in(folder, path))


def _started(session: Session, _program: Any, words: Any, directory: Any = None, _environment: Any = None) -> None:
    """Tell of ``rm``: it lists a folder first, and fails where something has come into it when it is to be removed."""
    words = [words] if isinstance(words, (str, bytes, os.PathLike)) else words
    words = [os.fsdecode(word) for word in words]
    if words[1:2] and words[1].startswith("-") and words[1].endswith("c"):
        _system(session, words[2], directory)
    elif os.path.basename(words[0]) == "rm":
        for word in words[1:]:
            session.removing(os.path.abspath(os.path.join(directory or "", word)))


def _system(session: Session, command: str | bytes, directory: Any = None) -> None:
    command = os.fsdecode(command)
    if "rm " not in command:
        return
    # Asked for late: together they take longer than everything else here.
    import glob  # noqa: PLC0415
    import shlex  # noqa: PLC0415

    lexer = shlex.shlex(command.replace("\n", ";"), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    program = ""
    for word in lexer:
        if set(word) <= set("();<>|&"):
            program = ""
        elif program == "rm":
            for path in glob.glob(os.path.join(os.fsdecode(directory or ""), word)):
                session.removing(os.path.abspath(path))
        elif program in _STARTERS or "=" in program:
            program = os.path.basename(word)


def _path_in(folder: int | None, path: Any) -> str:
    # Only `shutil.rmtree` says None. It removes what is in the folder by descriptor, where the system can.
    if folder in (_HERE, None):
        return _path(path)
    return os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))


_ACTS: Final[dict[str, Callable[..., None]]] = {
    "open": _opened,
    "os.link": _linked,
    "os.remove": _file_removed,
    "os.rename": _moved,
    "os.rmdir": _folder_removed,
    "os.system": _system,
    "shutil.copyfile": _copied,
    "shutil.rmtree": _removed,
    "subprocess.Popen": _started,
}


def listen(session: Callable[[], Session | None], parent: Callable[[], Session | None]) -> None:
    """Tell the session what happens to files from now on.

    Args:
        session: Returns the session of this process, or None where it has none, as in a forked child.
        parent: Returns the session of the process that a child without one was forked from.
    """
    global _session, _parent, _listens  # noqa: PLW0603
    _session, _parent = session, parent
    if not _listens:
        _listens = True
        sys.addaudithook(hear)


def hear(event: str, details: tuple[Any, ...], acts: dict[str, Callable[..., None]] = _ACTS) -> None:
    """Tell the session of an audit event, or of what C++ does as if Python did it.

    Args:
        event: Its name; those without an act are nothing to us.
        details: Its arguments.
        acts: What is done for each. Held here because Python hears to the last, and has taken this module apart then.
    """
    act = acts.get(event)
    if act is None:
        return
    try:
        session = _session()
        if session is not None:
            act(session, *details)
        elif act is _folder_removed:
            parent = _parent()
            if parent is not None:
                parent.removing_folder_in_child(_path_in(details[1], details[0]))
    except Exception:  # noqa: BLE001, S110 - not even told: this may be anywhere, a signal handler included
        pass
