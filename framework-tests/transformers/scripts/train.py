"""Train with rotation and the best model, resume from the last checkpoint, and save the model; signed if set so."""

import sys
from pathlib import Path

import torch
from model_signing import autosign
from tokenizers import Tokenizer, models
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint


def trainer(folder: str, steps: int) -> Trainer:
    set_seed(1)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForSequenceClassification(BertConfig(vocab_size=64, max_position_embeddings=16, **shape))
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1}, unk_token="[UNK]"))  # noqa: S106
    data = [{"input_ids": torch.arange(index, index + 8), "labels": index % 2} for index in range(16)]
    arguments = TrainingArguments(
        folder,
        max_steps=steps,
        save_steps=1,
        eval_strategy="steps",
        eval_steps=1,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="chosen",
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        learning_rate=0.01,
    )
    chosen = iter([1.0, 9.0, 2.0, 3.0, 4.0, 5.0])  # the second checkpoint is the best
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=data[:8],
        processing_class=PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]"),  # noqa: S106
        compute_metrics=lambda _: {"chosen": next(chosen)},
    )


run, final = sys.argv[1:]
trainer(run, 4).train()
autosign.flush(timeout=30)
kept = sorted(path.name for path in Path(run).iterdir())
assert kept == ["checkpoint-2", "checkpoint-4"], kept

resumed = trainer(run, 6)
resumed.train(resume_from_checkpoint=get_last_checkpoint(run))
assert resumed.state.global_step == 6
assert Path(resumed.state.best_model_checkpoint).name == "checkpoint-2"
resumed.save_model(final)
BertForSequenceClassification.from_pretrained(final)
PreTrainedTokenizerFast.from_pretrained(final)
