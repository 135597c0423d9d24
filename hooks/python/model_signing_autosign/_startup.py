# SPDX-License-Identifier: Apache-2.0
"""The folder startup/: signing is switched on in a Python that finds it at the head of PYTHONPATH."""

from __future__ import annotations

import os
from typing import Final

FOLDER: Final = os.path.join(os.path.dirname(os.path.abspath(__file__)), "startup")


def pythonpath(before: str) -> str:
    """Return the value of PYTHONPATH for a child that is to sign, given the one that it would have."""
    others = [folder for folder in before.split(os.pathsep) if folder != FOLDER] if before else []
    return os.pathsep.join([FOLDER, *others])
