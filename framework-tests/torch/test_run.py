"""A training that stops and resumes: its checkpoints in their order, and no older one in the place of a newer."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

TRAINING = """
    import sys
    import torch
    import model_signing.autosign as autosign

    model = torch.nn.Linear(2, 2)
    for step in map(int, sys.argv[1:]):
        autosign.set_step(step)
        torch.save({"step": step, "model": model.state_dict()}, f"{step}.pt")
        assert autosign.wait(f"{step}.pt", timeout=30).exists()
    autosign.set_step(None)
    torch.save(model.state_dict(), "final.pt")
"""


def test_an_older_checkpoint_in_the_place_of_a_newer(
    run_script: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    keys: Any,
    annotations_of: Callable[[Path], dict[str, Any]],
) -> None:
    for steps in (("100", "200"), ("300",)):
        result = run_script(TRAINING, *steps, RUN="tune-7")
        assert result.returncode == 0, result.stderr
    said = [annotations_of(tmp_path / f"{name}.pt") for name in (100, 200, 300, "final")]
    assert [one.get("step") for one in said] == [100, 200, 300, None]
    assert {one["run"] for one in said} == {"tune-7"}
    assert "parent" not in said[0]
    assert said[0]["sequence"] < said[1]["sequence"] < said[2]["sequence"] < said[3]["sequence"]

    model, seen = tmp_path / "200.pt", tmp_path / "state" / "seen.json"
    seen.parent.mkdir()
    key, asked = {"public_key": keys.public}, {"run": "tune-7", "min_step": 200, "max_age": 3600.0}
    assert model_signing_autosign.verify(model, **key, **asked, last_seen=seen, expect_name="200.pt") == ["200.pt"]
    refusals: dict[str, dict[str, Any]] = {
        "tune-8": {"run": "tune-8"},
        "201 is the least": {"min_step": 201},
        "is the earliest": {"max_age": -1.0},
    }
    for message, other in refusals.items():
        with pytest.raises(model_signing_autosign.VerificationError, match=message):
            model_signing_autosign.verify(model, **key, **other)

    shutil.copy(tmp_path / "100.pt", model)
    shutil.copy(tmp_path / "100.pt.sig", tmp_path / "200.pt.sig")
    with pytest.raises(model_signing_autosign.VerificationError, match=r"100\.pt"):
        model_signing_autosign.verify(model, **key)
    model.unlink()
    with pytest.raises(model_signing_autosign.VerificationError, match="verified already"):
        model_signing_autosign.verify(tmp_path / "100.pt", **key, last_seen=seen)
    with pytest.raises(model_signing_autosign.VerificationError, match="100, and 200 is the least"):
        model_signing_autosign.verify(tmp_path / "100.pt", **key, **asked)


def test_a_policy(tmp_path: Path, keys: Any) -> None:
    model, policy = tmp_path / "model.bin", tmp_path / "policy.toml"
    model.write_bytes(b"weights")
    model_signing_autosign.sign(model, private_key=keys.private)
    policy.write_text(f"[[allow]]\nmodels = ['*.bin']\npublic_key = '{keys.public}'\n")
    assert model_signing_autosign.verify(model, policy=policy) == ["model.bin"]
    for other in ({"public_key": keys.public}, {"run": "tune-7"}, {"portable": True}):
        with pytest.raises(TypeError, match="goes signature alone"):
            model_signing_autosign.verify(model, policy=policy, **other)
    policy.write_text(f"[[allow]]\nmodels = ['*.pt']\npublic_key = '{keys.public}'\n")
    with pytest.raises(model_signing_autosign.VerificationError, match="says of nobody"):
        model_signing_autosign.verify(model, policy=policy)


def test_a_signature_of_another_tool_says_no_step(tmp_path: Path, keys: Any) -> None:
    model = tmp_path / "model.bin"
    model.write_bytes(b"weights")
    model_signing_autosign.sign(model, private_key=keys.private)
    assert model_signing_autosign.verify(model, public_key=keys.public)
    refusals: dict[str, dict[str, Any]] = {
        "run is missing": {"run": "any"},
        "step is missing": {"min_step": 0},
        "time is missing": {"max_age": 60.0},
        "names no run": {"last_seen": tmp_path / "seen.json"},
    }
    for message, asked in refusals.items():
        with pytest.raises(model_signing_autosign.VerificationError, match=message):
            model_signing_autosign.verify(model, public_key=keys.public, **asked)
