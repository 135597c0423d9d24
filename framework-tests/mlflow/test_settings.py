"""What needs a process of its own: orders, and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    import os, sys, time
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
    if "model" in sys.argv:
        model = mlflow.pytorch.log_model(
            torch.nn.Linear(2, 2), name="m", serialization_format="pickle", pip_requirements=["torch"]
        )
        print("model.sig" in os.listdir(model.artifact_path.removeprefix("file://")))
"""


def test_not_without_being_asked(run_script: Run) -> None:
    """Because it delays the program."""
    result = run_script(LOG, HOOKS="auto")
    assert (result.returncode, result.stdout) == (0, "True\n['model.pt']\n"), result.stderr


def test_offline_there_is_no_signature_yet(run_script: Run) -> None:
    result = run_script(LOG, "model", MODE="offline")
    assert (result.returncode, result.stdout) == (0, "True\n['model.pt']\nFalse\n"), result.stderr
    assert "any longer" not in result.stderr, "nor is it waited for"


FAILED = """
    import os, shutil, sys, time
    import model_signing.autosign as autosign
    import mlflow, torch

    mlflow.set_tracking_uri("file:" + os.path.abspath("store"))
    torch.save({}, "model.pt")
    assert autosign.flush(timeout=30).failed == 1
    shutil.copy(sys.argv[1], "key.pem")  # from now on it would go well
    for _ in range(3):
        mlflow.log_dict({}, "plain.json")
        time.sleep(0.2)
    assert (autosign.status().failed, autosign.status().signed) == (1, 0)
    assert autosign.flush(timeout=30).signed == 1
"""


def test_uploads_try_nothing_again(run_script: Run, tmp_path: Path, keys: Any) -> None:
    """What could not be signed is tried again when somebody waits for it, not whenever anything is logged."""
    result = run_script(FAILED, str(keys.private), PRIVATE_KEY=str(tmp_path / "key.pem"))
    assert result.returncode == 0, result.stderr
