"""Fine-tune a small language model with a Trainer, keep the two newest checkpoints, and save the result."""

import sys

import torch
from tokenizers import Tokenizer, models
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast, Trainer, TrainingArguments

folder = sys.argv[1] if len(sys.argv) > 1 else "run"
model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=1, n_head=2))
words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1}, unk_token="[UNK]"))  # noqa: S106
tokens = [torch.arange(index, index + 8) for index in range(16)]
arguments = TrainingArguments(
    folder, max_steps=4, save_steps=1, save_total_limit=2, use_cpu=True, report_to=[], disable_tqdm=True
)
trainer = Trainer(
    model=model,
    args=arguments,
    train_dataset=[{"input_ids": text, "labels": text} for text in tokens],
    processing_class=PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]"),  # noqa: S106
)
trainer.train()
trainer.save_model(f"{folder}-final")
