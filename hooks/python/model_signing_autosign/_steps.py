# SPDX-License-Identifier: Apache-2.0
"""Checkpoints inside the folder of a run, which a library also saves a model into.

Each has a signature of its own, and is removed by a rotation, or before an upload. So it is no part of the folder's.
Those of this process are known. Those of an earlier one, before a training was resumed, are known by the names that the
libraries give, and by nothing else: a signature that lies there could be forged
(docs/decisions/0022-folders-settle.md).
"""

from __future__ import annotations

import os
import re
from typing import Final

_LIBRARIES: Final = frozenset({"accelerate", "diffusers", "peft", "transformers"})
"""Those that save models into the folder of a run."""

_NAMES: Final = (
    ("", re.compile(r"checkpoint-[0-9]+")),  # Trainer; the training scripts of diffusers
    ("checkpoints", re.compile(r"checkpoint_[0-9]+")),  # Accelerator.save_state with automatic_checkpoint_naming
    ("", re.compile(r"global_step[0-9]+")),  # DeepSpeedEngine.save_checkpoint
)


def inside(root: str, framework: str) -> list[str]:
    """Return the absolute paths of the checkpoints of a run in its folder.

    Args:
        root: Absolute path of what was saved.
        framework: Name of the framework that saved it.
    """
    if framework not in _LIBRARIES or not os.path.isdir(root):
        return []
    found = []
    for below, name in _NAMES:
        folder = os.path.join(root, below)
        if os.path.isdir(folder):
            with os.scandir(folder) as entries:
                found += [
                    entry.path
                    for entry in entries
                    if name.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False)
                ]
    return sorted(found)
