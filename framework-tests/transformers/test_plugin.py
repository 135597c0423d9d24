"""AutosignCallback, in one process: with the hooks off it does their work, with them on it changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign.plugins.transformers import AutosignCallback
from transformers import TrainerControl, TrainerState, TrainingArguments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType


@pytest.mark.parametrize("hooks", [True, False], ids=["hooks", "none"])
@pytest.mark.parametrize("form", [AutosignCallback, AutosignCallback()], ids=["class", "instance"])
def test_checkpoints(
    hooks: bool,
    form: Any,
    make_trainer: Callable[..., Any],
    gpt2: Any,
    autosign: ModuleType,
    signatures: Callable[[], list[str]],
    is_signed: Callable[[Path], bool],
    annotations_of: Callable[[Path], dict[str, Any]],
    tmp_path: Path,
) -> None:
    if not hooks:
        autosign.disable()
    make_trainer(gpt2, callbacks=[form]).train()
    assert signatures() == ["run/checkpoint-1/model.sig", "run/checkpoint-2/model.sig"]
    for step in (1, 2):
        assert is_signed(tmp_path / "run" / f"checkpoint-{step}")
        assert annotations_of(tmp_path / "run" / f"checkpoint-{step}")["step"] == step


def test_trial_of_a_search(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    for trial in ("run-0", "run-1"):
        (tmp_path / trial / "checkpoint-5").mkdir(parents=True)
        (tmp_path / trial / "checkpoint-5" / "weights").write_bytes(b"weights")
        AutosignCallback().on_save(TrainingArguments(str(tmp_path)), TrainerState(global_step=5), TrainerControl())
        assert signatures()[-1] == f"{trial}/checkpoint-5/model.sig"
    assert len(signatures()) == 2


def test_not_the_process_that_saves(
    tmp_path: Path, signatures: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / "weights").write_bytes(b"weights")
    monkeypatch.setattr(TrainingArguments, "should_save", False)
    AutosignCallback().on_save(TrainingArguments(str(tmp_path)), TrainerState(global_step=5), TrainerControl())
    assert signatures() == []
