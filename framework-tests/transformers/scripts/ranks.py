"""Train in two processes, of which the second one writes its part of each checkpoint late.

Four times: signed by the hooks, by the callback, by both, and by the hooks in the first process alone.
"""

import os
import time

import torch
from model_signing import autosign
from model_signing_autosign import _ranks
from model_signing_autosign.plugins.transformers import AutosignCallback
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed

RANK = int(os.environ["RANK"])


class Late(Trainer):
    def _save_rng_state(self, output_dir: str) -> None:
        time.sleep(RANK * 0.5)
        super()._save_rng_state(output_dir)


def train(folder: str, *callbacks: AutosignCallback) -> None:
    set_seed(0)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2))
    data = [{"input_ids": torch.arange(index, index + 8), "labels": torch.arange(8)} for index in range(4)]
    arguments = TrainingArguments(
        f"{folder}/run",
        max_steps=3,
        save_steps=1,
        save_total_limit=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        ddp_backend="gloo",
    )
    trainer = Late(model=model, args=arguments, train_dataset=data, callbacks=list(callbacks))
    trainer.train()
    trainer.save_model(f"{folder}/model")
    assert autosign.flush(timeout=30).pending == 0


train("hooks")
autosign.disable()
train("plugin", AutosignCallback())
autosign.enable()
train("both", AutosignCallback())
_ranks._TIMEOUT = 1.0
if RANK == 1:
    autosign.disable()
train("alone")
