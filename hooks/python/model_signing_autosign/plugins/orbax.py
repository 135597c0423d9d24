# SPDX-License-Identifier: Apache-2.0
"""A class of temporary paths that has orbax's checkpoints signed, with the hooks on or off.

``AsyncOptions.post_finalization_callback`` is no place to sign: it is told no path, and it is called before the
checkpoint is committed. The class of the temporary path is what commits it, and may be chosen.
"""

from __future__ import annotations

from typing import Any

from orbax.checkpoint.path import atomicity  # type: ignore[import-untyped]

import model_signing_autosign
from model_signing_autosign import _session
from model_signing_autosign._faults import contained
from model_signing_autosign._saving import Scope, is_paused, local


class AutosignPath(atomicity.AtomicRenameTemporaryPath):  # type: ignore[misc]
    """Commits a checkpoint by renaming it, as orbax does on a local disk, and signs it then.

    Examples:
        >>> from model_signing_autosign.plugins.orbax import AutosignPath
        >>> # CheckpointManager(folder, options=CheckpointManagerOptions(temporary_path_class=AutosignPath))
    """

    signs = True
    """Tells the hook that there is nothing left to sign."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Begin a save; another thread may end it."""
        super().__init__(*args, **kwargs)
        self._paused = is_paused()

    async def finalize(self) -> None:
        """Commit the checkpoint; orbax calls this on the primary host."""
        await super().finalize()
        with contained("sign a checkpoint of orbax"):
            final = self.get_final()
            # The items of a step have paths of their own, and are committed before it.
            part = atomicity.TMP_DIR_SUFFIX in final.parent.name
            off = model_signing_autosign._disabled and not model_signing_autosign._applied
            if not (part or off or self._paused) and _session.current().enabled:
                with Scope(local(final), "orbax"):
                    pass
