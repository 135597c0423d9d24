# SPDX-License-Identifier: Apache-2.0
"""The folders that an Accelerator writes: whole states, and models in shards.

``save_state`` may name its folder itself, and returns it; until then what it saves is held back. Custom states come
last, so the functions below it are no use. With automatic naming it deletes old checkpoints before it writes the new
one, and trips over any file beside them: the signature has to be inside. ``Accelerator.save`` and
``accelerate.utils.save`` need nothing here: they call torch.save and safetensors.

All ranks save a state together, and ``save_model`` of all ranks ends in one file; the main process reports it, or the
main process of each node where each has a copy.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import saves

if TYPE_CHECKING:
    from model_signing_autosign._saving import Call

FRAMEWORK: Final = Framework("accelerate", versions=">=0.25,<2", tested="1.15.0")


def _state_folder(call: Call) -> object:
    named_by_itself = call.args[0].project_configuration.automatic_checkpoint_naming
    return None if named_by_itself else call.argument("output_dir", 1)


def _model_folder(call: Call) -> object:
    folder = call.argument("save_directory", 2)
    # For a file it logs an error and returns.
    return None if isinstance(folder, (str, os.PathLike)) and os.path.isfile(folder) else folder


def _reports(call: Call) -> bool:
    accelerator = call.args[0]
    each_node = accelerator.project_configuration.save_on_each_node
    return bool(accelerator.is_local_main_process if each_node else accelerator.is_main_process)


def _returned(_: Call, result: Any) -> object:
    return result


PATCHES: Final = (
    # def save_state(self, output_dir=None, safe_serialization=True, **save_model_func_kwargs)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _state_folder, after=_returned, owned=_reports, late=True),
        ("accelerate.accelerator:Accelerator.save_state",),
        seen="`Accelerator.save_state`, also with automatic naming, FSDP and DeepSpeed",
        signed="the folder",
        complete="on return in the main process, and anew when another rank has returned",
    ),
    # def save_model(self, model, save_directory, max_shard_size="10GB", safe_serialization=True)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _model_folder, owned=_reports),
        ("accelerate.accelerator:Accelerator.save_model",),
        seen="`Accelerator.save_model`",
        signed="the folder",
        complete="on return: the index of shards is last",
    ),
)
