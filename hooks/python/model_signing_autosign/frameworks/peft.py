# SPDX-License-Identifier: Apache-2.0
"""Adapters: one folder, in which every adapter but the one called ``default`` has a folder of its own.

A Trainer saves a model with adapters through the same method.
"""

from __future__ import annotations

from typing import Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, folder, saves

FRAMEWORK: Final = Framework("peft", versions=">=0.10,<1", tested="0.21.2")


def _saves_on_this_rank(call: Call) -> bool:
    is_main = call.argument("is_main_process", 5)
    return is_main is None or bool(is_main)


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, folder("save_directory", 1), owned=_saves_on_this_rank),
        ("peft.peft_model:PeftModel.save_pretrained",),
        seen="`save_pretrained` of models with adapters",
        signed="the folder, by the main process",
        complete="on return",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, folder("save_directory", 1)),
        ("peft.config:PeftConfigMixin.save_pretrained",),
        seen="`save_pretrained` of their configurations",
        signed="the folder",
        complete="on return",
    ),
)
