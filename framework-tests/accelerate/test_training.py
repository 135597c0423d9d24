"""A training loop with accelerate, its rotation of checkpoints and its resuming; on one process and on two."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import model_signing_autosign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

TRAINING = """
    import sys
    import model_signing.autosign as autosign
    import torch
    from accelerate import Accelerator
    from accelerate.utils import ProjectConfiguration, set_seed

    folder, steps = sys.argv[1], int(sys.argv[3])
    set_seed(1)
    project = ProjectConfiguration(folder, automatic_checkpoint_naming=True, total_limit=2, iteration=int(sys.argv[2]))
    accelerator = Accelerator(cpu=True, project_config=project)

    class Seen:
        examples = 0
        def state_dict(self):
            # Late, and in step: all ranks have written their random states.
            return {"examples": accelerator.reduce(torch.tensor(self.examples)).item()}
        def load_state_dict(self, state):
            self.examples = state["examples"] // accelerator.num_processes

    seen, model = Seen(), torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    inputs = torch.randn(32, 8)
    data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True))
    loader = torch.utils.data.DataLoader(data, batch_size=4)
    model, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)
    accelerator.register_for_checkpointing(seen)
    if project.iteration:
        accelerator.load_state()
        assert seen.examples == project.iteration * 4
    for _, (x, y) in zip(range(steps), loader):
        loss = torch.nn.functional.mse_loss(model(x), y)
        accelerator.backward(loss)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
        seen.examples += 4
        accelerator.save_state()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        accelerator.save_model(model, folder + "/final", max_shard_size=400)
        autosign.flush(timeout=30)
        print("sum", sum(p.double().sum().item() for p in model.parameters()))
    else:
        assert autosign.flush(timeout=30).signed == 0
    accelerator.end_training()
"""


def kept(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".sig"
    }


def assert_signed(folder: Path, names: list[str], keys: Any) -> None:
    """The checkpoints of these names are all there is, and each has one signature, of all its files."""
    checkpoints = [folder / name for name in names]
    assert {path.parent for path in folder.rglob("*") if path.is_file()} == set(checkpoints)
    assert sorted(folder.rglob("*.sig")) == sorted(checkpoint / "model.sig" for checkpoint in checkpoints)
    for checkpoint in checkpoints:
        names_signed = model_signing_autosign.verify(checkpoint, public_key=keys.public)
        assert set(names_signed) == {path.name for path in checkpoint.iterdir()} - {"model.sig"}


def test_rotation_and_resume(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any) -> None:
    runs: dict[str, list[Any]] = {"background": [], "disabled": []}
    for mode, results in runs.items():
        folder = tmp_path / mode
        for start, steps in ((0, 5), (5, 3)):
            result = run_script(TRAINING, str(folder), str(start), str(steps), MODE=mode)
            assert result.returncode == 0, result.stderr
            results += [result.stdout.splitlines()[-1], kept(folder)]
            if mode == "background":
                last = start + steps - 1
                names = [f"checkpoints/checkpoint_{last - 1}", f"checkpoints/checkpoint_{last}", "final"]
                assert_signed(folder, names, keys)
    assert not list((tmp_path / "disabled").rglob("*.sig"))
    assert runs["background"] == runs["disabled"]


LAUNCHER = """
    import sys
    from torch.distributed.run import main

    main(["--standalone", "--nproc-per-node=2", *sys.argv[1:]])
"""


def test_ranks(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any) -> None:
    folder = tmp_path / "ranks"
    (tmp_path / "ranks.py").write_text(textwrap.dedent(TRAINING), encoding="utf-8")
    result = run_script(LAUNCHER, "ranks.py", str(folder), "0", "4", timeout=100)
    assert result.returncode == 0, result.stderr
    assert_signed(folder, ["checkpoints/checkpoint_2", "checkpoints/checkpoint_3", "final"], keys)
    assert len(list(folder.rglob("random_states_1.pkl"))) == 2


LATE = """
    import sys, time
    import model_signing.autosign as autosign
    import torch
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(torch.nn.Linear(2, 2))
    if not accelerator.is_main_process:
        time.sleep(2)
    accelerator.save_state("together")
    if accelerator.is_main_process:
        assert autosign.flush(timeout=30).signed == 1
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        time.sleep(1)
        assert autosign.flush(timeout=30).signed == 2
        accelerator.save_state("alone")  # followed when the process ends
    accelerator.end_training()
"""


def test_a_rank_that_comes_late(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any) -> None:
    """The main process does not wait for it, and signs again what has come; nor for one that does not come at all."""
    (tmp_path / "late.py").write_text(textwrap.dedent(LATE), encoding="utf-8")
    result = run_script(LAUNCHER, "late.py", timeout=100)
    assert result.returncode == 0, result.stderr
    for name, ranks in (("alone", 1), ("together", 2)):
        files = model_signing_autosign.verify(tmp_path / name, public_key=keys.public)
        assert {f"random_states_{rank}.pkl" for rank in range(ranks)} == {f for f in files if f.startswith("random")}
