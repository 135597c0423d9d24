# SPDX-License-Identifier: Apache-2.0
"""Our own faults: told on stderr in one line, never raised into a training run."""

from __future__ import annotations

import contextlib
import sys

from model_signing_autosign import _core
from model_signing_autosign.errors import AutosignError

# Python has none for a descriptor that was closed when it began: a file of the program has that number by now.
_core.standard_streams(sys.__stdout__ is not None, sys.__stderr__ is not None)


def say(line: str) -> None:
    """Write one line on stderr, where the core writes its own, if the settings want warnings."""
    with contextlib.suppress(Exception):  # a line with lone surrogates, say: not worth an exception in training
        _core.warn(line)


class contained:  # noqa: N801 - used like a function
    """Keep a fault of ours from reaching the user's code.

    Args:
        task: What is being attempted, to complete "cannot ...".

    Raises:
        AutosignError: If the body raised it; the core does so only where MODEL_SIGNING_ON_ERROR is ``raise``.
        KeyboardInterrupt: If the body raised it: the user asked.
        SystemExit: If the body raised it.
    """

    def __init__(self, task: str) -> None:
        self._task = task

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, _trace: object) -> bool:
        # A Rust panic arrives as a class that is no Exception.
        if error is None or isinstance(error, (AutosignError, KeyboardInterrupt, SystemExit)):
            return False
        say(f"cannot {self._task}: {type(error).__name__}: {error}")
        return True
