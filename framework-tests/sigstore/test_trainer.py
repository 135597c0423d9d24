"""A Trainer that knows nothing of signing, as a pod runs it: its token is replaced while it trains."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = Path(sys.executable).with_name("model-signing")
SCRIPT = Path(__file__).parents[1] / "launcher/scripts/trainer.py"
TRAINER = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer"


def test_a_trainer_whose_token_is_rotated(
    stack: Any, settings: dict[str, str], tmp_path: Path, run: Callable[..., str]
) -> None:
    token = tmp_path / "token"
    ended = threading.Event()
    tokens = 0

    def rotate() -> None:
        nonlocal tokens
        while True:
            new = token.with_suffix(".new")
            new.write_text(stack.token("kubernetes"))
            new.rename(token)  # as the kubelet does it
            tokens += 1
            if ended.wait(0.3):
                break

    rotating = threading.Thread(target=rotate)
    rotating.start()
    environment = settings | {
        "MODEL_SIGNING_IDENTITY_TOKEN_FILE": str(token),
        "MODEL_SIGNING_TRUST_CONFIG": str(stack.trust_config),
        "MODEL_SIGNING_SPOOL": str(tmp_path / "spool"),
    }
    del environment["MODEL_SIGNING_PRIVATE_KEY"]
    try:
        command = [OURS, "run", "--", sys.executable, SCRIPT, "run"]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=240
        )
    finally:
        ended.set()
        rotating.join()
    assert ran.returncode == 0, ran.stderr
    assert "eyJ" not in ran.stdout + ran.stderr
    assert tokens > 2
    kept = [tmp_path / name for name in ("run-final", "run/checkpoint-3", "run/checkpoint-4")]
    assert set(tmp_path.rglob("*.sig")) == {model / "model.sig" for model in kept}
    assert sorted(os.listdir(tmp_path / "run")) == ["checkpoint-3", "checkpoint-4"]
    expected = ["--identity", TRAINER, "--identity-provider", stack.provider("kubernetes")]
    for model in kept:
        said = run(OURS, "verify", model, *expected, "--trust-config", stack.trust_config)
        assert "Verification succeeded" in said
    (kept[0] / "config.json").write_text("{}")
    run(OURS, "verify", kept[0], *expected, "--trust-config", stack.trust_config, code=1)
