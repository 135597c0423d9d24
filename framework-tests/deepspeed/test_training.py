"""DeepSpeed on the CPU: its checkpoints by tag, resuming, and ranks that save together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

# Saves at each step, under a tag of its own at the third, and goes on from the last where there is one.
TRAINING = """
    import inspect, os, pickle, sys
    from pathlib import Path
    import model_signing_autosign as autosign

    folder, stage, order = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    os.environ["DS_ACCELERATOR"] = "cpu"
    if order == "enable, import":
        autosign.enable()
    import torch
    import deepspeed
    from deepspeed.ops.op_builder import ShareMemCommBuilder
    from deepspeed.runtime.engine import DeepSpeedEngine
    autosign.enable()

    # Would be compiled first: gloo does for this.
    deepspeed.ops.__compatible_ops__[ShareMemCommBuilder.NAME] = False
    if "RANK" not in os.environ:
        store = torch.distributed.FileStore(str(folder) + ".store", 1)
        torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
        os.environ.update(RANK="0", WORLD_SIZE="1", LOCAL_RANK="0")
    deepspeed.init_distributed("gloo")
    rank = torch.distributed.get_rank()
    for method in (DeepSpeedEngine.save_checkpoint, DeepSpeedEngine.save_16bit_model):
        assert hasattr(method, "__wrapped__") is (os.environ["MODEL_SIGNING_MODE"] != "disabled")
        assert pickle.loads(pickle.dumps(method)) is method
        assert "exclude_frozen_parameters" in inspect.signature(method).parameters

    def start():
        torch.manual_seed(1)
        model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        return deepspeed.initialize(model=model, model_parameters=model.parameters(), config={
            "train_micro_batch_size_per_gpu": 4,
            "optimizer": {"type": "AdamW", "params": {"lr": 0.01, "torch_adam": True}},
            "zero_optimization": {"stage": stage},
        })[0]

    def step(engine):
        inputs = torch.randn(4, 8)
        engine.backward((engine(inputs) - inputs.sum(1, keepdim=True)).square().mean())
        engine.step()

    engine = start()
    for count in range(1, 4):
        step(engine)
        assert engine.save_checkpoint(folder, tag="third" if count == 3 else None, client_state={"x": count}) is True
    assert engine.save_16bit_model(folder / "export") is (stage < 3)
    weights = [weight.detach().clone() for weight in engine.parameters()]
    for arguments, error in (("",), ValueError), ((folder, "broken", {"x": lambda: 0}), Exception):
        try:
            engine.save_checkpoint(*arguments, save_latest=False)
        except error as caught:
            assert "save_dir" in str(caught) or "pickle" in str(caught), caught
        else:
            raise AssertionError
    if rank == 0:  # the others wait for it at the barrier
        autosign.flush(timeout=30)
    torch.distributed.barrier()

    resumed = start()
    path, client_state = resumed.load_checkpoint(folder)
    assert Path(path).parent.name == "third" and client_state["x"] == 3 and resumed.global_steps == 3
    assert all(torch.equal(*pair) for pair in zip(weights, resumed.parameters(), strict=True))
    step(resumed)
    resumed.save_checkpoint(folder)
    assert rank == 0 or autosign.flush(timeout=30).signed == 0
    autosign.flush(timeout=30)
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
"""

LAUNCHER = f"""
    import sys
    from pathlib import Path
    from textwrap import dedent
    from torch.distributed.run import main

    Path("ranks.py").write_text(dedent({TRAINING!r}))
    main(["--standalone", "--nproc-per-node=2", "ranks.py", *sys.argv[1:]])
"""
TAGS = {"global_step1": 1, "global_step2": 2, "global_step4": 4, "third": 3}


def files(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".sig"
    }


def assert_signed(folder: Path, keys: Any, *, exported: bool) -> None:
    folders = [*TAGS, "broken", *["export"] * exported]
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == sorted(folders)
    expected = [f"{tag}/model.sig" for tag in TAGS] + ["export/pytorch_model.bin.sig"] * exported
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.sig")) == sorted(expected)
    for tag, step in TAGS.items():
        signed = model_signing_autosign.verify(folder / tag, public_key=keys.public, min_step=step)
        with pytest.raises(model_signing_autosign.VerificationError, match="least"):
            model_signing_autosign.verify(folder / tag, public_key=keys.public, min_step=step + 1)
        assert set(signed) == {path.name for path in (folder / tag).iterdir()} - {"model.sig"}
    if exported:
        assert model_signing_autosign.verify(folder / "export" / "pytorch_model.bin", public_key=keys.public)


@pytest.mark.parametrize(("stage", "order"), [(0, "enable, import"), (2, "import, enable")])
def test_training_and_resume(
    stage: int, order: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any
) -> None:
    for mode in ("background", "disabled"):
        result = run_script(TRAINING, str(tmp_path / mode), str(stage), order, MODE=mode)
        assert result.returncode == 0, result.stderr
    assert_signed(tmp_path / "background", keys, exported=True)
    assert files(tmp_path / "background") == files(tmp_path / "disabled")
    assert not list((tmp_path / "disabled").rglob("*.sig"))


def test_ranks(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any) -> None:
    """Stage 3, in which each rank holds and saves a part of the weights, and there is nothing to export."""
    result = run_script(LAUNCHER, str(tmp_path / "ranks"), "3", "import, enable", timeout=120)
    assert result.returncode == 0, result.stderr
    assert len(list((tmp_path / "ranks" / "third").glob("zero_pp_rank_1_*"))) == 2
    assert_signed(tmp_path / "ranks", keys, exported=False)
