# SPDX-License-Identifier: Apache-2.0
"""Paths as upstream's interface takes them."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING

from model_signing_autosign import _core

if TYPE_CHECKING:
    from typing import TypeAlias

PathLike: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def as_path(path: PathLike) -> pathlib.Path:
    """Make a path of anything that names one."""
    return pathlib.Path(os.fsdecode(path))


def existing(path: PathLike) -> pathlib.Path:
    """Refuse what is neither file nor directory, with upstream's error.

    Raises:
        ValueError: If it is not there, or something else.
    """
    found = as_path(path)
    if not (found.is_file() or found.is_dir()):
        message = f"Cannot use '{found}' as file or directory. It is missing, a special file, or cannot be looked at."
        raise ValueError(_core.without_secrets(message))
    return found
