# SPDX-License-Identifier: Apache-2.0
"""A callback for ``fit`` of Keras 3 that has what the model saves signed, with the hooks on or off.

No callback is told of the others, nor of what they save. But ModelCheckpoint, BackupAndRestore and those that people
write all call ``save`` or ``save_weights`` of the model, so the callback wraps these, of the one model that is trained.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

import model_signing_autosign
from model_signing_autosign import _session
from model_signing_autosign._faults import contained
from model_signing_autosign.frameworks.keras import EXPORT, SAVE, SAVE_WEIGHTS

if TYPE_CHECKING:
    from model_signing_autosign._patch import Wrapper

_callbacks: Any = importlib.import_module("keras.callbacks")  # which says nothing of its types
_WRAPPERS: Final[dict[str, Wrapper]] = {"save": SAVE, "save_weights": SAVE_WEIGHTS, "export": EXPORT}


class AutosignCallback(_callbacks.Callback):  # type: ignore[misc]
    """Signs what a model saves from the beginning of ``fit`` on.

    How, the settings say that begin with ``MODEL_SIGNING_``.

    With the hooks on there is still one signature, because their scopes are within this one's, or round it.

    Examples:
        >>> from model_signing_autosign.plugins.keras import AutosignCallback
        >>> # model.fit(x, y, callbacks=[ModelCheckpoint("{epoch}.keras"), AutosignCallback()])
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Keras's hook, before anything is saved."""
        with contained("sign what the model saves"):
            if _session.current().enabled:
                for name in _WRAPPERS:
                    if not isinstance(vars(self.model).get(name), _Saving):
                        # The one object, not its class. It stays so after the end, for what is saved by hand then.
                        setattr(self.model, name, _Saving(self.model, name))


class _Saving:
    """What a model's method does, within a scope."""

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self._name = name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        original = getattr(type(self._model), self._name)
        # Unless signing has been switched off since.
        if model_signing_autosign._disabled and not model_signing_autosign._applied:
            return original(self._model, *args, **kwargs)
        return _WRAPPERS[self._name](original, self._model, *args, **kwargs)
