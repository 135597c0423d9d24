"""A Trainer in two processes: a checkpoint is signed once, when both have written their part of it."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
import torch
from model_signing_autosign import _ranks, _session

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

LAUNCH = """
    import sys
    from torch.distributed.run import main

    main(["--standalone", "--nproc-per-node=2", *sys.argv[1:]])
"""
RANKS = str(Path(__file__).with_name("scripts") / "ranks.py")
KEYS = {0: "checkpoint-1/1/0", 1: "checkpoint-1/1/1"}


def test_two_ranks(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any) -> None:
    result = run_script(LAUNCH, RANKS, timeout=150)
    assert result.returncode == 0, result.stderr
    checkpoints = [
        tmp_path / how / "run" / f"checkpoint-{step}" for how in ("both", "hooks", "plugin") for step in (2, 3)
    ]
    models = [tmp_path / how / "model" for how in ("alone", "both", "hooks")]  # a callback is not told of them
    assert set(tmp_path.rglob("*.sig")) == {folder / "model.sig" for folder in checkpoints + models}
    for folder in checkpoints:
        names = model_signing_autosign.verify(folder, public_key=keys.public)
        assert {"model.safetensors", "rng_state_0.pth", "rng_state_1.pth"} < set(names)
    assert all(model_signing_autosign.verify(folder, public_key=keys.public) for folder in models)
    # Where one rank does not sign, the training goes on, and the user is told.
    for step in (2, 3):
        folder = tmp_path / "alone" / "run" / f"checkpoint-{step}"
        assert f"{folder} is unsigned: 1 s after it was saved, nothing was heard of rank 1\n" in result.stderr


@pytest.fixture
def checkpoint(tmp_path: Path, autosign: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_ranks, "_TIMEOUT", 0.5)
    (tmp_path / "checkpoint-1").mkdir()
    (tmp_path / "checkpoint-1" / "weights").write_bytes(b"weights")
    return tmp_path / "checkpoint-1"


def test_when_all_have_left(checkpoint: Path, is_signed: Callable[[Path], bool]) -> None:
    store = torch.distributed.HashStore()
    for key in KEYS.values():
        store.set(key, "left")
    _ranks._gather(store, KEYS, str(checkpoint), "transformers", ())
    assert is_signed(checkpoint)


def test_missing_rank(checkpoint: Path, is_signed: Callable[[Path], bool], capfd: pytest.CaptureFixture[str]) -> None:
    store = torch.distributed.HashStore()
    store.set(KEYS[1], "left")
    _ranks._gather(store, KEYS, str(checkpoint), "transformers", ())
    assert not is_signed(checkpoint)
    assert "nothing was heard of rank 0" in capfd.readouterr().err


def test_store_that_fails(checkpoint: Path, is_signed: Callable[[Path], bool]) -> None:
    class Broken(torch.distributed.HashStore):  # type: ignore[misc]
        def check(self, keys: list[str]) -> bool:
            raise torch.distributed.DistNetworkError

    _ranks._gather(Broken(), KEYS, str(checkpoint), "transformers", ())
    assert not is_signed(checkpoint)


def test_wait_waits_for_ranks_too(checkpoint: Path, autosign: Any) -> None:
    store = torch.distributed.HashStore()
    store.set(KEYS[0], "left")
    arguments = store, KEYS, str(checkpoint), "transformers", ()
    _session.saved_by(threading.Thread(target=_ranks._gather, args=arguments, daemon=True))
    threading.Timer(0.2, lambda: store.set(KEYS[1], "left")).start()
    assert autosign.wait(checkpoint, timeout=30) == checkpoint / "model.sig"


def test_end_of_a_process_that_still_waits(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    script = """
        import threading, time
        from model_signing_autosign import _session

        _session._LAST_WAIT = 0.2
        _session.saved_by(threading.Thread(target=time.sleep, args=(60,), name="the wait for X", daemon=True))
    """
    result = run_script(script, timeout=20)
    assert result.returncode == 0
    assert (
        result.stderr
        == "model-signing: the process ends, and the wait for X is not over: that checkpoint is unsigned\n"
    )
