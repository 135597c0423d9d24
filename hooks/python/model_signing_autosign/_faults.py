# SPDX-License-Identifier: Apache-2.0
"""Our own faults: told on stderr in one line, never raised into a training run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from model_signing_autosign import _core
from model_signing_autosign.errors import AutosignError

if TYPE_CHECKING:
    from collections.abc import Iterator


def say(line: str) -> None:
    """Write one line on stderr, where the core writes its own, if the settings want warnings."""
    with contextlib.suppress(Exception):  # a line with lone surrogates, say: not worth an exception in training
        _core.warn(line)


@contextlib.contextmanager
def contained(task: str) -> Iterator[None]:
    """Keep a fault of ours from reaching the user's code.

    Args:
        task: What is being attempted, to complete "cannot ...".

    Raises:
        AutosignError: If the body raised it; the core does so only where MODEL_SIGNING_ON_ERROR is ``raise``.
        KeyboardInterrupt: If the body raised it: the user asked.
        SystemExit: If the body raised it.
    """
    try:
        yield
    except (AutosignError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001 - a Rust panic arrives as a class that is no Exception
        say(f"cannot {task}: {type(error).__name__}: {error}")
