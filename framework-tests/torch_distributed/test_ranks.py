"""torch.distributed.checkpoint on several ranks: one signature for each checkpoint, made when all of it is there."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
import torch.distributed.checkpoint as dcp

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled")  # in this process it is

# Spawned children import it again, and so enable signing too.
SAVES = """
    import os, sys, time, warnings
    import model_signing.autosign as autosign
    import torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    class Slow(FileSystemWriter):
        def write_data(self, plan, planner):
            if int(os.environ["RANK"]) != 0:
                time.sleep(1)
            return super().write_data(plan, planner)

    class Telling(FileSystemWriter):
        '''Tells what the process that it writes in has signed before.'''
        def finish(self, metadata, results):
            status = autosign.status()
            print("background", status.signed + status.pending, flush=True)
            super().finish(metadata, results)

    class Elsewhere(FileSystemWriter):
        '''Its file system is not this machine's.'''
        def __init__(self, path):
            super().__init__(path)
            self.fs = Remote(self.fs)

    class Remote:
        def __init__(self, local):
            self.local = local
        def __getattr__(self, name):
            return getattr(self.local, name)

    def state(step):
        whole = torch.arange(64.0).reshape(8, 8) + step
        return {"w": distribute_tensor(whole, mesh, [Shard(0)]), "step": step}

    if __name__ == "__main__":
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo")
        rank = dist.get_rank()
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))

        dcp.save(state(1), checkpoint_id="plain")
        dcp.save(state(2), storage_writer=FileSystemWriter("writer", single_file_per_rank=False, thread_count=2))
        dcp.save(state(3), storage_writer=Slow("unused"), checkpoint_id="slow")
        dcp.save_state_dict(state(4), FileSystemWriter("deprecated"))
        dcp.save(state(5), storage_writer=Slow("alone"), use_collectives=False)
        dcp.save(state(6), storage_writer=Elsewhere("elsewhere"))
        dcp.save({"w": torch.zeros(9)}, checkpoint_id=f"rank{rank}", no_dist=True)

        group, meanwhile = dist.new_group(), state(8)
        future = dcp.async_save(state(7), checkpoint_id="thread")
        dcp.save(meanwhile, checkpoint_id="meanwhile", process_group=group)
        future.result()
        for name in ("process", "process again"):
            future = dcp.async_save(
                state(9), storage_writer=Telling(name), async_checkpointer_type=AsyncCheckpointerType.PROCESS
            )
            future.result()
            if rank == 0:
                # The parent has been told before the future is done.
                autosign.flush(timeout=30)
                assert os.path.exists(name + "/model.sig"), os.listdir(name)
        dcp.save(state(10), checkpoint_id="plain")

        autosign.flush(timeout=30)
        print("signed", rank, autosign.status().signed + autosign.status().superseded, flush=True)
        dist.barrier()
        dist.destroy_process_group()
"""
SIGNED = {
    "plain": 10,
    "writer": 2,
    "slow": 3,
    "deprecated": 4,
    "thread": 7,
    "meanwhile": 8,
    "process": 9,
    "process again": 9,
}


def test_one_signature_for_each_checkpoint(
    torchrun: Callable[..., CompletedProcess[str]], tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    result = torchrun(SAVES, 2)
    names = [*SIGNED, "alone", "rank0", "rank1"]
    assert sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.sig")) == sorted(
        Path(name, "model.sig") for name in names
    )
    assert (tmp_path / "elsewhere" / ".metadata").exists()
    assert all(is_signed(tmp_path / name) for name in names)
    for name, step in SIGNED.items():
        assert sorted(path.name for path in (tmp_path / name).glob("__1_*")) != []
        loaded = {"w": torch.zeros(8, 8), "step": 0}
        dcp.load(loaded, checkpoint_id=tmp_path / name, no_dist=True)
        assert torch.equal(loaded["w"], torch.arange(64.0).reshape(8, 8) + step)
        assert loaded["step"] == step
    assert {path.name for path in (tmp_path / "alone").iterdir()} == {
        "__0.metadata",
        "__0_0.distcp",
        "__1.metadata",
        "__1_0.distcp",
        "model.sig",
    }
    # One for each of the checkpoints that the coordinator reports, and the second save of "plain".
    assert "signed 0 11" in result.stdout
    assert "signed 1 1\n" in result.stdout
    # The spawned process, in which signing is enabled too, has not signed the first one when it writes the second one.
    assert result.stdout.count("background 0\n") == result.stdout.count("background") == 2


GROUPS = """
    import model_signing.autosign as autosign
    import torch, torch.distributed as dist, torch.distributed.checkpoint as dcp, warnings
    from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType

    if __name__ == "__main__":
        warnings.simplefilter("ignore")
        dist.init_process_group("gloo")
        rank = dist.get_rank()
        halves = [dist.new_group([0, 1]), dist.new_group([2, 3])]
        half = rank // 2
        tensors = {f"w{rank}": torch.full((9,), rank)}
        dcp.save(tensors, checkpoint_id=f"half{half}", process_group=halves[half])
        dcp.save(tensors, checkpoint_id="all")
        if half == 1:
            dcp.async_save(
                tensors,
                checkpoint_id="process",
                process_group=halves[1],
                async_checkpointer_type=AsyncCheckpointerType.PROCESS,
            ).result()
        autosign.flush(timeout=30)
        print("signed", rank, autosign.status().signed, flush=True)
        dist.barrier()
        dist.destroy_process_group()
"""


def test_groups_have_coordinators_of_their_own(
    torchrun: Callable[..., CompletedProcess[str]], tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    result = torchrun(GROUPS, 4)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.sig")) == [
        f"{name}/model.sig" for name in ("all", "half0", "half1", "process")
    ]
    assert all(is_signed(tmp_path / name) for name in ("all", "half0", "half1", "process"))
    for line in ("signed 0 2", "signed 1 0", "signed 2 2", "signed 3 0"):
        assert line in result.stdout
    loaded = {f"w{rank}": torch.zeros(9, dtype=torch.int64) for rank in range(4)}
    dcp.load(loaded, checkpoint_id=tmp_path / "all", no_dist=True)
    assert [int(tensor[0]) for tensor in loaded.values()] == [0, 1, 2, 3]


# Real training with sharded parameters, of which the last two epochs are kept.
TRAINING = """
    import sys, shutil, warnings
    import model_signing.autosign as autosign
    import torch, torch.distributed as dist, torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from pathlib import Path

    if __name__ == "__main__":
        warnings.simplefilter("ignore")
        first, last = int(sys.argv[1]), int(sys.argv[2])
        dist.init_process_group("gloo")
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8))
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in model:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)

        def state():
            weights, moments = get_state_dict(model, optimizer)
            return {"model": weights, "optimizer": moments}

        if first > 0:
            loaded = state()
            dcp.load(loaded, checkpoint_id=f"checkpoints/{first - 1}")
            set_state_dict(
                model, optimizer, model_state_dict=loaded["model"], optim_state_dict=loaded["optimizer"]
            )
        for epoch in range(first, last):
            torch.manual_seed(epoch)
            loss = (model(torch.randn(4, 8)) ** 2).mean()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            save = dcp.async_save if epoch % 2 else dcp.save
            done = save(state(), checkpoint_id=f"checkpoints/{epoch}")
            if epoch % 2:
                done.result()
            dist.barrier()
            if dist.get_rank() == 0:
                old = sorted(Path("checkpoints").iterdir(), key=lambda path: int(path.name))[:-2]
                for path in old:
                    shutil.rmtree(path)
            dist.barrier()
        dist.destroy_process_group()
"""


def test_sharded_training_with_rotation_and_resume(
    torchrun: Callable[..., CompletedProcess[str]], tmp_path: Path, is_signed: Callable[[Path], bool]
) -> None:
    checkpoints, kept, weights = tmp_path / "checkpoints", [], []
    for mode in ("background", "disabled"):
        if mode == "background":
            torchrun(TRAINING, 2, "0", "3", MODE=mode)
            torchrun(TRAINING, 2, "3", "4", MODE=mode)
        else:  # in one go: what comes of it is the same
            torchrun(TRAINING, 2, "0", "4", MODE=mode)
        signatures = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.sig")}
        if mode == "background":
            assert signatures == {"checkpoints/2/model.sig", "checkpoints/3/model.sig"}
            assert is_signed(checkpoints / "2")
            assert is_signed(checkpoints / "3")
        else:
            assert signatures == set()
        # .metadata names the save by a random id, always of the same length.
        files = [path for path in checkpoints.rglob("*") if path.is_file() and path.suffix != ".sig"]
        kept.append({str(path.relative_to(checkpoints)): path.stat().st_size for path in files})
        loaded = {"model": {"0.weight": torch.zeros(16, 8), "2.weight": torch.zeros(8, 16)}}
        dcp.load(loaded, checkpoint_id=checkpoints / "3", no_dist=True)
        weights.append(loaded["model"])
        shutil.rmtree(checkpoints)
    assert kept[0] == kept[1]
    assert {name.split("/")[0] for name in kept[0]} == {"2", "3"}
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
