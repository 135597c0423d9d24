# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that all ranks of a training write into, and that are complete when the last one has left the save.

A Trainer's checkpoint is such: each rank writes its own ``rng_state_<rank>.pth`` and goes on. So each rank leaves a
key in the store of torch.distributed, and the one that owns the checkpoint reports it when all keys are there. The
store, and not a collective: it can be asked from a thread, and no training waits or hangs for a rank that does not
sign.

Other checkpoints may be such, or one rank's alone: accelerate's ``save_state`` is called by all ranks, or by the main
one only. Such a one is reported at once, and again when another rank has left its part.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign import _session
from model_signing_autosign._faults import contained, say

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_TIMEOUT: Final = 300.0
_PAUSE: Final = 0.1  # between two questions to the store, in seconds

_counts: Final[dict[str, int]] = {}  # how often each name was saved here
_followed: list[str] = []  # the root whose late parts are looked for, if any


def saved(root: str, framework: str, files: Sequence[str] = (), step: int | None = None, *, owned: bool) -> None:
    """Do as `_session.saved`, in the rank that owns the checkpoint and once all ranks have called this.

    Args:
        root: Absolute path of the file or directory. Its last part must be the same in all ranks.
        framework: Name of the framework that wrote it.
        files: As for `_session.saved`.
        step: As for `_session.saved`.
        owned: Whether this rank is the one that reports the checkpoint, or one of those.

    Raises:
        AutosignError: If it cannot be signed and MODEL_SIGNING_ON_ERROR is ``raise``.
    """
    store, rank, world = _store()
    if store is not None:
        name = os.path.basename(root)
        count = _counts[name] = _counts.get(name, 0) + 1
        keys = {each: f"{name}/{count}/{each}" for each in range(world)}
        store.set(keys[rank], "left")
        if not owned:
            return
        arguments = store, keys, root, framework, files, step
        if world > 1 and not _session.current().waits:
            name = f"the wait for the other ranks that save {root}"
            _session.saved_by(threading.Thread(target=_gather, args=arguments, name=name, daemon=True))
        else:
            _gather(*arguments)
    elif owned:
        _session.saved(root, framework, files, step)


def part_saved(root: str, framework: str, files: Sequence[str] = (), step: int | None = None, *, owned: bool) -> None:
    """Do as `_session.saved` at once, in the rank that owns the checkpoint, and again when another has called this.

    For as long as the next such checkpoint is not there: before a rank saves twice, the others have trained with it.

    Args:
        root: As for `saved`, and so on.
        framework: Name of the framework that wrote it.
        files: As for `_session.saved`.
        step: As for `_session.saved`.
        owned: As for `saved`.

    Raises:
        AutosignError: If it cannot be signed and MODEL_SIGNING_ON_ERROR is ``raise``.
    """
    store, _, world = _store()
    left, name = 0, os.path.basename(root)
    if store is not None:
        _counts[name] = _counts.get(name, 0) + 1
        left = store.add(name, 1)
    if owned:
        _session.saved(root, framework, files, step)
        _followed[:] = [root]
        if store is not None and left < world * _counts[name]:
            arguments = store, left, root, framework, files, step
            _session.followed_by(threading.Thread(target=_follow, args=arguments, daemon=True))


def begins(root: str) -> None:
    """Forget the late parts of an earlier save: they are about to be overwritten.

    Args:
        root: Absolute path of the file or directory.
    """
    if root in _followed:
        _followed.clear()


def _store() -> tuple[Any, int, int]:
    """Return our part of torch's store, or None where it has none, with the rank and the number of ranks."""
    torch: Any = sys.modules.get("torch")
    distributed = torch and torch.distributed
    if not distributed or not distributed.is_available() or not distributed.is_initialized():
        return None, 0, 1
    store = distributed.PrefixStore("model-signing", distributed.distributed_c10d._get_default_store())
    return store, distributed.get_rank(), distributed.get_world_size()


def _gather(  # noqa: PLR0913, PLR0917 - what a thread is given
    store: Any, keys: Mapping[int, str], root: str, framework: str, files: Sequence[str], step: int | None = None
) -> None:
    with contained(f"sign {root}"):
        end = time.monotonic() + _TIMEOUT
        while not store.check(list(keys.values())):
            if time.monotonic() > end:
                missing = ", ".join(str(rank) for rank, key in keys.items() if not store.check([key]))
                say(f"{root} is unsigned: {_TIMEOUT:.0f} s after it was saved, nothing was heard of rank {missing}")
                return
            if _session.ending.wait(_PAUSE):
                return
        _session.saved(root, framework, files, step)


def _follow(  # noqa: PLR0913, PLR0917 - what a thread is given
    store: Any, left: int, root: str, framework: str, files: Sequence[str], step: int | None = None
) -> None:
    # Nothing said: the store may go before this process does, and the checkpoint is signed as it was.
    with contextlib.suppress(RuntimeError):
        end = time.monotonic() + _TIMEOUT
        over = False
        while not over and time.monotonic() < end:
            over = _session.ending.wait(_PAUSE)
            now = store.add(os.path.basename(root), 0)
            if _followed != [root] or not os.path.exists(root):
                return
            if now != left:
                left = now
                with contained(f"sign {root}"):
                    _session.saved(root, framework, files, step)
