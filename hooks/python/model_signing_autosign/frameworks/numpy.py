# SPDX-License-Identifier: Apache-2.0
"""Arrays saved together by numpy. Off unless MODEL_SIGNING_HOOKS names it.

``savez`` and ``savez_compressed`` stay as they are: both look up the function hooked here at each call, as whatever
bound them earlier does. It appends ``.npz`` to a path that ends otherwise. ``np.save`` is left alone: single arrays
are data and caches more often than models, and there may be thousands of them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import saves

if TYPE_CHECKING:
    from model_signing_autosign._saving import Call

# Before 2.0 the function lived elsewhere.
FRAMEWORK: Final = Framework("numpy", versions=">=2.0,<3", tested="2.4.6")


def _archive(call: Call) -> object:
    file = call.argument("file", 0)
    if not isinstance(file, (str, os.PathLike)):
        return None
    path = os.fspath(file)
    return path if not isinstance(path, str) or path.endswith(".npz") else f"{path}.npz"


PATCHES: Final = (
    # def _savez(file, args, kwds, compress, allow_pickle=True, pickle_kwargs=None)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _archive),
        ("numpy.lib._npyio_impl:_savez",),
        seen="`np.savez`, `np.savez_compressed` to a path, however they were imported; not `np.save`",
        signed="the `.npz` file",
        complete="on return",
    ),
)
