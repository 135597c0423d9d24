"""Trainings that log to MLflow, each in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

TRAINING = """
    import model_signing.autosign as autosign
    import glob, os, sys, warnings
    warnings.simplefilter("ignore")
    import lightning.pytorch as pl, mlflow, torch
    from lightning.pytorch.loggers import MLFlowLogger
    from sklearn.datasets import load_digits

    store = "file:" + os.path.abspath("store")
    mlflow.set_tracking_uri(store)
    # Its own checkpoints and the model, beside those of Lightning's logger.
    mlflow.pytorch.autolog(checkpoint_save_best_only=False, log_models=True)

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(64, 10)

        def forward(self, x):
            return self.layer(x)

        def training_step(self, batch, index):
            loss = torch.nn.functional.cross_entropy(self(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    pl.seed_everything(0)
    images, labels = load_digits(return_X_y=True)
    data = torch.utils.data.TensorDataset(torch.tensor(images[:64]).float() / 16, torch.tensor(labels[:64]))
    run_id = None
    for epochs in (2, 4):
        with mlflow.start_run(run_id) as run:
            run_id = run.info.run_id
            keep = pl.callbacks.ModelCheckpoint(dirpath="run", filename="{epoch}", monitor="loss", save_top_k=2)
            trainer = pl.Trainer(
                max_epochs=epochs, callbacks=[keep], accelerator="cpu", devices=1,
                logger=MLFlowLogger(run_id=run_id, tracking_uri=store, log_model="all"),
                enable_progress_bar=False, enable_model_summary=False,
            )
            last = max(glob.glob("run/*.ckpt"), default=None)
            trainer.fit(Model(), torch.utils.data.DataLoader(data, batch_size=32), ckpt_path=last)
            assert trainer.global_step == 2 * epochs
    mlflow.artifacts.download_artifacts(run_id=run_id, dst_path="down")
    (model,) = mlflow.search_logged_models(output_format="list", filter_string=f"source_run_id='{run_id}'")[:1]
    mlflow.artifacts.download_artifacts(model.artifact_location, dst_path="model")  # ends in `artifacts`
    assert mlflow.pytorch.load_model("model/artifacts").layer.out_features == 10
    assert autosign.flush(timeout=30).failed == 0
"""


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_lightning_with_its_logger_and_autologging(
    run_script: Run, tmp_path: Path, keys: Any, upstream_verifies: Callable[..., None]
) -> None:
    found = {}
    for mode in ("background", "disabled"):
        # In the same folder, because its path is in the checkpoints.
        result = run_script(TRAINING, MODE=mode, timeout=120)
        assert result.returncode == 0, result.stderr
        (tmp_path / mode).mkdir()
        for folder in ("run", "down", "model", "store"):
            (tmp_path / folder).rename(tmp_path / mode / folder)
        found[mode] = {folder: files(tmp_path / mode / folder) for folder in ("run", "down", "model/artifacts")}
    signed, silent = found["background"], found["disabled"]

    checkpoints = {name for name in silent["down"] if name.endswith((".ckpt", ".pth"))}
    assert {f"epoch={epoch}/epoch={epoch}.ckpt" for epoch in range(4)} <= checkpoints
    assert len(checkpoints) == 8, "autologging's, too"
    assert signed["down"].keys() == silent["down"].keys() | {f"{name}.sig" for name in checkpoints}
    for name in checkpoints:
        path = tmp_path / "background/down" / name
        assert model_signing_autosign.verify(path, public_key=keys.public) == [path.name]
    upstream_verifies(path)

    assert signed["model/artifacts"].keys() == silent["model/artifacts"].keys() | {"model.sig"}
    verified = model_signing_autosign.verify(tmp_path / "background/model/artifacts", public_key=keys.public)
    assert set(verified) == silent["model/artifacts"].keys()
    upstream_verifies(tmp_path / "background/model/artifacts")

    assert "epoch=0.ckpt" not in silent["run"], "it was rotated away"
    assert signed["run"].keys() == silent["run"].keys() | {f"{name}.sig" for name in silent["run"]}
    assert {name: signed["run"][name] for name in silent["run"]} == silent["run"]
    in_store = list((tmp_path / "background/store").rglob("*.sig"))
    assert len(in_store) == len(checkpoints) + 2, "and the two logged models"
    assert not [*(tmp_path / "disabled").rglob("*.sig")]


AUTOLOG = """
    import model_signing.autosign as autosign
    import os, sys, warnings
    warnings.simplefilter("ignore")
    import mlflow, mlflow.sklearn
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    mlflow.set_tracking_uri("file:" + os.path.abspath("store"))
    mlflow.sklearn.autolog(serialization_format="pickle")
    metrics = []
    for _ in range(2):
        with mlflow.start_run() as run:
            LogisticRegression(max_iter=20).fit(*load_digits(return_X_y=True))
        metrics.append(mlflow.get_run(run.info.run_id).data.metrics)
        autosign.disable()
    assert metrics[0] == metrics[1] != {}
    print(autosign.flush(timeout=30).signed)
"""


def test_autologging_of_sklearn(run_script: Run, tmp_path: Path, keys: Any) -> None:
    result = run_script(AUTOLOG)
    assert (result.returncode, result.stdout) == (0, "1\n"), result.stderr
    (signature,) = tmp_path.rglob("*.sig")
    verified = model_signing_autosign.verify(signature.parent, public_key=keys.public)
    assert {"MLmodel", "model.pkl"} <= set(verified) == files(signature.parent).keys() - {"model.sig"}
    assert len(list(tmp_path.rglob("store/*/models/*/artifacts/MLmodel"))) == 2
