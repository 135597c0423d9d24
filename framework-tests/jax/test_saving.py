"""orbax's checkpointers in this process: one signature for each checkpoint, once it has been committed."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import pkgutil
from typing import TYPE_CHECKING, Any

import numpy as np
import orbax.checkpoint as ocp
import pytest
from etils import epath
from model_signing_autosign import paused
from model_signing_autosign._saving import Call, local
from model_signing_autosign.frameworks import orbax as hook
from orbax.checkpoint import args
from orbax.checkpoint.experimental import v1
from orbax.checkpoint.path import atomicity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

STATE = {"w": np.arange(8.0), "inner": {"b": np.ones(3)}}

pytestmark = pytest.mark.usefixtures("autosign")


def same(first: Any, second: Any) -> bool:
    return np.array_equal(first["w"], second["w"]) and np.array_equal(first["inner"]["b"], second["inner"]["b"])


def standard(path: Path, **options: Any) -> None:
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, STATE, **options)
        checkpointer.wait_until_finished()
        assert same(checkpointer.restore(path), STATE)


def pytree(path: Path, **options: Any) -> None:
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(path, STATE, **options)
        assert same(checkpointer.restore(path), STATE)


def asynchronous(path: Path, **options: Any) -> None:
    with ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        checkpointer.save(path, STATE, **options)


def composite(path: Path, **options: Any) -> None:
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler("model", "meta")) as checkpointer:
        parts = args.Composite(model=args.StandardSave(STATE), meta=args.JsonSave({"a": 1}))
        checkpointer.save(path, args=parts, **options)
        assert checkpointer.restore(path).meta == {"a": 1}


def commit_file(path: Path, **options: Any) -> None:
    """Writes in place, as on a file system that cannot rename."""
    handler, kind = ocp.PyTreeCheckpointHandler(), atomicity.CommitFileTemporaryPath
    with ocp.AsyncCheckpointer(handler, temporary_path_class=kind) as checkpointer:
        checkpointer.save(path, STATE, **options)


def new(path: Path, **options: Any) -> None:
    v1.save(path, STATE, overwrite=bool(options))
    assert same(v1.load(path), STATE)


def new_asynchronous(path: Path, **options: Any) -> None:
    v1.save_async(path, STATE, overwrite=bool(options)).result()


def new_parts(path: Path, **options: Any) -> None:
    v1.save_checkpointables(path, {"model": STATE, "meta": {"a": 1}}, overwrite=bool(options))


SAVES = [standard, pytree, asynchronous, composite, commit_file, new, new_asynchronous, new_parts]
saves = pytest.mark.parametrize("save", SAVES)


@saves
def test_one_signature(
    save: Callable[..., None],
    tmp_path: Path,
    autosign: ModuleType,
    signatures: Callable[[], list[str]],
    verified: Callable[[Path], set[str]],
) -> None:
    before = autosign.flush().signed
    path = tmp_path / "step"
    save(path)
    times = os.stat(path).st_mtime_ns, (path / "_CHECKPOINT_METADATA").read_bytes()
    assert signatures() == ["step/model.sig"]
    assert autosign.flush().signed == before + 1
    assert times == (os.stat(path).st_mtime_ns, (path / "_CHECKPOINT_METADATA").read_bytes())
    assert verified(path) == {"."}


@saves
def test_overwritten(
    save: Callable[..., None], tmp_path: Path, is_signed: Callable[[Path], bool], signatures: Callable[[], list[str]]
) -> None:
    save(tmp_path / "step")
    assert is_signed(tmp_path / "step")
    save(tmp_path / "step", force=True)
    assert is_signed(tmp_path / "step")
    save(tmp_path / "step", force=True)
    save(tmp_path / "step", force=True)  # while that one is pending
    assert is_signed(tmp_path / "step")
    assert signatures() == ["step/model.sig"]


@saves
def test_paused(save: Callable[..., None], tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    with paused():
        save(tmp_path / "scratch")
    save(tmp_path / "step")
    assert signatures() == ["step/model.sig"]


def test_not_before_it_is_committed(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """orbax calls what it names a post-finalization callback before the commit."""
    seen = []
    options = ocp.options.AsyncOptions(post_finalization_callback=lambda: seen.append(signatures()))
    with ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler(), async_options=options) as checkpointer:
        checkpointer.save(tmp_path / "step", STATE)
    assert seen == [[]]
    assert signatures() == ["step/model.sig"]


class Failing(ocp.PyTreeCheckpointHandler):  # type: ignore[misc]
    def __init__(self, in_the_way: Path) -> None:
        super().__init__()
        self._in_the_way = in_the_way

    def finalize(self, directory: epath.Path) -> None:
        super().finalize(directory)
        (self._in_the_way / "file").mkdir(parents=True)  # so that it cannot be renamed


def save_and_wait(checkpointer: Any, path: Path) -> None:
    checkpointer.save(path, STATE)
    getattr(checkpointer, "wait_until_finished", lambda: None)()


@pytest.mark.parametrize("checkpointer", [ocp.Checkpointer, ocp.AsyncCheckpointer])
def test_failed_commit(
    checkpointer: Any, tmp_path: Path, autosign: ModuleType, signatures: Callable[[], list[str]]
) -> None:
    errors = []
    for name in ("hooked", "plain"):
        with checkpointer(Failing(tmp_path / name)) as failing:
            with pytest.raises(FileExistsError) as caught:
                save_and_wait(failing, tmp_path / name)
            errors.append(str(caught.value).replace(name, "name"))
        autosign.disable()
    autosign.enable()
    assert errors[0] == errors[1]
    assert signatures() == []


def test_failed_save(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "step", STATE)
        with pytest.raises(ValueError, match="already exists"):
            checkpointer.save(tmp_path / "step", STATE)
        with pytest.raises(ValueError, match="TypeHandler"):
            checkpointer.save(tmp_path / "step2", {"w": object()})
    assert signatures() == ["step/model.sig"]


def test_partial(tmp_path: Path, is_signed: Callable[[Path], bool], signatures: Callable[[], list[str]]) -> None:
    v1.partial.save(tmp_path / "step", {"a": np.ones(2)})
    v1.partial.save(tmp_path / "step", {"b": np.ones(3)})
    assert signatures() == []
    v1.partial.finalize(tmp_path / "step")
    assert is_signed(tmp_path / "step")
    assert sorted(v1.load(tmp_path / "step")) == ["a", "b"]
    with pytest.raises(FileExistsError):
        v1.partial.finalize(tmp_path / "step")
    assert is_signed(tmp_path / "step")


def test_deleted_item(
    tmp_path: Path, autosign: ModuleType, is_signed: Callable[[Path], bool], signatures: Callable[[], list[str]]
) -> None:
    with v1.training.Checkpointer(tmp_path / "run") as checkpointer:
        for step in range(2):
            checkpointer.save_checkpointables(step, {"model": STATE, "optimizer": STATE})
        assert is_signed(tmp_path / "run/1")
        checkpointer.delete(1, checkpointable_name="optimizer")
        assert is_signed(tmp_path / "run/1")
        assert sorted(checkpointer.load_checkpointables(1)) == ["model"]
        checkpointer.delete(0)
    assert signatures() == ["run/1/model.sig"]
    # One that was saved by somebody else.
    autosign.disable()
    new_parts(tmp_path / "other")
    autosign.enable()
    v1.delete(tmp_path / "other", checkpointable_name="meta")
    assert signatures() == ["run/1/model.sig"]


def test_memory_of_a_run_without_end() -> None:
    class Committed:
        def __init__(self, step: int) -> None:
            self.step = step

        def get_final(self) -> str:
            return f"/run/{self.step}"

    for step in range(3000):
        hook._committed(Call((Committed(step),), {}))
    assert len(hook._saved) <= 1000
    assert "/run/2999" in hook._saved


def test_several_at_a_time(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    responses = [v1.save_async(tmp_path / str(step), STATE) for step in range(3)]
    for response in responses:
        response.result()
    assert signatures() == [f"{step}/model.sig" for step in range(3)]


def test_commits_that_interleave(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """Two coroutines in one thread, which both wait for other threads; neither is part of the other."""

    async def commit(path: Path) -> None:
        temporary = atomicity.AtomicRenameTemporaryPath.from_final(epath.Path(path))
        await temporary.create()
        await atomicity.on_commit_callback(temporary, checkpoint_start_time=0.0)

    async def both() -> None:
        (tmp_path / "run").mkdir()
        await asyncio.gather(*(commit(tmp_path / "run" / name) for name in ("a", "b", "c")))

    asyncio.run(both())
    assert signatures() == [f"run/{name}/model.sig" for name in ("a", "b", "c")]


def test_not_a_local_path(capfd: pytest.CaptureFixture[str]) -> None:
    assert local(epath.Path("gs://bucket/run/1")) is None
    assert local(epath.Path("gs://bucket/run/2")) is None
    assert local(epath.Path("s3://bucket/run/2")) is None
    assert local(epath.Path("/run/1")) == "/run/1"
    lines = capfd.readouterr().err.splitlines()
    assert [line.rpartition(" is saved to ")[2] for line in lines] == ["gs://", "s3://"]
    assert "gs://bucket/run/1 is unsigned" in lines[0]


@pytest.mark.parametrize(
    "name",
    [
        "orbax.checkpoint._src.path.atomicity:on_commit_callback",
        "orbax.checkpoint._src.path.atomicity:TemporaryPathBase.__init__",
        "orbax.checkpoint._src.path.async_path:rename",
        "orbax.checkpoint.experimental.v1._src.deletion.execution:_execute",
    ],
)
def test_looks_like_the_original(name: str, autosign: ModuleType) -> None:
    hooked = pickle.loads(pickle.dumps(pkgutil.resolve_name(name)))
    assert hooked is pkgutil.resolve_name(name)
    assert hasattr(hooked, "__wrapped__")
    autosign.disable()
    original = pkgutil.resolve_name(name)
    autosign.enable()
    assert original is hooked.__wrapped__
    assert inspect.signature(hooked) == inspect.signature(original)
    assert inspect.iscoroutinefunction(hooked) == inspect.iscoroutinefunction(original)
