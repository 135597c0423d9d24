# SPDX-License-Identifier: Apache-2.0
"""Flax: ``flax.training.checkpoints``.

By default it saves through orbax, whose hook signs the folders. It removes old ones by itself, and where tensorflow is
installed it does so in C++, of which Python hears nothing.

Its own files of msgpack, ``checkpoint_<step>``, are not signed: Flax takes each file of a folder whose name begins with
``checkpoint_`` for a checkpoint, so it would count, remove and restore ``checkpoint_<step>.sig``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import contained, say
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, argument, tells

if TYPE_CHECKING:
    from collections.abc import Callable

# Older ones do not run with an orbax whose checkpoints are signed.
FRAMEWORK: Final = Framework("flax", versions=">=0.8.3,<1", tested="0.12.8")

_told: Final[set[str]] = set()


def _leave(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    result = original(*args, **kwargs)
    with contained("say what is not signed"):
        if not _told:
            _told.add("msgpack")
            path = Call(args, kwargs).argument("ckpt_path", 1)
            say(f"{path} is unsigned: Flax would take a signature beside it for a checkpoint; with orbax it is signed")
    return result


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        tells("shutil.rmtree", argument("path", 0)),
        ("flax.io:rmtree",),
        seen="old checkpoints that `flax.training.checkpoints` removes; what it saves with orbax is seen there",
        signed="nothing: what is pending is cancelled",
        complete="-",
    ),
    Patch(
        FRAMEWORK,
        _leave,
        ("flax.training.checkpoints:_save_commit",),
        seen="`flax.training.checkpoints.save_checkpoint` where it writes msgpack, without orbax",
        signed="nothing: Flax would take the signature for a checkpoint, which a line says once",
        complete="-",
    ),
)
