"""What needs a process of its own: orders, settings, and an upload that waits in vain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

ORDERS = """
    import os, sys
    import model_signing_autosign as autosign

    def load():
        global mlflow, torch, log_artifact, Model
        import mlflow, torch
        from mlflow import log_artifact
        from mlflow.models import Model
        mlflow.set_tracking_uri("file:" + os.path.abspath("store"))

    class Flavor:
        @staticmethod
        def save_model(path, mlflow_model, **options):
            os.mkdir(path)
            torch.save({}, path + "/weights.pt")
            mlflow_model.save(path + "/MLmodel")

    def log(number):
        torch.save({}, f"{number}.pt")
        with mlflow.start_run() as run:
            log_artifact(f"{number}.pt", "a")
            model = Model.log(None, Flavor, name="m")
        found = set(os.listdir(f"store/0/{run.info.run_id}/artifacts/a"))
        assert found == {f"{number}.pt"} | ({f"{number}.pt.sig"} if enabled else set()), found
        found = set(os.listdir(model.artifact_path.removeprefix("file://")))
        assert found == {"MLmodel", "weights.pt"} | ({"model.sig"} if enabled else set()), found

    enabled = False
    for number, step in enumerate(sys.argv[1:]):
        if step == "import":
            load()
        elif step == "log":
            log(number)
        else:
            getattr(autosign, step)()
            enabled = step == "enable"
    print("ok")
"""


@pytest.mark.parametrize("steps", ["enable import log disable log enable log", "import enable disable enable log"])
def test_orders(steps: str, run_script: Run) -> None:
    result = run_script(ORDERS, *steps.split())
    assert result.stdout == "ok\n", result.stderr


LOG = """
    import os, time
    import model_signing.autosign as autosign
    from model_signing_autosign import _uploads
    import mlflow, torch

    mlflow.set_tracking_uri("file:" + os.path.abspath("store"))
    _uploads._LONGEST_WAIT = 0.5
    torch.save({}, "model.pt")
    begun = time.monotonic()
    with mlflow.start_run() as run:
        mlflow.log_artifact("model.pt")
    print(time.monotonic() - begun < 5)
    print(os.listdir(f"store/0/{run.info.run_id}/artifacts"))
"""


def test_not_without_being_asked(run_script: Run) -> None:
    """Because it delays the program."""
    result = run_script(LOG, HOOKS="auto")
    assert (result.returncode, result.stdout) == (0, "True\n['model.pt']\n"), result.stderr


def test_a_signature_that_does_not_come(run_script: Run, tmp_path: Path) -> None:
    waiting = {"PRIVATE_KEY": None, "IDENTITY_TOKEN_COMMAND": "sleep 8", "DRAIN_TIMEOUT": "0"}
    result = run_script(LOG, HOOKS="torch,mlflow", CREDENTIALS="exec", **waiting)
    assert (result.returncode, result.stdout) == (0, "True\n['model.pt']\n"), result.stderr
    model = tmp_path / "model.pt"
    assert f"{model} is uploaded without waiting any longer for the signature of {model}" in result.stderr


def test_offline_there_is_no_signature_yet(run_script: Run) -> None:
    result = run_script(LOG, MODE="offline")
    assert (result.returncode, result.stdout) == (0, "True\n['model.pt']\n"), result.stderr
    assert "any longer" not in result.stderr
