"""What is logged to MLflow, with signing enabled in this process."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlflow
import mlflow.pytorch
import mlflow.sklearn
import numpy as np
import pytest
import torch
from mlflow.tracking._tracking_service.client import TrackingServiceClient
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")

PICKLED = {"pip_requirements": ["torch"], "serialization_format": "pickle"}  # what it needs is not looked for


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"weights": torch.ones(3)}, path)
    return path


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def download(run: Any, to: Path, path: str = "") -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path, dst_path=str(to)))


@pytest.fixture
def stored(run: Any, tmp_path: Path) -> Callable[[], set[str]]:
    """Name what there is in the artifacts of the run."""
    return lambda: names(Path(run.info.artifact_uri.removeprefix("file://")))


UPLOADS: dict[str, Callable[[str, Any], object]] = {
    "fluent": lambda _, path: mlflow.log_artifact(path, "kept"),
    "keywords": lambda _, path: mlflow.log_artifact(local_path=path, artifact_path="kept"),
    "other run": lambda run, path: mlflow.log_artifact(path, "kept", run_id=run),
    "client": lambda run, path: mlflow.MlflowClient().log_artifact(run, path, "kept"),
    "client, keywords": lambda run, path: mlflow.MlflowClient().log_artifact(
        run_id=run, local_path=path, artifact_path="kept"
    ),
    "Path": lambda _, path: mlflow.log_artifact(Path(path), "kept"),
    "folder": lambda _, path: mlflow.log_artifacts(os.path.dirname(path), "kept"),
    "folder as one": lambda _, path: mlflow.log_artifact(os.path.dirname(path)),
}


@pytest.mark.parametrize("upload", UPLOADS.values(), ids=UPLOADS)
def test_file_that_has_just_been_saved(
    upload: Callable[[str, Any], object],
    run: Any,
    tmp_path: Path,
    autosign: ModuleType,
    keys: Any,
) -> None:
    saved = save(tmp_path / "kept" / "model.pt")
    assert upload(run.info.run_id, str(saved)) is None
    folder = download(run, tmp_path / "down", "kept")
    assert names(folder) == {"model.pt", "model.pt.sig"}
    assert autosign.verify(folder / "model.pt", public_key=keys.public) == ["model.pt"]


def test_saved_under_another_name(
    run: Any, tmp_path: Path, autosign: ModuleType, keys: Any, upstream_verifies: Callable[..., None]
) -> None:
    saved = save(tmp_path / "tmp.pt")
    autosign.wait(saved)
    saved.replace(tmp_path / "best.pt")
    mlflow.log_artifact(str(tmp_path / "best.pt"))
    folder = download(run, tmp_path / "down")
    assert names(folder) == {"best.pt", "best.pt.sig"}
    assert autosign.verify(folder / "best.pt", public_key=keys.public) == ["best.pt"]
    upstream_verifies(folder / "best.pt")


def test_signed_by_hand(run: Any, tmp_path: Path, autosign: ModuleType, keys: Any) -> None:
    (tmp_path / "weights.bin").write_bytes(b"weights")
    autosign.sign(tmp_path / "weights.bin", private_key=keys.private)
    mlflow.log_artifact(str(tmp_path / "weights.bin"), "deep/er")
    assert autosign.verify(download(run, tmp_path / "down") / "deep/er/weights.bin", public_key=keys.public)


def test_nothing_but_our_signatures_goes_along(
    run: Any, tmp_path: Path, autosign: ModuleType, stored: Callable[[], set[str]]
) -> None:
    for name in ("plain.txt", "archive.gz", "archive.gz.sig", "unsigned.pt"):
        (tmp_path / name).write_bytes(b"something")
    with autosign.paused():
        torch.save({}, tmp_path / "unsigned.pt")
    for name in ("plain.txt", "archive.gz", "unsigned.pt"):
        mlflow.log_artifact(str(tmp_path / name))
    mlflow.log_dict({"a": 1}, "a.json")
    assert stored() == {"plain.txt", "archive.gz", "unsigned.pt", "a.json"}


def test_folder_that_is_signed_and_grows(run: Any, tmp_path: Path, autosign: ModuleType, keys: Any) -> None:
    from model_signing_autosign._saving import Scope

    folder = tmp_path / "checkpoint"
    with Scope(folder, "test"):
        save(folder / "a.pt")
    mlflow.log_artifacts(str(folder), "first")
    (folder / "readme.md").write_text("of this process, by itself")
    mlflow.log_artifacts(str(folder), "second")
    down = download(run, tmp_path / "down")
    assert autosign.verify(down / "first", public_key=keys.public) == ["a.pt"]
    assert autosign.verify(down / "second", public_key=keys.public) == ["a.pt", "readme.md"]
    assert names(down / "second") == {"a.pt", "readme.md", "model.sig"}


def test_wrong_calls_raise_as_ever(run: Any, tmp_path: Path, autosign: ModuleType) -> None:
    saved = save(tmp_path / "model.pt")

    def errors() -> list[tuple[type, str]]:
        found = []
        for call in (
            lambda: mlflow.log_artifact(str(tmp_path / "missing.pt")),
            lambda: mlflow.log_artifact(None),
            lambda: mlflow.MlflowClient().log_artifact("no-run", str(saved)),
            lambda: mlflow.log_artifact(str(saved), "../outside"),
            TrackingServiceClient.log_artifact,
            mlflow.models.Model.log,
        ):
            with pytest.raises(Exception, match=r".+") as caught:
                call()
            found.append((caught.type, str(caught.value)))
        return found

    signed = errors()
    autosign.disable()
    assert errors() == signed


def model(kind: str) -> Any:
    if kind == "torch":
        torch.manual_seed(0)
        return torch.nn.Linear(64, 10)
    images, labels = load_digits(return_X_y=True)
    return LogisticRegression(max_iter=20).fit(images[:200] / 16, labels[:200])


def log_model(kind: str, name: str = "digits", **options: Any) -> Any:
    flavor = {"torch": mlflow.pytorch, "sklearn": mlflow.sklearn}[kind]
    return flavor.log_model(model(kind), name=name, **PICKLED, **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["sklearn", "torch"])
def test_model(
    kind: str,
    run: Any,
    tmp_path: Path,
    autosign: ModuleType,
    keys: Any,
    upstream_verifies: Callable[..., None],
    signatures: Callable[[], list[str]],
) -> None:
    example = np.zeros((1, 64), dtype=np.float32)
    before = autosign.flush().signed
    info = log_model(kind, input_example=example, registered_model_name=kind)
    assert autosign.flush().signed == before + 1
    (signature,) = signatures()  # in the store
    assert signature.endswith("artifacts/model.sig")

    autosign.disable()
    silent = log_model(kind, "silent", input_example=example)
    down = Path(mlflow.artifacts.download_artifacts(silent.artifact_path, dst_path=str(tmp_path / "silent")))
    files = names(down)
    assert "MLmodel" in files

    down = Path(mlflow.artifacts.download_artifacts(info.artifact_path, dst_path=str(tmp_path / "down")))
    assert names(down) == files | {"model.sig"}
    assert set(autosign.verify(down, public_key=keys.public)) == files
    upstream_verifies(down)
    flavor = {"torch": mlflow.pytorch, "sklearn": mlflow.sklearn}[kind]
    assert type(flavor.load_model(str(down))) is type(model(kind))

    for uri in (f"models:/{kind}/1", info.model_uri, f"runs:/{run.info.run_id}/digits"):
        noted = Path(mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path / uri.replace("/", "-"))))
        # MLflow notes what it was downloaded as. That is signed by nobody.
        note = noted / "registered_model_meta"
        with pytest.raises(autosign.VerificationError, match="registered_model_meta"):
            autosign.verify(noted, public_key=keys.public)
        if uri == info.model_uri:
            upstream_verifies(noted, "--ignore-paths", str(note))
        ours = [Path(sys.executable).with_name("model-signing"), "verify", "key", noted, "--public-key", keys.public]
        subprocess.run([*ours, "--ignore-paths", note], check=True, capture_output=True)
        note.unlink()
        assert set(autosign.verify(noted, public_key=keys.public)) == files
    mlflow.pyfunc.load_model(f"models:/{kind}/1").predict(example)


@pytest.mark.filterwarnings("ignore")
def test_model_that_cannot_be_logged(
    run: Any, tmp_path: Path, autosign: ModuleType, signatures: Callable[[], list[str]]
) -> None:
    class Unpicklable(torch.nn.Linear):
        def __reduce_ex__(self, _: Any) -> Any:
            save(tmp_path / "meanwhile.pt")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        mlflow.pytorch.log_model(Unpicklable(2, 2), name="broken", **PICKLED)
    assert signatures() == []
    save(tmp_path / "after.pt")
    assert signatures() == ["after.pt.sig"]
    with autosign.paused():
        log_model("torch")
    assert signatures() == ["after.pt.sig"]


@pytest.mark.filterwarnings("ignore")
def test_what_is_saved_elsewhere_meanwhile(
    run: Any, tmp_path: Path, signatures: Callable[[], list[str]], is_signed: Callable[[Path], bool]
) -> None:
    class Saving(torch.nn.Linear):
        def __reduce_ex__(self, protocol: Any) -> Any:
            save(tmp_path / "elsewhere.pt")
            return torch.nn.Linear, (2, 2)

    mlflow.pytorch.log_model(Saving(2, 2), name="saving", **PICKLED)
    assert is_signed(tmp_path / "elsewhere.pt")
    assert [name.rpartition("/")[2] for name in signatures()] == ["elsewhere.pt.sig", "model.sig"]


@pytest.mark.filterwarnings("ignore")
def test_state_dict_and_artifacts_of_a_model(run: Any, tmp_path: Path, autosign: ModuleType, keys: Any) -> None:
    """Both are saved into temporary folders that are gone at once."""
    mlflow.pytorch.log_state_dict(model("torch").state_dict(), "states")
    down = download(run, tmp_path / "down")
    (signature,) = down.rglob("*.sig")
    assert autosign.verify(signature.with_suffix(""), public_key=keys.public)
    info = log_model("torch")
    saved = save(tmp_path / "more.pt")
    mlflow.MlflowClient().log_model_artifact(info.model_id, str(saved))
    mlflow.MlflowClient().log_model_artifacts(info.model_id, str(save(tmp_path / "many" / "b.pt").parent), "many")
    down = Path(mlflow.artifacts.download_artifacts(info.artifact_path, dst_path=str(tmp_path / "model")))
    assert autosign.verify(down / "more.pt", public_key=keys.public)
    assert autosign.verify(down / "many/b.pt", public_key=keys.public)


def test_functions_stay_as_they_are(autosign: ModuleType) -> None:
    functions = [
        vars(TrackingServiceClient)[name]
        for name in ("log_artifact", "log_artifacts", "log_model_artifact", "log_model_artifacts")
    ]
    for function in functions:
        assert hasattr(function, "__wrapped__")
        assert pickle.loads(pickle.dumps(function)) is function
        assert inspect.signature(function) == inspect.signature(function.__wrapped__)
    wrapped = mlflow.models.Model.log
    assert "registered_model_name" in inspect.signature(wrapped).parameters
    assert isinstance(vars(mlflow.models.Model)["log"], classmethod)
    autosign.disable()
    assert all(vars(TrackingServiceClient)[function.__name__] is function.__wrapped__ for function in functions)
    assert mlflow.models.Model.log.__func__ is wrapped.__func__.__wrapped__
