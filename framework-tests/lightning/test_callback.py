"""The callback that signs where nothing is patched, and how Lightning finds it by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

SCRIPT = """
    import os, pickle, sys
    import model_signing_autosign as autosign
    if sys.argv[1] == "lightning":
        import lightning.pytorch as pl
        from lightning.pytorch.plugins.io import AsyncCheckpointIO
    else:
        import pytorch_lightning as pl
        from pytorch_lightning.plugins.io import AsyncCheckpointIO
    import torch
    from model_signing_autosign.plugins.lightning import AutosignCallback

    if "enable" in sys.argv:
        autosign.enable()

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def training_step(self, batch, index):
            return self.layer(batch[0]).pow(2).mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), 1e-3)

    def fit(folder, *callbacks, plugin=None):
        callbacks = [pl.callbacks.ModelCheckpoint(dirpath=folder, save_top_k=-1, filename="{epoch}"), *callbacks]
        trainer = pl.Trainer(
            max_epochs=2, callbacks=callbacks, plugins=plugin, logger=False, accelerator="cpu", devices=1,
            enable_progress_bar=False, enable_model_summary=False,
        )
        tensors = torch.utils.data.TensorDataset(torch.ones(4, 4))
        trainer.fit(Model(), torch.utils.data.DataLoader(tensors))
        if folder == "sync":
            trainer.fit(Model(), torch.utils.data.DataLoader(tensors))  # sets all up again
        trainer.save_checkpoint(f"{folder}/by-hand.ckpt")
        trainer.strategy.checkpoint_io.teardown()
        return [type(callback) for callback in trainer.callbacks]

    callback = AutosignCallback()
    assert isinstance(callback, AutosignCallback) and isinstance(callback, pl.Callback)
    assert type(pickle.loads(pickle.dumps(callback))) is type(callback)
    fit("sync", pickle.loads(pickle.dumps(callback)))
    fit("async", callback, plugin=AsyncCheckpointIO())

    asked = "lightning" in os.environ.get("MODEL_SIGNING_PLUGINS", "").split(", ")
    assert fit("by-itself").count(type(callback)) == asked

    class Elsewhere(pl.plugins.CheckpointIO if hasattr(pl.plugins, "CheckpointIO") else object):
        def save_checkpoint(self, checkpoint, path, storage_options=None):
            open(path, "w").close()

        def load_checkpoint(self, path, **options):
            raise NotImplementedError

        def remove_checkpoint(self, path):
            os.remove(path)

    os.makedirs("elsewhere")
    fit("elsewhere", callback, plugin=Elsewhere())
    autosign.disable()
    fit("disabled", callback)
    status = autosign.flush(timeout=30)
    print(status.signed, status.failed)
"""

FILES = ("by-hand.ckpt", "epoch=0.ckpt", "epoch=1.ckpt")


@pytest.mark.parametrize(
    ("package", "hooks", "plugins"),
    [
        ("lightning", "none", "other, lightning"),
        ("pytorch_lightning", "none", "lightnings"),
        ("pytorch_lightning", "none", "lightning"),
        ("pytorch_lightning", "auto", None),
    ],
)
def test_callback(
    package: str,
    hooks: str,
    plugins: str | None,
    run_script: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    keys: Any,
    annotations_of: Callable[[Path], dict[str, Any]],
) -> None:
    """With the hooks on as well there is still one signature for each save."""
    options = ["enable"] if hooks == "auto" else []
    result = run_script(SCRIPT, package, *options, timeout=120, HOOKS=hooks, PLUGINS=plugins)
    assert result.returncode == 0, result.stderr
    by_itself = hooks == "auto" or plugins in ("other, lightning", "lightning")
    folders = {"sync", "async"} | ({"by-itself"} if by_itself else set())
    signed = {path.relative_to(tmp_path) for path in tmp_path.rglob("*.ckpt.sig")}
    wanted = {path.relative_to(tmp_path).with_name(f"{path.name}.sig") for path in tmp_path.rglob("*.ckpt")}
    assert {path.parent.name for path in wanted} == folders | {"by-itself", "elsewhere", "disabled"}
    assert signed == {path for path in wanted if path.parent.name in folders}
    for path in signed:
        model = tmp_path / path.with_suffix("")
        assert model_signing_autosign.verify(model, public_key=keys.public)
        assert annotations_of(model)["step"] > 0
    assert result.stdout.splitlines()[-1] == f"{len(signed)} 0"
    assert "AutosignCallback cannot tell when Elsewhere has saved a checkpoint" in result.stderr
