"""A training in Rust with TensorFlow: what it keeps is signed, and nothing else is there that was not without us."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
from model_signing_autosign import VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
UPSTREAM = ROOT / "build/upstream/bin/model_signing"
FEATURES = "tensorflow-runtime"
KEPT = ["ckpt-4.index", "ckpt-5.index", "model"]


@pytest.fixture(scope="session")
def tensorflow(settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The settings, with the library of the Python package where the crate looks for it, by the name it looks for."""
    package = importlib.util.find_spec("tensorflow")
    assert package
    assert package.submodule_search_locations
    libraries = Path(package.submodule_search_locations[0])
    folder = tmp_path_factory.mktemp("tensorflow")
    (folder / "libtensorflow.so").symlink_to(libraries / "libtensorflow_cc.so.2")
    (folder / "libtensorflow_framework.so.2").symlink_to(libraries / "libtensorflow_framework.so.2")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "TF_ENABLE_ONEDNN_OPTS": "0"}
    # Sums in the same order each time.
    return settings | quiet | {"TENSORFLOW_DIR": str(folder), "TF_NUM_INTRAOP_THREADS": "1"}


@pytest.fixture(scope="session")
def train(tensorflow: dict[str, str], digits: Path, rust_example: Callable[[str, str], str]) -> Callable[..., str]:
    """Run the example and return what it prints."""
    program = rust_example("train_tensorflow", FEATURES)

    def train(folder: Path, epochs: int, **overrides: str) -> str:
        run = subprocess.run(
            [program, digits, folder, str(epochs)],
            env=tensorflow | {f"MODEL_SIGNING_{name}": value for name, value in overrides.items()},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout

    return train


def test_the_tests_of_the_crate(tensorflow: dict[str, str]) -> None:
    command = [
        "cargo",
        "test",
        "--quiet",
        "--package",
        "autosign-hooks",
        "--features",
        FEATURES,
        "--test",
        "tensorflow",
    ]
    run = subprocess.run(command, cwd=ROOT, env=tensorflow, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_training(train: Callable[..., str], keys: Any, tmp_path: Path) -> None:
    plain, signed = tmp_path / "plain", tmp_path / "signed"
    whole = train(plain, 5, MODE="disabled")
    first = train(signed, 3)
    listed = ["$ ls tensorflow", *sorted(path.name for path in signed.iterdir()), "$ "]
    assert "\n".join(listed) in (ROOT / "docs/guide/rust.md").read_text(encoding="utf-8")
    resumed = train(signed, 5)
    assert first + resumed.split("\n", 1)[1] == whole
    assert resumed.startswith(f"resumed from {signed}/ckpt-3\n")

    files = {path.relative_to(signed): path for path in signed.rglob("*") if path.is_file()}
    signatures = {path for path in files if path.suffix == ".sig"}
    assert {str(path) for path in signatures} == {"ckpt-4.index.sig", "ckpt-5.index.sig", "model/model.sig"}
    assert files.keys() - signatures == {path.relative_to(plain) for path in plain.rglob("*") if path.is_file()}
    # Its maps are written in another order each time.
    for file in files.keys() - signatures - {Path("model/saved_model.pb")}:
        assert files[file].read_bytes() == (plain / file).read_bytes(), file

    def verified_by_upstream(model: Path) -> bool:
        options = [model, "--signature", model / "model.sig"]
        if not model.is_dir():  # it knows no group of files, but a folder that holds them and more
            options = [signed, "--signature", f"{model}.sig", "--ignore_unsigned_files"]
        command = [UPSTREAM, "verify", "key", *options, "--public_key", keys.public]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    for name, data in zip(KEPT, ("ckpt-4", "ckpt-5", "model/variables/variables"), strict=True):
        shard = signed / f"{data}.data-00000-of-00001"
        covered = model_signing_autosign.verify(signed / name, public_key=keys.public)
        assert shard.name in {Path(file).name for file in covered}
        assert verified_by_upstream(signed / name)

        content = shard.read_bytes()
        shard.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(VerificationError, match=shard.name):
            model_signing_autosign.verify(signed / name, public_key=keys.public)
    assert not verified_by_upstream(signed / "ckpt-5.index")
