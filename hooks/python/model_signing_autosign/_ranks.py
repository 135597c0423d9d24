# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that all ranks of a training write into, and that are complete when the last one has left the save.

A Trainer's checkpoint is such: each rank writes its own ``rng_state_<rank>.pth`` and goes on. So each rank leaves a
key in the store of torch.distributed, and the one that owns the checkpoint reports it when all keys are there. The
store, and not a collective: it can be asked from a thread, and no training waits or hangs for a rank that does not
sign.
"""

from __future__ import annotations

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

_counts: Final[dict[str, int]] = {}  # how often each name was saved: the same in all ranks


def saved(root: str, framework: str, files: Sequence[str] = (), *, owned: bool) -> None:
    """Do as `_session.saved`, in the rank that owns the checkpoint and once all ranks have called this.

    Args:
        root: Absolute path of the file or directory. Its last part must be the same in all ranks.
        framework: Name of the framework that wrote it.
        files: As for `_session.saved`.
        owned: Whether this rank is the one that reports the checkpoint, or one of those.

    Raises:
        AutosignError: If it cannot be signed and MODEL_SIGNING_ON_ERROR is ``raise``.
    """
    torch: Any = sys.modules.get("torch")
    distributed = torch and torch.distributed
    if distributed and distributed.is_available() and distributed.is_initialized():
        name = os.path.basename(root)
        _counts[name] = _counts.get(name, 0) + 1
        keys = {rank: f"{name}/{_counts[name]}/{rank}" for rank in range(distributed.get_world_size())}
        default = distributed.distributed_c10d._get_default_store()
        store = distributed.PrefixStore("model-signing", default)
        store.set(keys[distributed.get_rank()], "left")
        if not owned:
            return
        if len(keys) > 1 and not _session.current().waits:
            arguments = store, keys, root, framework, files
            name = f"the wait for the other ranks that save {root}"
            _session.saved_by(threading.Thread(target=_gather, args=arguments, name=name, daemon=True))
        else:
            _gather(store, keys, root, framework, files)
    elif owned:
        _session.saved(root, framework, files)


def _gather(store: Any, keys: Mapping[int, str], root: str, framework: str, files: Sequence[str]) -> None:
    with contained(f"sign {root}"):
        end = time.monotonic() + _TIMEOUT
        while not store.check(list(keys.values())):
            if time.monotonic() > end:
                missing = ", ".join(str(rank) for rank, key in keys.items() if not store.check([key]))
                say(f"{root} is unsigned: {_TIMEOUT:.0f} s after it was saved, nothing was heard of rank {missing}")
                return
            if _session.ending.wait(_PAUSE):
                return
        _session.saved(root, framework, files)
