# SPDX-License-Identifier: Apache-2.0
"""orbax: folders that are written under a temporary name, often in a background thread, and then committed.

All checkpointers, of the API of today and of ``experimental.v1``, commit through ``on_commit_callback``, which renames
the folder, or writes ``commit_success.txt`` where renaming is not atomic. They look it up at each call, and only on the
primary host, when all hosts have written theirs. The items of a step are committed before it and not through it. It
is a coroutine function by now, and was none in 0.11.20.

Partial saves commit through it, too, into a folder that ends in ``.partial_save`` and that further ones write into;
``partial.finalize`` renames that, on the primary host, by a function that it looks up, too.

``v1.delete`` may take one item out of a checkpoint. One of the last thousand that this process has saved is then signed
again; of another it is not known what else has changed, so its signature is left to say that it is not what was signed.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import contained
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, is_paused, local, saves

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMEWORK: Final = Framework("orbax", versions=">=0.9,<1", tested="0.12.8", distribution="orbax-checkpoint")

_PARTIAL: Final = ".partial_save"

# Temporary paths of what is saved while signing is paused: another thread commits them.
_paused: Final[weakref.WeakSet[Any]] = weakref.WeakSet()
# What this process has saved, as far as it is likely to be thinned out: a run may save without end.
_saved: Final[deque[str]] = deque(maxlen=1000)


def _begin(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = original(*args, **kwargs)
    with contained("leave a save of orbax unsigned"):
        if is_paused():
            _paused.add(args[0])
    return result


def _committed(call: Call) -> object:
    temporary = call.argument("tmp_dir", 0)
    # The class of our plugin signs by itself.
    if temporary in _paused or getattr(temporary, "signs", False):
        return None
    final = local(temporary.get_final())
    if final is None or final.endswith(_PARTIAL):
        return None
    if final not in _saved:
        _saved.append(final)
    return final


def _thinned(call: Call) -> object:
    plan = call.argument("plan", 0)
    path = os.fspath(plan.path) if plan is not None and plan.record is not None else None
    return path if path in _saved else None


def _renamed(call: Call) -> object:
    source, target = (os.fspath(call.argument(name, place)) for place, name in enumerate(("src", "dst")))
    return local(target) if source == target + _PARTIAL else None


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _committed),
        ("orbax.checkpoint._src.path.atomicity:on_commit_callback",),
        seen="`Checkpointer`, `StandardCheckpointer`, `AsyncCheckpointer`, `CheckpointManager`, `v1.save`, "
        "`v1.training.Checkpointer`, and what saves through them, such as Flax and Keras' `OrbaxCheckpoint`",
        signed="the folder, with all items of a step, by the primary host",
        complete="when it has been committed, in whichever thread",
    ),
    Patch(
        FRAMEWORK,
        _begin,
        ("orbax.checkpoint._src.path.atomicity:TemporaryPathBase.__init__",),
        seen="whether signing is paused where a save begins that another thread ends",
        signed="nothing yet",
        complete="-",
        since="0.11.22",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _renamed),
        ("orbax.checkpoint._src.path.async_path:rename",),
        seen="`v1.partial.finalize`",
        signed="the folder, by the primary host",
        complete="when it has been renamed",
        since="0.11.21",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _thinned),
        ("orbax.checkpoint.experimental.v1._src.deletion.execution:_execute",),
        seen="`v1.delete` and `v1.training.Checkpointer.delete` of one item of a checkpoint that this process saved",
        signed="the folder, again, by the primary host",
        complete="when its metadata has been written",
        since="0.12.8",
    ),
)
