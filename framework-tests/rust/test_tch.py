"""A training in Rust with tch: what it keeps is signed, and nothing else is there that was not without us."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
from model_signing_autosign import VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
# Sums in the same order each time.
LIBRARIES = {"LD_LIBRARY_PATH": str(ROOT / "build/rust/torch/torch/lib"), "OMP_NUM_THREADS": "1"}
KEPT = [f"epoch-{epoch}.{kind}" for epoch in (4, 5) for kind in ("ot", "safetensors")]


@pytest.mark.parametrize("which", [("--test", "tch"), ("--doc",)])
def test_the_tests_of_the_crate(which: tuple[str, ...]) -> None:
    command = ["cargo", "test", "--quiet", "--package", "autosign-hooks", "--features", "safetensors,tch", *which]
    environment = os.environ | LIBRARIES | {"LIBTORCH": str(ROOT / "build/rust/libtorch")}
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_training(
    rust_example: Callable[[str, str], str],
    settings: dict[str, str],
    digits: Path,
    tmp_path: Path,
    keys: Any,
    upstream: Any,
) -> None:
    program = rust_example("train_tch", "safetensors,tch")

    def train(folder: Path, epochs: int, mode: str) -> str:
        environment = settings | LIBRARIES | {"MODEL_SIGNING_MODE": mode}
        command = [program, digits, folder, str(epochs)]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    plain, signed = tmp_path / "plain", tmp_path / "signed"
    for epochs in (3, 5):
        assert train(plain, epochs, "disabled") == train(signed, epochs, "background")
    assert sorted(os.listdir(plain)) == KEPT
    assert sorted(os.listdir(signed)) == sorted(KEPT + [f"{name}.sig" for name in KEPT])

    def verified_by_upstream(name: str) -> bool:
        # It knows files only as a folder that holds them.
        options = ["--signature", signed / f"{name}.sig", "--public_key", keys.public, "--ignore_unsigned_files"]
        code: int = upstream("verify", "key", signed, *options).returncode
        return code == 0

    for name in KEPT:
        content = (signed / name).read_bytes()
        if name.endswith(".safetensors"):  # in the other format tensors are in no order
            assert content == (plain / name).read_bytes(), name
        assert model_signing_autosign.verify(signed / name, public_key=keys.public) == [name]
        assert verified_by_upstream(name)
        (signed / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(VerificationError, match=name):
            model_signing_autosign.verify(signed / name, public_key=keys.public)
    assert not verified_by_upstream(KEPT[0])
