# SPDX-License-Identifier: Apache-2.0
"""A callback for ``transformers.Trainer`` that has its checkpoints signed, with the hooks on or off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from model_signing_autosign import _ranks, _session
from model_signing_autosign._faults import contained

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class AutosignCallback(TrainerCallback):
    """Signs each checkpoint of a Trainer, as the settings say that begin with ``MODEL_SIGNING_``.

    With the hooks on it changes nothing. It is not told of ``Trainer.save_model``, nor of the checkpoint that a Trainer
    makes when it gets SIGTERM: the hooks see both.

    Examples:
        >>> from model_signing_autosign.plugins.transformers import AutosignCallback
        >>> # Trainer(model, arguments, callbacks=[AutosignCallback()])
    """

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Report the checkpoint that has just been written."""
        with contained("sign a checkpoint of transformers"):
            if _session.current().enabled and args.output_dir is not None:
                root = _checkpoint(Path(args.output_dir).absolute(), f"checkpoint-{state.global_step}")
                _ranks.saved(str(root), "transformers", step=state.global_step, owned=args.should_save)


def _checkpoint(output: Path, name: str) -> Path:
    # A trial of a hyperparameter search has a folder of its own, and no callback is told which.
    trials = [output / name, *output.glob(f"*/{name}")]
    return max(trials, key=lambda folder: folder.stat().st_mtime if folder.is_dir() else 0.0)
