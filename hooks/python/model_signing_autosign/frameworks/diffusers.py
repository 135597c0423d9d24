# SPDX-License-Identifier: Apache-2.0
"""Pipelines, and the models, schedulers and configurations that they consist of.

``save_config`` is what schedulers, guiders and the blocks of modular pipelines write with. LoRA weights that are saved
by themselves are one file, which often lies beside other things, and the hook for safetensors signs it as such.
"""

from __future__ import annotations

from typing import Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, folder, saves

FRAMEWORK: Final = Framework("diffusers", versions=">=0.27,<1", tested="0.42.1")


def _saves_on_this_rank(call: Call) -> bool:
    is_main = call.argument("is_main_process", 2)
    return is_main is None or bool(is_main)


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, folder("save_directory", 1)),
        ("diffusers.pipelines.pipeline_utils:DiffusionPipeline.save_pretrained",),
        seen="`save_pretrained` of pipelines",
        signed="the folder",
        complete="on return",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, folder("save_directory", 1)),
        ("diffusers.modular_pipelines.modular_pipeline:ModularPipeline.save_pretrained",),
        seen="`save_pretrained` of modular pipelines",
        signed="the folder",
        complete="on return",
        since="0.35",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, folder("save_directory", 1), owned=_saves_on_this_rank),
        ("diffusers.models.modeling_utils:ModelMixin.save_pretrained",),
        seen="`save_pretrained` of models",
        signed="the folder, by the main process",
        complete="on return",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, folder("save_directory", 1)),
        ("diffusers.configuration_utils:ConfigMixin.save_config",),
        seen="`save_config`, and `save_pretrained` of schedulers",
        signed="the folder",
        complete="on return",
    ),
)
