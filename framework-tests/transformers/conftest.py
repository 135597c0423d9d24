"""Models and a tokenizer that are made, not downloaded, and a Trainer that takes a second."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from subprocess import CompletedProcess

    from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast, Trainer

SCRIPTS = Path(__file__).with_name("scripts")


@pytest.fixture(scope="session", autouse=True)
def one_thread(environment: None) -> None:
    # Threads cost more than such small models do.
    os.environ["OMP_NUM_THREADS"] = "1"


@pytest.fixture
def run_training(run_script: Callable[..., CompletedProcess[str]]) -> Callable[..., CompletedProcess[str]]:
    """Run one of the scripts, which must succeed."""

    def run_training(name: str, *arguments: str, **overrides: str | None) -> CompletedProcess[str]:
        result = run_script((SCRIPTS / name).read_text(encoding="utf-8"), *arguments, timeout=120, **overrides)
        assert result.returncode == 0, result.stderr
        return result

    return run_training


@pytest.fixture
def gpt2() -> GPT2LMHeadModel:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=2, n_head=2))


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[PAD]": 1, "yes": 2, "no": 3}, unk_token="[UNK]"))  # noqa: S106
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")  # noqa: S106


@pytest.fixture
def make_trainer(tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    """Make a Trainer that saves a checkpoint in ``run`` at each of its two steps."""
    import torch
    from transformers import Trainer, TrainingArguments

    def make_trainer(model: Any, callbacks: Any = None, **arguments: Any) -> Trainer:
        data = [{"input_ids": torch.arange(index, index + 8), "labels": torch.arange(8)} for index in range(4)]
        given = {"max_steps": 2, "save_steps": 1, "use_cpu": True, "report_to": [], "disable_tqdm": True} | arguments
        settings = TrainingArguments(str(tmp_path / "run"), **given)
        return Trainer(model=model, args=settings, train_dataset=data, callbacks=callbacks)

    return make_trainer
