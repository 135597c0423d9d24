"""A trainer in Rust signs as one in Python: with a token and a trust config in its environment, and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = Path(sys.executable).with_name("model-signing")
LIBRARIES = Path(__file__).parents[2] / "build/rust/torch/torch/lib"
TRAINER = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer"


def test_a_training_with_tch(
    stack: Any, run: Callable[..., str], rust_example: Callable[[str, str], str], digits: Path, tmp_path: Path
) -> None:
    program = rust_example("train_tch", "safetensors,tch")
    settings = {
        "MODEL_SIGNING_MODE": "background",
        "MODEL_SIGNING_IDENTITY_TOKEN_FILE": stack.token_file,
        "MODEL_SIGNING_TRUST_CONFIG": stack.trust_config,
        "MODEL_SIGNING_DRAIN_TIMEOUT": "120",
    }
    said = run(program, digits, "run", "3", cwd=tmp_path, LD_LIBRARY_PATH=LIBRARIES, **settings)
    assert "eyJ" not in said
    kept = [f"epoch-{epoch}.{kind}" for epoch in (2, 3) for kind in ("ot", "safetensors")]
    assert sorted(os.listdir(tmp_path / "run")) == sorted(kept + [f"{name}.sig" for name in kept])
    expected = ["--identity", TRAINER, "--identity-provider", stack.provider("kubernetes")]
    verify = [OURS, "verify", "--trust-config", stack.trust_config, *expected]
    for name in kept:
        assert "Verification succeeded" in run(*verify, tmp_path / "run" / name)
    (tmp_path / "run" / kept[0]).write_bytes(b"other weights")
    run(*verify, tmp_path / "run" / kept[0], code=1)
