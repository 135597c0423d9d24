"""A training that goes on in another process: what the first one left in the run's folder is no part of the model."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    from conftest import Keys

TRAIN = """
import sys
import model_signing.autosign
import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

rows = [{"input_ids": torch.tensor([1, 2, 3, 4]), "labels": torch.tensor([1, 2, 3, 4])} for _ in range(4)]
model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_positions=8, n_embd=8, n_layer=1, n_head=1))
arguments = TrainingArguments(
    "run", max_steps=int(sys.argv[1]), per_device_train_batch_size=2, save_steps=1, eval_steps=1, eval_strategy="steps",
    save_total_limit=2, load_best_model_at_end=True, use_cpu=True, report_to=[], disable_tqdm=True,
)
trainer = Trainer(model=model, args=arguments, train_dataset=rows, eval_dataset=rows)
trainer.train(resume_from_checkpoint=len(sys.argv) > 2)
if len(sys.argv) > 2:
    trainer.save_model()
"""


def test_the_model_of_a_resumed_run_verifies_without_its_checkpoints(
    run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Keys
) -> None:
    for arguments in (["3"], ["4", "resumed"]):
        result = run_script(TRAIN, *arguments, timeout=240)
        assert result.returncode == 0, result.stderr
    run = tmp_path / "run"
    for checkpoint in run.glob("checkpoint-*"):
        model_signing_autosign.verify(checkpoint, public_key=keys.public)
    assert len(list(run.glob("checkpoint-*"))) >= 2
    # What is uploaded is the folder without them.
    for checkpoint in run.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    names = model_signing_autosign.verify(run, public_key=keys.public)
    assert "model.safetensors" in names
    assert not [name for name in names if name.startswith("checkpoint-")]


@pytest.mark.parametrize(
    ("earlier", "apart"),
    [("checkpoint-1", True), ("checkpoints/checkpoint_0", True), ("global_step5", True), ("unet", False)],
)
def test_only_what_a_library_names_so_is_left_out(
    earlier: str, apart: bool, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Keys
) -> None:
    """A signature in a folder takes nothing out of the next one: it could be forged."""
    script = """
        import sys
        import model_signing.autosign
        from transformers import BertConfig

        BertConfig().save_pretrained(sys.argv[1])
        """
    for folder in (f"out/{earlier}", "out"):
        result = run_script(script, folder)
        assert result.returncode == 0, result.stderr
    names = model_signing_autosign.verify(tmp_path / "out", public_key=keys.public)
    assert (f"{earlier}/config.json" not in names) == apart
    shutil.rmtree(tmp_path / "out" / earlier)
    if apart:
        assert model_signing_autosign.verify(tmp_path / "out", public_key=keys.public) == ["config.json"]
    else:
        with pytest.raises(model_signing_autosign.VerificationError):
            model_signing_autosign.verify(tmp_path / "out", public_key=keys.public)
