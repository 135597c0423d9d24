"""Runs of Weights & Biases, offline, each in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

# Keeps what is logged: a run that is offline gives nothing back.
COMMON = """
    import glob, os, shutil, sys, warnings
    warnings.simplefilter("ignore")
    import model_signing_autosign as autosign

    logged = []

    def watch():
        import wandb
        original = wandb.Run._log_artifact

        def log(*args, **kwargs):
            artifact = original(*args, **kwargs)
            for name, entry in artifact.manifest.entries.items():
                path = f"logged/{len(logged)}/{name}"
                os.makedirs(os.path.dirname(path), exist_ok=True)
                shutil.copyfile(entry.local_path, path)
            logged.append(artifact)
            return artifact

        wandb.Run._log_artifact = log
"""

TRAINING = (
    COMMON
    + """
    autosign.enable()
    import lightning.pytorch as pl, torch, wandb
    from lightning.pytorch.loggers import WandbLogger
    from sklearn.datasets import load_digits

    watch()

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(64, 10)

        def training_step(self, batch, index):
            loss = torch.nn.functional.cross_entropy(self.layer(batch[0]), batch[1])
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    pl.seed_everything(0)
    images, labels = load_digits(return_X_y=True)
    data = torch.utils.data.TensorDataset(torch.tensor(images[:64]).float() / 16, torch.tensor(labels[:64]))
    for epochs in (2, 4):
        keep = pl.callbacks.ModelCheckpoint(dirpath="run", filename="{epoch}", monitor="loss", save_top_k=2)
        trainer = pl.Trainer(
            max_epochs=epochs, callbacks=[keep], accelerator="cpu", devices=1,
            logger=WandbLogger(project="digits", id="one", log_model="all"),
            enable_progress_bar=False, enable_model_summary=False,
        )
        last = max(glob.glob("run/*.ckpt"), default=None)
        trainer.fit(Model(), torch.utils.data.DataLoader(data, batch_size=32), ckpt_path=last)
        assert trainer.global_step == 2 * epochs
        wandb.finish()
    assert autosign.flush(timeout=30).failed == 0
"""
)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_lightning_with_its_logger(
    run_script: Run, tmp_path: Path, keys: Any, upstream_verifies: Callable[[Path], None]
) -> None:
    """Its logger gives each checkpoint the same name."""
    found = {}
    for mode in ("background", "disabled"):
        # In the same folder, because its path is in the checkpoints.
        result = run_script(TRAINING, MODE=mode, timeout=120)
        assert result.returncode == 0, result.stderr
        (tmp_path / mode).mkdir()
        for folder in ("run", "logged"):
            (tmp_path / folder).rename(tmp_path / mode / folder)
        found[mode] = {folder: files(tmp_path / mode / folder) for folder in ("run", "logged")}
    signed, silent = found["background"], found["disabled"]
    # One for each epoch, and the one that the second Trainer began with.
    assert silent["logged"].keys() == {f"{number}/model.ckpt" for number in range(5)}
    assert "epoch=0.ckpt" not in silent["run"], "it was rotated away"
    for folder in ("run", "logged"):
        assert signed[folder].keys() == silent[folder].keys() | {f"{name}.sig" for name in silent[folder]}
        assert {name: signed[folder][name] for name in silent[folder]} == silent[folder]
        for name in silent[folder]:
            path = tmp_path / "background" / folder / name
            assert model_signing_autosign.verify(path, public_key=keys.public) == [path.name]
    upstream_verifies(tmp_path / "background/logged/4/model.ckpt")


TRANSFORMERS = (
    COMMON
    + """
    autosign.enable()
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

    watch()
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=16, n_layer=2, n_head=2))
    data = [{"input_ids": torch.arange(index, index + 8), "labels": torch.arange(8)} for index in range(4)]
    settings = {"max_steps": 2, "save_steps": 1, "save_total_limit": 1, "use_cpu": True, "disable_tqdm": True}
    arguments = TrainingArguments("run", report_to=["wandb"], **settings)
    Trainer(model=model, args=arguments, train_dataset=data).train()
    assert os.listdir("run") == ["checkpoint-2"]
"""
)


def test_checkpoints_of_transformers(
    run_script: Run, tmp_path: Path, keys: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    """Folders, of which each is logged as soon as it is saved."""
    monkeypatch.setitem(settings, "WANDB_LOG_MODEL", "checkpoint")
    result = run_script(TRANSFORMERS, timeout=120)
    assert result.returncode == 0, result.stderr
    folders = [path.parent for path in (tmp_path / "logged").glob("*/trainer_state.json")]
    assert len(folders) == 2
    for folder in folders:
        verified = model_signing_autosign.verify(folder, public_key=keys.public)
        assert set(verified) == files(folder).keys() - {"model.sig"}


RUN = (
    COMMON
    + """
    def load():
        global torch, wandb, Artifact
        import torch, wandb
        from wandb import Artifact
        watch()

    def log(number, run):
        torch.save({}, f"{number}.pt")
        torch.save({}, f"folder-{number}.pt")
        artifact = Artifact("both", type="model")
        artifact.add_file(f"{number}.pt")
        run.log_artifact(artifact)
        wandb.log_artifact(f"folder-{number}.pt", name="direct", type="model")
        run.log_model(f"{number}.pt", name="model")
        for artifact in logged[-3:]:
            (name,) = (name for name in artifact.manifest.entries if name.endswith(".pt"))
            wanted = {name, f"{name}.sig"} if enabled else {name}
            assert set(artifact.manifest.entries) == wanted, artifact.manifest.entries

    enabled, run = False, None
    for number, step in enumerate(sys.argv[1:]):
        if step == "import":
            load()
        elif step == "log":
            run = run or wandb.init(project="orders")
            log(number, run)
        else:
            getattr(autosign, step)()
            enabled = step == "enable" and "wandb" in os.environ["MODEL_SIGNING_HOOKS"]
    run.finish()
    print("ok")
"""
)


@pytest.mark.parametrize(
    ("steps", "hooks"),
    [
        ("enable import log disable log enable log", "auto,wandb"),
        ("import enable disable enable log", "torch, wandb"),
        ("enable import log", "auto"),
    ],
)
def test_orders(steps: str, hooks: str, run_script: Run, tmp_path: Path, keys: Any) -> None:
    result = run_script(RUN, *steps.split(), HOOKS=hooks, timeout=120)
    assert result.stdout == "ok\n", result.stderr
    for signature in (tmp_path / "logged").rglob("*.sig"):
        assert model_signing_autosign.verify(signature.with_suffix(""), public_key=keys.public)
