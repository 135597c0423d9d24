# SPDX-License-Identifier: Apache-2.0
"""A Lightning callback that has the Trainer's checkpoints signed, also where the hooks are off.

With MODEL_SIGNING_HOOKS=none, or without `model_signing_autosign.enable`, this alone signs; with the hooks on there is
still one signature, because the callback's scope covers theirs. Checkpoints that a strategy shards do not go through
the checkpoint plugin, so only the hooks see them.

Lightning also finds the callback by itself, through `callbacks`, but only where MODEL_SIGNING_PLUGINS names it.
"""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any, Final

import model_signing_autosign
from model_signing_autosign import _session
from model_signing_autosign._faults import contained, say
from model_signing_autosign._saving import Call, Scope, step_of
from model_signing_autosign.frameworks.lightning import file, step

_PACKAGES: Final = ("lightning.pytorch", "pytorch_lightning")


class AutosignCallback:
    """Signs what the Trainer saves, for ``lightning`` and for ``pytorch_lightning``.

    An instance is a ``Callback`` of whichever of the two is imported by then, or of both.

    Examples:
        >>> from model_signing_autosign.plugins.lightning import AutosignCallback
        >>> # Trainer(callbacks=[AutosignCallback()])
    """

    def __new__(cls) -> AutosignCallback:
        """Make it a ``Callback`` of the imported packages; imports none."""
        loaded = tuple(name for name in _PACKAGES if name in sys.modules)
        return super().__new__(_class_for(loaded) if cls is AutosignCallback else cls)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle it by its packages: a spawned rank makes the class anew."""
        return _again, (getattr(type(self), "_packages", ()),)

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Lightning's hook, on every rank and before anything is saved."""
        with contained("sign what the Trainer saves"):
            if not trainer.is_global_zero or not _session.current().enabled:
                return
            # Inside AsyncCheckpointIO and its like: the outer one returns before the file is there.
            io = trainer.strategy.checkpoint_io
            while getattr(io, "checkpoint_io", None) is not None:
                io = io.checkpoint_io
            if "TorchCheckpointIO" not in {base.__name__ for base in type(io).__mro__}:
                say(f"AutosignCallback cannot tell when {type(io).__name__} has saved a checkpoint: it is not signed")
            elif not isinstance(vars(io).get("save_checkpoint"), _Saving):
                # The one object, not its class. It keeps its type, which strategies check, and stays so after the
                # end: AsyncCheckpointIO saves until it is torn down, after the callbacks.
                io.save_checkpoint = _Saving(io)


class _Saving:
    """What an object's ``save_checkpoint`` does, within a scope; a class, because a Trainer may be pickled."""

    def __init__(self, io: Any) -> None:
        self._io = io

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        scope = None
        with contained("follow a save of lightning"):
            if not model_signing_autosign._disabled or model_signing_autosign._applied:
                call = Call((self._io, *args), kwargs)
                scope = Scope(file(call.argument("path", 2)), "lightning", step=step_of(call, step))
        save = type(self._io).save_checkpoint
        if scope is None:
            return save(self._io, *args, **kwargs)
        with scope:
            return save(self._io, *args, **kwargs)


def callbacks() -> list[AutosignCallback]:
    """Return what Lightning is to add to every Trainer: nothing, unless MODEL_SIGNING_PLUGINS names ``lightning``."""
    with contained("add the callback that signs to a Trainer"):
        if "lightning" in _session.current().plugins:
            return [AutosignCallback()]
    return []


@functools.cache
def _class_for(packages: tuple[str, ...]) -> type[AutosignCallback]:
    bases = (AutosignCallback, *(importlib.import_module(name).Callback for name in packages))
    return type("AutosignCallback", bases, {"__module__": __name__, "_packages": packages})


def _again(packages: tuple[str, ...]) -> AutosignCallback:
    return object.__new__(_class_for(packages))
