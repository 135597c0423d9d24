"""Checkpoints of a Trainer: one signature each, and otherwise what a run without signing leaves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
from transformers.trainer_jit_checkpoint import CheckpointManager
from transformers.trainer_utils import HPSearchBackend, get_last_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess
    from types import ModuleType

# They contain dates and durations.
NEVER_THE_SAME = {"trainer_state.json", "training_args.bin"}


def content(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".sig")
    return {str(path.relative_to(folder)): b"" if path.name in NEVER_THE_SAME else path.read_bytes() for path in files}


def test_training_with_rotation_and_resume(
    run_training: Callable[..., CompletedProcess[str]], tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    for mode, name in (("background", "signed"), ("disabled", "silent")):
        run_training("train.py", f"{name}/run", f"{name}/model", MODE=mode)
    assert content(tmp_path / "signed") == content(tmp_path / "silent")
    checkpoints = [tmp_path / "signed" / name for name in ("model", "run/checkpoint-2", "run/checkpoint-6")]
    assert sorted(tmp_path.rglob("*.sig")) == [checkpoint / "model.sig" for checkpoint in checkpoints]
    assert all(is_signed(checkpoint) for checkpoint in checkpoints)
    assert sorted(path.name for path in (tmp_path / "signed" / "run").iterdir()) == ["checkpoint-2", "checkpoint-6"]


def test_all_of_a_checkpoint_is_signed(
    make_trainer: Callable[..., Any],
    gpt2: Any,
    autosign: ModuleType,
    tmp_path: Path,
    keys: Any,
    annotations_of: Callable[[Path], dict[str, Any]],
) -> None:
    before = autosign.flush().signed
    make_trainer(gpt2).train()
    assert autosign.flush(timeout=30).signed == before + 2
    for step in (1, 2):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        names = sorted(path.name for path in folder.iterdir() if path.name != "model.sig")
        assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "trainer_state.json"} < set(names)
        assert autosign.verify(folder, public_key=keys.public, min_step=step) == names
        assert annotations_of(folder)["step"] == step
    assert get_last_checkpoint(str(tmp_path / "run")) == str(tmp_path / "run" / "checkpoint-2")


@pytest.mark.usefixtures("autosign")
def test_checkpoint_of_a_trial(
    make_trainer: Callable[..., Any], gpt2: Any, signatures: Callable[[], list[str]]
) -> None:
    trainer = make_trainer(gpt2, save_only_model=True)
    trainer.hp_search_backend = HPSearchBackend.OPTUNA
    trainer.hp_name = None
    trainer._save_checkpoint(trainer.model, SimpleNamespace(number=3))
    assert signatures() == ["run/run-3/checkpoint-0/model.sig"]


@pytest.mark.usefixtures("autosign")
def test_checkpoint_for_ray(
    make_trainer: Callable[..., Any], gpt2: Any, signatures: Callable[[], list[str]], tmp_path: Path
) -> None:
    trainer = make_trainer(gpt2)
    trainer.create_optimizer_and_scheduler(2)
    trainer._tune_save_checkpoint(checkpoint_dir=str(tmp_path / "tune"))
    assert signatures() == ["tune/checkpoint-0/model.sig"]


@pytest.mark.usefixtures("autosign")
def test_checkpoint_at_sigterm(
    make_trainer: Callable[..., Any], gpt2: Any, is_signed: Callable[[Path], bool], tmp_path: Path
) -> None:
    """The mark of an incomplete checkpoint is no part of what is signed."""
    CheckpointManager(make_trainer(gpt2, save_only_model=True)).execute_jit_checkpoint()
    assert is_signed(tmp_path / "run" / "checkpoint-0")


@pytest.mark.usefixtures("autosign")
def test_save_model(
    make_trainer: Callable[..., Any], gpt2: Any, signatures: Callable[[], list[str]], tmp_path: Path
) -> None:
    trainer = make_trainer(gpt2)
    trainer.save_model(tmp_path / "elsewhere")
    trainer.save_model(output_dir=str(tmp_path / "named"))
    assert signatures() == ["elsewhere/model.sig", "named/model.sig"]
    trainer.save_model()
    assert signatures() == ["elsewhere/model.sig", "named/model.sig", "run/model.sig"]


@pytest.mark.usefixtures("autosign")
def test_what_a_trainer_adds_to_a_saved_model(
    make_trainer: Callable[..., Any], gpt2: Any, is_signed: Callable[[Path], bool], tmp_path: Path
) -> None:
    trainer = make_trainer(gpt2)
    trainer.save_metrics("eval", {"loss": 1.0})
    trainer.save_state()
    assert not is_signed(tmp_path / "run")  # no model there yet
    trainer.save_model()
    assert is_signed(tmp_path / "run")
    trainer.save_metrics("train", {"loss": 0.5})
    trainer.save_state()
    trainer.create_model_card(model_name="tiny")
    assert (tmp_path / "run" / "README.md").exists()
    assert is_signed(tmp_path / "run")


@pytest.mark.usefixtures("autosign")
def test_failing_checkpoint(
    make_trainer: Callable[..., Any], gpt2: Any, signatures: Callable[[], list[str]], tmp_path: Path
) -> None:
    trainer = make_trainer(gpt2)  # has no optimizer before it trains
    outcomes = []
    for _ in range(2):
        with pytest.raises(AttributeError) as caught:
            trainer._save_checkpoint(trainer.model, trial=None)
        outcomes.append(str(caught.value))
        model_signing_autosign.disable()
    assert outcomes[0] == outcomes[1]
    assert (tmp_path / "run" / "checkpoint-0" / "model.safetensors").exists()
    assert signatures() == []
