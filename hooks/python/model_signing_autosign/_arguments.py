# SPDX-License-Identifier: Apache-2.0
"""What callers give, where the core could not say which argument is wrong."""

from __future__ import annotations

import operator
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

_END = 1 << 64


def several(**arguments: Sequence[str | os.PathLike[str]] | None) -> None:
    """Refuse a single path where several can be given: the letters of a text would be paths, too.

    Raises:
        TypeError: If one of them is a path.
    """
    for name, paths in arguments.items():
        if isinstance(paths, str | bytes | os.PathLike):
            message = f"{name} is a list of paths, such as ['a.pem'], not one"
            raise TypeError(message)


def counted(**arguments: SupportsIndex | None) -> None:
    """Refuse what is no number of steps.

    Raises:
        TypeError: If one of them is no whole number.
        ValueError: If one of them is less than 0, or has more than 64 bits.
    """
    for name, number in arguments.items():
        if number is not None and not 0 <= operator.index(number) < _END:
            message = f"{name} is {number}, not a number of steps from 0 to {_END - 1}"
            raise ValueError(message)
