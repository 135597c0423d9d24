"""torch.distributed.checkpoint in one process, with signing enabled in it."""

from __future__ import annotations

import inspect
import pickle
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import model_signing_autosign
import pytest
import torch
import torch.distributed.checkpoint as dcp
from model_signing_autosign import _core
from torch.distributed.checkpoint import FileSystemWriter, HuggingFaceStorageWriter
from torch.distributed.checkpoint import save as bound_before_enable
from torch.distributed.checkpoint.format_utils import torch_save_to_dcp
from torch.distributed.checkpoint.fsspec_filesystem import FsspecWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

pytestmark = [
    pytest.mark.usefixtures("autosign"),
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled"),
    pytest.mark.filterwarnings("ignore:Detected an existing checkpoint"),
    pytest.mark.filterwarnings("ignore:fsync not supported"),
    pytest.mark.filterwarnings("ignore:.save_state_dict. is deprecated:FutureWarning"),
]


def state() -> dict[str, torch.Tensor]:
    return {"w": torch.arange(9.0), "v": torch.ones(3, 3)}


@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
@pytest.mark.parametrize(
    "save",
    [
        lambda path: dcp.save(state(), checkpoint_id=path),
        lambda path: bound_before_enable(state(), checkpoint_id=path),
        lambda path: dcp.save(state(), storage_writer=FileSystemWriter(path)),
        lambda path: dcp.save(state(), storage_writer=FileSystemWriter("elsewhere"), checkpoint_id=path),
        lambda path: dcp.save(state(), storage_writer=FileSystemWriter(path, thread_count=2)),
        lambda path: dcp.save(state(), storage_writer=FsspecWriter(str(path))),
        lambda path: dcp.save(state(), storage_writer=FsspecWriter(f"file://{path}")),
        lambda path: dcp.save_state_dict(state(), FileSystemWriter(path), no_dist=True),
        lambda path: dcp.async_save(state(), checkpoint_id=path).result(),
    ],
    ids=["save", "bound", "writer", "moved", "threads", "fsspec", "url", "deprecated", "async"],
)
def test_signed_once(
    save: Callable[[Any], Any],
    kind: Callable[[Path], Any],
    tmp_path: Path,
    autosign: ModuleType,
    is_signed: Callable[[Path], bool],
    signatures: Callable[[], list[str]],
) -> None:
    before = autosign.flush(timeout=30).signed
    result = save(kind(tmp_path / "x"))
    assert isinstance(result, dcp.Metadata)
    assert is_signed(tmp_path / "x")
    assert signatures() == ["x/model.sig"]
    assert autosign.flush().signed == before + 1
    loaded = {"w": torch.zeros(9), "v": torch.zeros(3, 3)}
    dcp.load(loaded, checkpoint_id=tmp_path / "x")
    assert all(torch.equal(loaded[name], tensor) for name, tensor in state().items())


@pytest.mark.parametrize(
    "options",
    [{}, {"save_distributed": True}, {"save_distributed": True, "enable_consolidation": True}],
    ids=["whole", "shards", "consolidated"],
)
def test_hugging_face(options: dict[str, bool], tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    dcp.save(state(), storage_writer=HuggingFaceStorageWriter(str(tmp_path / "x"), **options))
    assert is_signed(tmp_path / "x")
    assert [path.name for path in tmp_path.rglob("*.sig")] == ["model.sig"]
    assert list((tmp_path / "x").glob("*.safetensors")) != []


def test_converted(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    torch.save(state(), tmp_path / "x.pt")
    torch_save_to_dcp(tmp_path / "x.pt", tmp_path / "x")
    assert is_signed(tmp_path / "x.pt")
    assert is_signed(tmp_path / "x")


def test_not_a_folder(
    tmp_path: Path, signatures: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, autosign: ModuleType
) -> None:
    monkeypatch.chdir(tmp_path)
    before = autosign.flush(timeout=30)
    dcp.save(state(), storage_writer=FsspecWriter("memory://x"))
    dcp.save(state(), checkpoint_id="memory://y")
    assert fsspec.filesystem("memory").exists("/y/.metadata")
    assert signatures() == []
    assert autosign.status() == before


class NodeLocal(FileSystemWriter):
    """What another node writes stays on that node."""

    def finish(self, metadata: Any, results: Any) -> None:
        super().finish(metadata, results)
        folder = Path(self.path)
        (folder / "__0_1.distcp").rename(folder.parent / "elsewhere")


def test_shards_of_another_node(
    tmp_path: Path, is_signed: Callable[[Path], bool], keys: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, shard = tmp_path / "x", tmp_path / "x" / "__0_1.distcp"
    dcp.save(state(), storage_writer=NodeLocal(folder, thread_count=2))
    assert is_signed(folder)
    assert capfd.readouterr().err.count('but ".metadata" names "__0_1.distcp" that is not there') == 1
    model_signing_autosign.disable()
    shutil.copy(tmp_path / "elsewhere", shard)
    model = [str(folder), "--signature", str(folder / "model.sig")]
    verify = ["model-signing", "verify", "key", *model, "--public-key", str(keys.public)]
    sign = ["model-signing", "sign", "key", *model, "--private-key", str(keys.private)]
    for command in ([*verify, "--ignore-unsigned-files"], [*sign, "--ignore-paths", str(shard)]):
        assert _core.run(command) == 1
        assert 'the index ".metadata" names "__0_1.distcp", which is not signed' in capfd.readouterr().err
    assert _core.run(sign) == _core.run(verify) == 0


class Failing(FileSystemWriter):
    def finish(self, metadata: Any, results: Any) -> None:
        raise OSError("disk full")


@pytest.mark.parametrize(
    "save",
    [
        lambda path: dcp.save(state(), storage_writer=Failing(path)),
        lambda path: dcp.async_save(state(), storage_writer=Failing(path)).result(),
        lambda path: dcp.save({"w": lambda: 0}, checkpoint_id=path),
        lambda path: dcp.save(state(), storage_writer=FileSystemWriter(path, overwrite=False)),
        lambda path: dcp.save(state()),
        lambda path: dcp.save(checkpoint_id=path),
        lambda path: dcp.state_dict_saver._save_state_dict(),
    ],
    ids=["disk", "async", "unpicklable", "exists", "no path", "no state", "nothing"],
)
def test_failing_save(save: Callable[[Any], Any], tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """The same exception with the same words, and the same files."""
    outcomes = []
    with model_signing_autosign.paused():
        dcp.save(state(), checkpoint_id=tmp_path / "x")
    for _ in range(2):
        with pytest.raises(BaseException) as caught:  # noqa: PT011 - which one is compared
            save(tmp_path / "x")
        files = sorted(path.name for path in (tmp_path / "x").iterdir())
        outcomes.append((caught.type, str(caught.value).partition("\n")[0].partition(" at 0x")[0], files))
        assert signatures() == []
        model_signing_autosign.disable()
    assert outcomes[0] == outcomes[1]


def test_functions_look_as_before() -> None:
    from torch.distributed.checkpoint import _async_process_executor as executor
    from torch.distributed.checkpoint import format_utils, state_dict_saver

    assert state_dict_saver._save_state_dict is format_utils._save_state_dict
    for function in (
        dcp.save,
        dcp.async_save,
        state_dict_saver._save_state_dict,
        executor._ProcessBasedAsyncCheckpointExecutor._execute_save_impl,
        executor._AsyncCheckpointProcess._execute_save,
    ):
        assert pickle.loads(pickle.dumps(function)) is function
    names = list(inspect.signature(state_dict_saver._save_state_dict).parameters)
    assert names[:5] == ["state_dict", "storage_writer", "process_group", "coordinator_rank", "no_dist"]
    parameters = inspect.signature(executor._AsyncCheckpointProcess._execute_save).parameters
    assert {"checkpoint_request_id", "storage_writer"} <= parameters.keys()


ORDERS = """
    import sys, warnings
    warnings.simplefilter("ignore")
    import model_signing_autosign as autosign

    class Steps:
        def enable():
            autosign.enable()
        def load():
            global torch, dcp, format_utils
            import torch, torch.distributed.checkpoint as dcp
            import torch.distributed.checkpoint.format_utils as format_utils
        def bind():
            global save, _save_state_dict
            from torch.distributed.checkpoint import save
            from torch.distributed.checkpoint.format_utils import _save_state_dict

    for step in sys.argv[1:]:
        getattr(Steps, step)()
    save({"w": torch.zeros(9)}, checkpoint_id="save")
    dcp.async_save({"w": torch.zeros(9)}, checkpoint_id="async").result()
    torch.save({"w": torch.zeros(9)}, "x.pt")
    format_utils.torch_save_to_dcp("x.pt", "converted")
"""


@pytest.mark.parametrize("steps", ["enable load bind", "load bind enable"])
def test_orders(steps: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    result = run_script(ORDERS, *steps.split())
    assert result.returncode == 0, result.stderr
    found = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.sig"))
    assert found == ["async/model.sig", "converted/model.sig", "save/model.sig", "x.pt.sig"]
