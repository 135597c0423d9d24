"""Trainings with Lightning, of both code trees, each in a process of its own: importing it warns and takes long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]


@pytest.fixture
def verified(keys: Any) -> Callable[[Path], set[str]]:
    """Name the signed checkpoints of a folder; a signature that does not verify, or stands alone, fails the test."""

    def verified(folder: Path) -> set[str]:
        names = set()
        for signature in folder.rglob("*.sig"):
            model = signature.parent if signature.name == "model.sig" else signature.with_suffix("")
            assert model_signing_autosign.verify(model, public_key=keys.public)
            names.add(str(model.relative_to(folder)))
        return names

    return verified


packages = pytest.mark.parametrize("package", ["lightning", "pytorch_lightning"])

# What `lightning` and `pytorch_lightning` with `lightning_fabric` call by different names; a tiny training.
COMMON = """
    import os, sys
    import model_signing_autosign as autosign

    package = sys.argv[1]

    def load():
        global pl, fabric, torch
        import torch
        if package == "lightning":
            import lightning.pytorch as pl, lightning.fabric as fabric
        else:
            import pytorch_lightning as pl, lightning_fabric as fabric

    def trainer(callbacks=(), *, epochs=4, **options):
        options = {"accelerator": "cpu", "devices": 1, "logger": False} | options
        quiet = {"enable_progress_bar": False, "enable_model_summary": False}
        return pl.Trainer(max_epochs=epochs, callbacks=list(callbacks), **options, **quiet)

    def keep(**options):
        return pl.callbacks.ModelCheckpoint(dirpath="run", filename="{epoch}", **options)

    def model():
        class Model(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.layer = torch.nn.Linear(4, 2)

            def configure_model(self):
                if "sharded" in sys.argv:
                    torch.distributed.fsdp.fully_shard(self.layer, mesh=self.device_mesh["data_parallel"])

            def training_step(self, batch, index):
                loss = self.layer(batch[0]).pow(2).mean()
                self.log("loss", loss)
                return loss

            def configure_optimizers(self):
                return torch.optim.Adam(self.parameters(), 1e-3)

        torch.manual_seed(0)
        return Model()

    def data():
        tensors = torch.utils.data.TensorDataset(torch.arange(32.0).reshape(8, 4))
        return torch.utils.data.DataLoader(tensors, batch_size=4)
"""

TRAINING = (
    COMMON
    + """
    autosign.enable()
    load()
    import shutil
    from importlib import import_module
    AsyncCheckpointIO = import_module(pl.__name__ + ".plugins.io").AsyncCheckpointIO

    best = {"monitor": "loss", "save_top_k": 2}
    trainer([keep(save_last=True, **best)]).fit(model(), data())
    resumed = trainer([keep(save_last=True, **best)], epochs=6, plugins=[AsyncCheckpointIO()])
    resumed.fit(model(), data(), ckpt_path="last")
    assert resumed.current_epoch == 6 and resumed.global_step == 12
    assert autosign.flush(timeout=30).pending == 0
    shutil.copytree("run", "copies")
    resumed = trainer([keep(save_last="link", **best)], epochs=8)
    resumed.fit(model(), data(), ckpt_path="last")
    assert resumed.global_step == 16
    resumed.save_checkpoint("run/weights.ckpt", weights_only=True)
    resumed.strategy.remove_checkpoint("run/weights.ckpt")
    again = trainer(epochs=8)
    again.fit(model(), data(), ckpt_path=os.path.abspath("run/last.ckpt"))
    assert again.global_step == 16
    assert autosign.flush(timeout=30).pending == 0
    """
)


@packages
def test_rotation_and_resume(
    package: str,
    run_script: Run,
    tmp_path: Path,
    verified: Callable[[Path], set[str]],
    annotations_of: Callable[[Path], dict[str, Any]],
) -> None:
    kept = []
    for mode in ("background", "disabled"):
        # In the same folder, because its path is in the checkpoints.
        result = run_script(TRAINING, package, MODE=mode, timeout=120)
        assert result.returncode == 0, result.stderr
        (tmp_path / mode).mkdir()
        for folder in ("run", "copies"):
            (tmp_path / folder).rename(tmp_path / mode / folder)
        files = {path.relative_to(tmp_path / mode): path for path in (tmp_path / mode).rglob("*.ckpt")}
        kept.append(
            {str(name): path.readlink() if path.is_symlink() else path.read_bytes() for name, path in files.items()}
        )
    assert kept[0] == kept[1]
    copies, signed = {"epoch=4.ckpt", "epoch=5.ckpt", "last.ckpt"}, {"epoch=6.ckpt", "epoch=7.ckpt"}
    assert kept[0].keys() == {f"copies/{name}" for name in copies} | {f"run/{name}" for name in (*signed, "last.ckpt")}
    assert str(kept[0]["run/last.ckpt"]) == "epoch=7.ckpt"
    # A link has no signature, not even that of the file which it has replaced.
    assert verified(tmp_path / "background/copies") == copies
    assert verified(tmp_path / "background/run") == signed
    assert verified(tmp_path / "disabled") == set()
    steps = {
        name: annotations_of(tmp_path / "background" / name)["step"] for name in kept[0] if name != "run/last.ckpt"
    }
    assert steps == {
        "copies/epoch=4.ckpt": 10,
        "copies/epoch=5.ckpt": 12,
        "copies/last.ckpt": 12,
        "run/epoch=6.ckpt": 14,
        "run/epoch=7.ckpt": 16,
    }


TRAINER_RANKS = (
    COMMON
    + """
    autosign.enable()
    load()
    strategies = __import__(pl.__name__ + ".strategies", fromlist=["strategies"])
    gloo = {"process_group_backend": "gloo"}
    if "sharded" in sys.argv:
        strategy = strategies.ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1, **gloo)
    else:
        strategy = strategies.DDPStrategy(**gloo)
    callback = keep(save_last=True, monitor="loss", save_top_k=2)
    trainer([callback], epochs=3, devices=2, strategy=strategy).fit(model(), data())
    print(autosign.flush(timeout=30).failed, flush=True)
    """
)


@pytest.mark.parametrize(("package", "how"), [("lightning", "ddp"), ("pytorch_lightning", "sharded")])
def test_two_ranks(
    package: str, how: str, run_script: Run, tmp_path: Path, verified: Callable[[Path], set[str]]
) -> None:
    """Files that one rank writes, and folders that both write; rank 1 reports nothing."""
    result = run_script(TRAINER_RANKS, package, how, timeout=120)
    assert (result.returncode, result.stdout.split()) == (0, ["0", "0"]), result.stderr
    names = {path.name for path in (tmp_path / "run").iterdir() if path.suffix == ".ckpt"}
    assert len(names) == 3
    assert verified(tmp_path / "run") == names
    if how == "sharded":
        inside = {path.name for path in (tmp_path / "run" / "last.ckpt").iterdir()}
        assert inside == {".metadata", "__0_0.distcp", "__1_0.distcp", "meta.pt", "model.sig"}


FABRIC_RANKS = (
    COMMON
    + """
    load()
    autosign.enable()
    from torch.distributed.fsdp import fully_shard

    def shard(model, mesh):
        return fully_shard(model, mesh=mesh["data_parallel"])

    strategies = __import__(fabric.__name__ + ".strategies", fromlist=["strategies"])
    for sharded, name in ((True, "folder"), (False, "file.ckpt")):
        strategy = strategies.ModelParallelStrategy(
            shard, data_parallel_size=2, tensor_parallel_size=1,
            save_distributed_checkpoint=sharded, process_group_backend="gloo",
        )
        runs = fabric.Fabric(accelerator="cpu", devices=2, strategy=strategy)
        runs.launch()
        layer = runs.setup(torch.nn.Linear(4, 2))
        runs.save("run/" + name, {"model": layer, "step": 3})
    status = autosign.flush(timeout=30)
    print(runs.global_rank, status.signed, status.superseded, status.failed, flush=True)
    """
)


def test_fabric_on_two_ranks(run_script: Run, tmp_path: Path, verified: Callable[[Path], set[str]]) -> None:
    (tmp_path / "run").mkdir()
    result = run_script(FABRIC_RANKS, "lightning", timeout=120)
    assert result.returncode == 0, result.stderr
    assert sorted(result.stdout.splitlines()) == ["0 2 0 0", "1 0 0 0"]
    assert verified(tmp_path / "run") == {"folder", "file.ckpt"}


CONTRACT = (
    COMMON
    + """
    import inspect, pickle
    from pathlib import Path

    enabled = False

    def save(number):
        home = os.environ["HOME"] = os.path.abspath("home")
        runs = fabric.Fabric(accelerator="cpu", devices=1)
        state = {"model": torch.nn.Linear(4, 2), "step": number}
        io = fabric.plugins.io.TorchCheckpointIO()
        assert runs.save(f"{number} fabric.ckpt", state) is None
        assert runs.save(Path(f"{number} path.ckpt"), state) is None
        assert io.save_checkpoint(state, f"new/folder/{number} io.ckpt") is None
        assert io.save_checkpoint(path="file://" + os.path.abspath(f"{number} url.ckpt"), checkpoint=state) is None
        assert io.save_checkpoint(state, f"~/{number} home.ckpt") is None
        runs.save(f"memory://{number} remote.ckpt", state)
        os.makedirs("taken", exist_ok=True)
        io.save_checkpoint(state, "taken")  # moves its temporary file into the folder, under that file's name
        bound(io, state, f"{number} bound.ckpt")
        names = [f"{number} {name}.ckpt" for name in ("fabric", "path", "url")]
        names += [f"new/folder/{number} io.ckpt", f"home/{number} home.ckpt"]
        if hasattr(bound, "__wrapped__"):  # one taken from the class before is the one thing that a hook cannot see
            names.append(f"{number} bound.ckpt")
        for wrong, path, error, words in (
            ({"state": lambda: 0}, "unpicklable.ckpt", Exception, "lambda"),
            (state, None, TypeError, "PathLike"),
        ):
            try:
                io.save_checkpoint(wrong, path)
                raise AssertionError(path)
            except error as caught:
                assert words in str(caught), caught
        try:
            io.save_checkpoint(state, "options.ckpt", storage_options={})
            raise AssertionError
        except TypeError as caught:
            assert "storage_options" in str(caught)
        try:
            io.save_checkpoint()
            raise AssertionError
        except TypeError as caught:
            assert "missing 2 required positional arguments: 'checkpoint' and 'path'" in str(caught)
        autosign.flush(timeout=30)
        assert all(Path(name).exists() for name in names)
        signed = {str(path) for path in Path().rglob(f"{number} *.sig")}
        assert signed == ({name + ".sig" for name in names} if enabled else set()), signed
        assert not [path for path in Path().rglob("*.sig") if not path.with_suffix("").exists()]

    def check():
        function = fabric.plugins.io.TorchCheckpointIO.save_checkpoint
        assert hasattr(function, "__wrapped__") is enabled
        assert [*inspect.signature(function).parameters] == ["self", "checkpoint", "path", "storage_options"]
        assert pickle.loads(pickle.dumps(function)) is function
        link = pl.callbacks.ModelCheckpoint.__dict__["_link_checkpoint"]
        assert isinstance(link, staticmethod) and hasattr(link.__func__, "__wrapped__") is enabled

    for number, step in enumerate(sys.argv[2:]):
        if step == "import":
            load()
            bound = fabric.plugins.io.TorchCheckpointIO.save_checkpoint
        elif step == "save":
            save(number)
        else:
            getattr(autosign, step)()
            enabled = step == "enable"
        if "fabric" in globals():
            check()
    print("ok", sorted({"lightning", "lightning_fabric"} & set(sys.modules)))
    """
)


@pytest.mark.parametrize(
    ("package", "steps"),
    [
        ("lightning", "enable import save disable save enable save"),
        ("pytorch_lightning", "import enable disable enable enable save"),
    ],
)
def test_orders(package: str, steps: str, run_script: Run) -> None:
    result = run_script(CONTRACT, package, *steps.split(), timeout=120)
    fabric = "lightning" if package == "lightning" else "lightning_fabric"
    assert result.stdout == f"ok ['{fabric}']\n", result.stderr
