# SPDX-License-Identifier: Apache-2.0
"""What is hooked: one file per framework, named as in MODEL_SIGNING_HOOKS. How to add one: hooks/README.md."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Final

from model_signing_autosign._faults import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from model_signing_autosign._patch import Patch

NAMES: Final = (
    "accelerate",
    "datasets",
    "deepspeed",
    "diffusers",
    "gguf",
    "keras",
    "lightning",
    "peft",
    "safetensors",
    "torch",
    "torch_distributed",
    "transformers",
)


def patches(hooks: Iterable[str]) -> Iterator[Patch]:
    """Yield the patches of the chosen frameworks; imports our file for a framework, never the framework.

    Args:
        hooks: Names of frameworks, or ``auto`` for all of them and ``none`` for none.
    """
    chosen = set(hooks) - {"none"}
    if "auto" in chosen:
        chosen = chosen - {"auto"} | set(NAMES)
    for unknown in sorted(chosen.difference(NAMES)):
        say(f"MODEL_SIGNING_HOOKS names {unknown!r}, which is no hook; there are: auto, none, {', '.join(NAMES)}")
    for name in NAMES:
        if name in chosen:
            yield from importlib.import_module(f"{__name__}.{name}").PATCHES


def installed() -> list[tuple[str, str]]:
    """Return name and version of each framework that has a hook and is installed; imports none."""
    from importlib import metadata  # noqa: PLC0415 - slow, and few ask

    found = []
    for name in sorted({patch.framework.distribution or patch.framework.name for patch in patches(["auto"])}):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name)))
    return found
