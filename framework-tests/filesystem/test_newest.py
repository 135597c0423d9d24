"""The eight usual ways in which scripts find the checkpoint to resume from: no signature is in theirs."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from conftest import Keys

    Run = Callable[..., CompletedProcess[str]]


def newest_by_ctime(folder: str) -> str:
    return max(glob.glob(folder + "/*"), key=os.path.getctime)


def newest_by_mtime(folder: str) -> str:
    return max(glob.glob(folder + "/*"), key=os.path.getmtime)


def last_name(folder: str) -> str:
    return os.path.join(folder, sorted(os.listdir(folder))[-1])


def last_with_model(folder: str) -> str:
    return os.path.join(folder, sorted(name for name in os.listdir(folder) if "model" in name)[-1])


def highest_number(folder: str) -> str:
    def number(path: str) -> int:
        found = re.findall(r"\d+", Path(path).stem)
        return int(found[-1]) if found else -1

    # Of two with the same number the last counts.
    return sorted(sorted(glob.glob(f"{folder}/*")), key=number)[-1]


def last_match(folder: str) -> str:
    return sorted(glob.glob(f"{folder}/*.ckpt*"))[-1]


def sorted_by_mtime(folder: str) -> str:
    return str(sorted(Path(folder).iterdir(), key=lambda path: path.stat().st_mtime)[-1])


def as_in_the_guide_of_keras(folder: str) -> str:
    """https://keras.io/guides/distributed_training_with_tensorflow, `make_or_restore_model`."""
    return max([folder + "/" + name for name in os.listdir(folder)], key=os.path.getctime)


WAYS = {
    way.__name__: way
    for way in (
        newest_by_ctime,
        newest_by_mtime,
        last_name,
        last_with_model,
        highest_number,
        last_match,
        sorted_by_mtime,
        as_in_the_guide_of_keras,
    )
}
# Beside its file a signature has a longer name and a younger change time, which nobody can set.
BESIDE = {"newest_by_mtime", "sorted_by_mtime"}

# 40 MB each: what takes less than a tick of the clock to write has the same time as the folder that is made before.
SAVE = """
import sys
import model_signing.autosign as autosign
import numpy
from safetensors.numpy import save_file

for step in map(int, sys.argv[2:]):
    save_file({"step": numpy.full(5_000_000, step)}, f"{sys.argv[1]}/model-{step}.ckpt")
    autosign.flush()
"""


@pytest.mark.parametrize("steps", [(1,), (1, 2, 3)])
@pytest.mark.parametrize("signature", ["beside", "hidden"])
def test_the_newest_is_the_checkpoint(
    signature: str, steps: tuple[int, ...], run_script: Run, tmp_path: Path, keys: Keys
) -> None:
    import model_signing_autosign

    folder = tmp_path / "runs"
    folder.mkdir()
    ran = run_script(SAVE, str(folder), *map(str, steps), SIGNATURE=signature)
    assert ran.returncode == 0, ran.stderr
    newest = folder / f"model-{steps[-1]}.ckpt"
    for step in steps:
        model_signing_autosign.verify(folder / f"model-{step}.ckpt", public_key=keys.public)
    found = {name for name, way in WAYS.items() if way(str(folder)) == str(newest)}
    assert found == (set(WAYS) if signature == "hidden" else BESIDE)


def test_a_signature_looks_older_than_its_checkpoint(run_script: Run, tmp_path: Path) -> None:
    run_script(SAVE, str(tmp_path), "1")
    model, signature = (tmp_path / name for name in ("model-1.ckpt", "model-1.ckpt.sig"))
    assert signature.stat().st_mtime_ns < model.stat().st_mtime_ns


KERAS = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import model_signing.autosign as autosign
import keras
import numpy

model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
model.compile(loss="mse")
saves = keras.callbacks.ModelCheckpoint(sys.argv[1] + "/ckpt-{epoch}.keras", save_freq="epoch")
model.fit(numpy.zeros((8, 4)), numpy.zeros((8, 2)), epochs=1, verbose=0, callbacks=[saves])
autosign.flush()
"""


def test_keras_resumes_from_its_checkpoint(run_script: Run, tmp_path: Path, keys: Keys) -> None:
    import model_signing_autosign

    folder = tmp_path / "runs"
    folder.mkdir()
    ran = run_script(KERAS, str(folder))
    assert ran.returncode == 0, ran.stderr
    checkpoint = folder / "ckpt-1.keras"
    assert as_in_the_guide_of_keras(str(folder)) == str(checkpoint)
    model_signing_autosign.verify(checkpoint, public_key=keys.public)
    assert (folder / ".signatures/files/ckpt-1.keras.sig").exists()
