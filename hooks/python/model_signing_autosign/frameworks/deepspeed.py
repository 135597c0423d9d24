# SPDX-License-Identifier: Apache-2.0
"""DeepSpeed checkpoints, which all ranks write together.

``save_checkpoint`` ends with a barrier, so the folder of its tag is complete when rank 0 returns. What lies beside it
in ``save_dir``, such as ``latest``, changes with each checkpoint and belongs to none of them. A decoupled checkpoint
engine goes on writing after the return; what it saves is not signed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import saves

if TYPE_CHECKING:
    from model_signing_autosign._saving import Call

# Older ones run on no CPU without a oneCCL of its own, so nothing is known of them.
FRAMEWORK: Final = Framework("deepspeed", versions=">=0.14.2,<1", tested="0.19.8")


def _tag_folder(call: Call) -> object:
    folder, tag = call.argument("save_dir", 1), call.argument("tag", 2)
    if not folder:
        return None  # DeepSpeed raises
    return os.path.join(folder, f"global_step{call.args[0].global_steps}" if tag is None else str(tag))


def _reports_checkpoint(call: Call) -> bool:
    engine = call.args[0]
    is_decoupled = getattr(engine.checkpoint_engine, "is_decoupled", None)
    rank = engine.local_rank if engine.use_node_local_storage() else engine.global_rank
    return int(rank) == 0 and not (is_decoupled and is_decoupled())


def _weights_file(call: Call, saved: Any) -> object:
    if not saved:  # ZeRO 3 that may not gather its weights
        return None
    return os.path.join(call.argument("save_dir", 1), call.argument("save_filename", 2) or "pytorch_model.bin")


def _steps(call: Call) -> Any:
    return call.args[0].global_steps


def _is_rank_0(call: Call) -> bool:
    return int(call.args[0].global_rank) == 0


PATCHES: Final = (
    # def save_checkpoint(self, save_dir, tag=None, client_state={}, save_latest=True, exclude_frozen_parameters=False)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _tag_folder, owned=_reports_checkpoint, step=_steps),
        ("deepspeed.runtime.engine:DeepSpeedEngine.save_checkpoint",),
        seen="`DeepSpeedEngine.save_checkpoint`, of pipelines too; not with a decoupled checkpoint engine",
        signed="the folder of the tag",
        complete="on return: after the last barrier",
    ),
    # def save_16bit_model(self, save_dir, save_filename="pytorch_model.bin", exclude_frozen_parameters=False)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, after=_weights_file, owned=_is_rank_0, step=_steps),
        ("deepspeed.runtime.engine:DeepSpeedEngine.save_16bit_model",),
        seen="`DeepSpeedEngine.save_16bit_model` and `save_fp16_model`",
        signed="the file",
        complete="on return",
    ),
)
