"""What an Accelerator saves, with signing enabled in this process."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import ProjectConfiguration
from accelerate.utils import save as bound_before_enable

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")


class Counter:
    def __init__(self) -> None:
        self.count = 7

    def state_dict(self) -> dict[str, int]:
        return {"count": self.count}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.count = state["count"]


class Fails(Counter):
    def state_dict(self) -> dict[str, int]:
        message = "no state today"
        raise RuntimeError(message)


def accelerator(**configuration: Any) -> Accelerator:
    made = Accelerator(cpu=True, project_config=ProjectConfiguration(**configuration))
    model = torch.nn.Linear(8, 4)
    made.prepare(model, torch.optim.AdamW(model.parameters()))
    return made


def verified(model: Path, autosign: ModuleType, keys: Any) -> set[str]:
    assert autosign.flush(timeout=30).pending == 0
    return set(autosign.verify(model, public_key=keys.public))


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".sig"}


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "torch"])
def test_state(
    kind: Callable[[Path], Any],
    safe: bool,
    tmp_path: Path,
    autosign: ModuleType,
    keys: Any,
    signatures: Callable[[], list[str]],
) -> None:
    training, counter = accelerator(), Counter()
    training.register_for_checkpointing(counter)
    folder = tmp_path / "state"
    assert training.save_state(kind(folder), safe_serialization=safe) == folder
    assert signatures() == ["state/model.sig"]
    assert verified(folder, autosign, keys) == files(folder) >= {"custom_checkpoint_0.pkl", "random_states_0.pkl"}
    counter.count = 0
    training.load_state(str(folder))
    assert counter.count == 7


def test_state_saved_again(tmp_path: Path, is_signed: Callable[[Path], bool], autosign: ModuleType) -> None:
    training = accelerator()
    for _ in range(5):
        training.save_state(output_dir=tmp_path / "state")
    assert is_signed(tmp_path / "state")
    assert autosign.status().failed == 0


def test_named_by_itself(
    tmp_path: Path, is_signed: Callable[[Path], bool], signatures: Callable[[], list[str]]
) -> None:
    training = accelerator(project_dir=str(tmp_path), automatic_checkpoint_naming=True)
    assert training.save_state() == tmp_path / "checkpoints" / "checkpoint_0"
    training.save_state(str(tmp_path / "ignored"))  # by accelerate
    assert is_signed(tmp_path / "checkpoints" / "checkpoint_0")
    assert is_signed(tmp_path / "checkpoints" / "checkpoint_1")
    assert len(signatures()) == 2


@pytest.mark.parametrize("automatic", [True, False])
def test_failing_state(automatic: bool, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    training = accelerator(project_dir=str(tmp_path), automatic_checkpoint_naming=automatic)
    training.register_for_checkpointing(Fails())
    with pytest.raises(RuntimeError, match="no state today"):
        training.save_state(str(tmp_path / "state"))
    with (
        pytest.raises(RuntimeError, match="no state today")
        if not automatic
        else pytest.raises(ValueError, match="already exists")
    ):
        training.save_state(str(tmp_path / "state"))
    assert len(list(tmp_path.rglob("model.safetensors"))) == 1
    assert signatures() == []


def test_state_without_folder(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    with pytest.raises(TypeError):
        accelerator().save_state()
    assert signatures() == []


@pytest.mark.parametrize("safe", [True, False], ids=["safetensors", "torch"])
@pytest.mark.parametrize("size", ["10GB", "1KB"], ids=["one file", "shards"])
def test_model(
    size: str, safe: bool, tmp_path: Path, autosign: ModuleType, keys: Any, signatures: Callable[[], list[str]]
) -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(3)))
    before = autosign.flush(timeout=30).signed
    result = accelerator().save_model(model, tmp_path / "m", max_shard_size=size, safe_serialization=safe)
    assert result is None
    assert signatures() == ["m/model.sig"]
    assert autosign.flush().signed == before + 1
    assert verified(tmp_path / "m", autosign, keys) == files(tmp_path / "m")
    assert (len(files(tmp_path / "m")) > 1) is (size == "1KB")


def test_model_to_a_file(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """accelerate only logs an error then: what is there is not ours to sign."""
    (tmp_path / "m").write_bytes(b"of somebody else")
    assert accelerator().save_model(torch.nn.Linear(2, 2), str(tmp_path / "m")) is None
    assert signatures() == []


def test_model_without_weights(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    with pytest.raises(RuntimeError, match="meta device"):
        accelerator().save_model(torch.nn.Linear(2, 2, device="meta"), tmp_path / "m")
    assert signatures() == []


def test_single_files(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    accelerator().save({"w": torch.zeros(3)}, tmp_path / "a.pt")
    accelerator().save({"w": torch.zeros(3)}, tmp_path / "b.safetensors", safe_serialization=True)
    bound_before_enable({"w": torch.zeros(3)}, tmp_path / "c.pt")
    assert signatures() == ["a.pt.sig", "b.safetensors.sig", "c.pt.sig"]


def test_methods_look_the_same() -> None:
    for method, first in ((Accelerator.save_state, "output_dir"), (Accelerator.save_model, "model")):
        assert hasattr(method, "__wrapped__")
        assert list(inspect.signature(method).parameters)[1] == first
        assert pickle.loads(pickle.dumps(method)) is method


ORDERS = """
    import sys
    import model_signing_autosign as autosign

    order = sys.argv[1]
    if order == "enable, import":
        autosign.enable()
    import torch
    from accelerate import Accelerator
    save_state = Accelerator.save_state
    training = Accelerator(cpu=True)
    training.prepare(torch.nn.Linear(2, 2))
    if order == "import, enable":
        autosign.enable()
        save_state = Accelerator.save_state
    save_state(training, "a")
    training.save_model(torch.nn.Linear(2, 2), "b")
    autosign.disable()
    training.save_state("c")
    autosign.enable()
    training.save_state("d")
    autosign.flush(timeout=30)
"""


@pytest.mark.parametrize("order", ["enable, import", "import, enable"])
def test_orders(order: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    result = run_script(ORDERS, order)
    assert result.returncode == 0, result.stderr
    signed = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.sig"))
    assert signed == ["a/model.sig", "b/model.sig", "d/model.sig"]
