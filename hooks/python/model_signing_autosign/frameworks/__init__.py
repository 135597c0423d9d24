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
    "flax",
    "gguf",
    "joblib",
    "keras",
    "lightgbm",
    "lightning",
    "mlflow",
    "numpy",
    "onnx",
    "orbax",
    "peft",
    "safetensors",
    "tensorflow",
    "torch",
    "torch_distributed",
    "transformers",
    "wandb",
    "xgboost",
)
OPT_IN: Final = ("joblib", "lightgbm", "mlflow", "numpy", "onnx", "wandb", "xgboost")
"""Those that ``auto`` leaves out: programs save much with them that is no model, or they delay uploads. startup/ lists
them, too."""


def patches(hooks: Iterable[str]) -> Iterator[Patch]:
    """Yield the patches of the chosen frameworks; imports our file for a framework, never the framework.

    Args:
        hooks: Names of frameworks, or ``auto`` for all of them but `OPT_IN`, and ``none`` for none.
    """
    chosen = set(hooks) - {"none"}
    if "auto" in chosen:
        chosen = chosen - {"auto"} | set(NAMES).difference(OPT_IN)
    for unknown in sorted(chosen.difference(NAMES)):
        say(f"MODEL_SIGNING_HOOKS names {unknown!r}, which is no hook; there are: auto, none, {', '.join(NAMES)}")
    for name in NAMES:
        if name in chosen:
            yield from importlib.import_module(f"{__name__}.{name}").PATCHES


def installed() -> list[tuple[str, str, list[str]]]:
    """Return what has a hook, on or off, and is installed: name, version, and what to choose in MODEL_SIGNING_HOOKS.

    Imports no framework.
    """
    from importlib import metadata  # noqa: PLC0415 - slow, and few ask

    chosen: dict[str, list[str]] = {}
    for name in NAMES:
        for framework in {patch.framework for patch in patches([name])}:
            hooks = chosen.setdefault(framework.distribution or framework.name, [])
            hooks += [name] if name in OPT_IN else [name, "auto"]
    found = []
    for name, hooks in sorted(chosen.items()):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append((name, metadata.version(name), hooks))
    return found
