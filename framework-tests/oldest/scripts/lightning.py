from importlib import import_module
from pathlib import Path

import torch


def train(package: str, fabric: str) -> None:
    """Train, and go on from ``last.ckpt``, beside which its signature lies."""
    pl, fabric = import_module(package), import_module(fabric)

    class Model(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
            loss = self.layer(batch[0]).pow(2).mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), 1e-3)

    def fit(epochs: int, **options: object) -> pl.Trainer:
        keep = pl.callbacks.ModelCheckpoint(package, "{epoch}", "loss", save_top_k=2, save_last=True)
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = pl.Trainer(accelerator="cpu", devices=1, max_epochs=epochs, callbacks=[keep], **quiet, **options)
        trainer.fit(Model(), data, ckpt_path="last")
        assert autosign.flush(timeout=30).pending == 0  # noqa: F821 - our package is there
        return trainer

    tensors = torch.utils.data.TensorDataset(torch.arange(32.0).reshape(8, 4))
    data = torch.utils.data.DataLoader(tensors, batch_size=4)
    fit(2)
    assert Path(package, "last.ckpt.sig").exists()
    assert fit(4, plugins=[import_module(f"{package}.plugins.io").AsyncCheckpointIO()]).global_step == 8
    resumed = fit(5)
    assert resumed.global_step == 10
    resumed.save_checkpoint(f"{package}-saved.ckpt")
    fabric.Fabric(accelerator="cpu", devices=1).save(f"{package}-fabric.ckpt", {"model": torch.nn.Linear(4, 2)})


train("lightning.pytorch", "lightning.fabric")
train("pytorch_lightning", "lightning_fabric")
