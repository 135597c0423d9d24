"""Processes with everything in common but what they sign: number, count, folder. So it is in pods, where each is 1."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import model_signing_autosign

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Keys

    from .conftest import FaultyFolder

PROCESSES = 4
MODELS = 100

SIGN = """
import os, sys
import model_signing_autosign as autosign
own, count, key = sys.argv[1:]
assert os.getpid() == 1
for n in range(int(count)):
    with open(f"{own}-{n}", "w") as model:
        model.write(f"{own} {n}")
for _ in range(2):  # the second time there is a signature to be replaced
    for n in range(int(count)):
        autosign.sign(f"{own}-{n}", private_key=key)
"""


def signed(folder: Path, keys: Keys, models: int) -> None:
    isolated = ["unshare", "--pid", "--fork", sys.executable, "-c", SIGN]
    commands = [[*isolated, f"{own}", f"{models}", str(keys.private)] for own in range(PROCESSES)]
    started = [subprocess.Popen(command, cwd=folder) for command in commands]
    assert [process.wait(120) for process in started] == [0] * PROCESSES
    names = {f"{own}-{n}" for own in range(PROCESSES) for n in range(models)}
    for name in names:
        assert model_signing_autosign.verify(folder / name, public_key=keys.public) == [name]
    assert {path.name for path in folder.iterdir()} == names | {f"{name}.sig" for name in names}


def test_each_signs_its_own(tmp_path: Path, keys: Keys) -> None:
    signed(tmp_path, keys, MODELS)


def test_so_it_is_where_every_signature_has_a_temporary_name(faulty: FaultyFolder, keys: Keys) -> None:
    faulty.tell("link=ENOSYS")
    signed(faulty.path, keys, MODELS // 4)
