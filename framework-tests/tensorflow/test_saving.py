"""Each way to save with TensorFlow: one signature for each checkpoint, and the same result as without us."""

from __future__ import annotations

import inspect
import os
import pickle
import shutil
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
from model_signing_autosign import _core

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    Verified = Callable[..., dict[str, list[str]]]

pytestmark = pytest.mark.usefixtures("autosign", "folder")

ONE = ".data-00000-of-00001"
TREE = ["fingerprint.pb", "saved_model.pb", f"variables/variables{ONE}", "variables/variables.index"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def checkpoint(tf: Any) -> Any:
    return tf.train.Checkpoint(small=tf.Variable([1.0, 2.0]), large=tf.Variable(tf.ones([40, 30])))


def shards(tf: Any) -> Any:
    policy = tf.train.experimental.MaxShardSizePolicy(max_shard_size=2000)
    return tf.train.CheckpointOptions(experimental_sharding_callback=policy)


def module(tf: Any) -> Any:
    made = tf.Module()
    made.weights = tf.Variable([1.0, 2.0])
    return made


def graph(tf: Any, save: Callable[[Any, Any], Any]) -> Any:
    """Call ``save`` with TensorFlow 1's module and a session that has two variables."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.get_variable("w", [3]), v1.train.get_or_create_global_step()
        session.run(v1.global_variables_initializer())
        return save(v1, session)


def save(tf: Any) -> str:
    return checkpoint(tf).save("run/ckpt")


def write(tf: Any) -> str:
    return checkpoint(tf).write(file_prefix="run/ckpt")


def write_shards(tf: Any) -> str:
    return checkpoint(tf).write("run/ckpt", options=shards(tf))


def write_fewer_shards(tf: Any) -> str:
    write_shards(tf)
    return write(tf)


def write_uri(tf: Any) -> str:
    return checkpoint(tf).write(f"file://{os.getcwd()}/run/ckpt").removeprefix(f"file://{os.getcwd()}/")


def write_tensor(tf: Any) -> str:
    os.mkdir("run")
    return checkpoint(tf).write(tf.constant("run/ckpt"))


def write_async(tf: Any) -> str:
    made = checkpoint(tf)
    result = made.save("run/ckpt", options=tf.train.CheckpointOptions(enable_async=True))
    made.sync()
    return result


def write_in_eager_async_mode(tf: Any) -> str:
    tf.config.experimental.set_synchronous_execution(False)
    try:
        return tf.train.Checkpoint(large=tf.Variable(tf.ones([32_000_000]))).write("run/ckpt")
    finally:
        tf.config.experimental.set_synchronous_execution(True)


def write_v1(tf: Any) -> str:
    return graph(tf, lambda v1, session: v1.train.Checkpoint(w=v1.global_variables()[0]).write("run/ckpt", session))


def write_mirrored(tf: Any) -> str:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        assert strategy.num_replicas_in_sync == 2
        return tf.train.Checkpoint(w=tf.Variable([1.0])).write("run/ckpt")


def saver(tf: Any) -> str:
    os.mkdir("run")
    return graph(tf, lambda v1, session: v1.train.Saver().save(session, "run/ckpt"))


def saver_step(tf: Any) -> str:
    os.mkdir("run")
    return graph(
        tf,
        lambda v1, session: v1.train.Saver().save(
            session, save_path="run/ckpt", global_step=v1.train.get_global_step()
        ),
    )


def saver_without_meta(tf: Any) -> str:
    os.mkdir("run")
    return graph(tf, lambda v1, session: v1.train.Saver().save(session, "run/ckpt", 7, write_meta_graph=False))


def saved_model(tf: Any) -> Any:
    return tf.saved_model.save(module(tf), "run/model")


def saved_model_again(tf: Any) -> Any:
    saved_model(tf)
    return saved_model(tf)


def saved_model_with_asset(tf: Any) -> Any:
    made = module(tf)
    with open("words.txt", "w") as words:
        words.write("two words")
    made.asset = tf.saved_model.Asset("words.txt")
    return tf.saved_model.save(made, export_dir="run/model", options=tf.saved_model.SaveOptions(save_debug_info=True))


def builder(tf: Any) -> Any:
    def build(v1: Any, session: Any) -> Any:
        made = v1.saved_model.Builder("run/model")
        made.add_meta_graph_and_variables(session, ["serve"])
        return made.save()

    return graph(tf, build)


GROUP = ["ckpt.index", f"ckpt{ONE}"]
WAYS: dict[Any, tuple[object, dict[str, list[str]]]] = {
    save: ("run/ckpt-1", {"run/ckpt-1.index": ["ckpt-1.index", f"ckpt-1{ONE}"]}),
    write: ("run/ckpt", {"run/ckpt.index": GROUP}),
    write_shards: ("run/ckpt", {"run/ckpt.index": ["ckpt.index", *(f"ckpt.data-0000{n}-of-00003" for n in range(3))]}),
    write_fewer_shards: ("run/ckpt", {"run/ckpt.index": GROUP}),
    write_uri: ("run/ckpt", {"run/ckpt.index": GROUP}),
    write_tensor: ("run/ckpt", {"run/ckpt.index": GROUP}),
    write_async: ("run/ckpt-1", {"run/ckpt-1.index": ["ckpt-1.index", f"ckpt-1{ONE}"]}),
    write_in_eager_async_mode: ("run/ckpt", {"run/ckpt.index": GROUP}),
    write_v1: ("run/ckpt", {"run/ckpt.index": GROUP}),
    write_mirrored: ("run/ckpt", {"run/ckpt.index": ["ckpt.index", "ckpt.data-00000-of-00001"]}),
    saver: ("run/ckpt", {"run/ckpt.index": [*GROUP, "ckpt.meta"]}),
    saver_step: ("run/ckpt-0", {"run/ckpt-0.index": ["ckpt-0.index", f"ckpt-0{ONE}", "ckpt-0.meta"]}),
    saver_without_meta: ("run/ckpt-7", {"run/ckpt-7.index": ["ckpt-7.index", f"ckpt-7{ONE}"]}),
    saved_model: (None, {"run/model": TREE}),
    saved_model_again: (None, {"run/model": TREE}),
    saved_model_with_asset: (
        None,
        {"run/model": [*TREE, "assets/words.txt", "debug/saved_model_debug_info.pb"]},
    ),
    builder: (b"run/model/saved_model.pb", {"run/model": TREE[1:]}),
}


@pytest.mark.parametrize("way", WAYS)
def test_ways(way: Callable[[Any], object], tf: Any, tmp_path: Path, autosign: ModuleType, verified: Verified) -> None:
    result, signed = WAYS[way]
    assert way(tf) == result
    assert verified(tmp_path, upstream=True) == {root: sorted(files) for root, files in signed.items()}
    shutil.rmtree("run")
    autosign.disable()
    assert way(tf) == result
    assert verified(tmp_path) == {}


def test_not_signed(tf: Any, tmp_path: Path, verified: Verified, capfd: pytest.CaptureFixture[str]) -> None:
    made = checkpoint(tf)
    made.write("ram://here/ckpt")
    made.write("ram://here/other")
    tf.saved_model.save(module(tf), "ram://here/model")
    tf.function(lambda: made.write("traced"))()  # runs without Python, the second time
    assert (tmp_path / "traced.index").exists()
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("model-signing")]
    assert lines == ["model-signing: ram://here/ckpt is unsigned, and so is all else that is saved to ram://"]
    assert verified(tmp_path) == {}


def test_failures(tf: Any, tmp_path: Path, autosign: ModuleType, verified: Verified) -> None:
    made = checkpoint(tf)
    (tmp_path / "bad.index").mkdir()
    (tmp_path / "file").touch()
    for prefix in ("bad", "file/ckpt"):
        raised = []
        for turn in (autosign.disable, autosign.enable):
            turn()
            with pytest.raises(tf.errors.OpError) as error:
                made.write(prefix)
            raised.append((error.type, error.value.message))
        assert raised[0] == raised[1]
    with pytest.raises(ValueError, match="Expected an object of type `Trackable`"):
        tf.saved_model.save(3, "model")
    assert verified(tmp_path) == {}
    # What was there, and has been overwritten in part, is signed no more.
    made.write("good")
    assert list(verified(tmp_path)) == ["good.index"]
    (tmp_path / f"good{ONE}").unlink()
    (tmp_path / f"good{ONE}").mkdir()
    with pytest.raises(tf.errors.OpError):
        made.write("good")
    assert verified(tmp_path) == {}


class TestRemoval:
    def test_by_hand(self, tf: Any, tmp_path: Path, verified: Verified) -> None:
        for name in ("removed", "renamed", "kept"):
            checkpoint(tf).write(f"{name}/ckpt")
        for name in ("model", "other"):
            tf.saved_model.save(module(tf), name)
        assert len(verified(tmp_path)) == 5
        tf.io.gfile.remove("removed/ckpt.index")
        tf.io.gfile.rename("renamed/ckpt.index", "renamed/other.index")
        tf.io.gfile.rmtree(f"file://{tmp_path}/model")
        tf.compat.v1.gfile.Rename("other", "new")
        renamed = sorted({"other.index", *GROUP} - {"ckpt.index"})
        assert verified(tmp_path) == {"kept/ckpt.index": sorted(GROUP), "new": TREE, "renamed/other.index": renamed}

    @pytest.mark.parametrize("signed", [False, True], ids=["pending", "signed"])
    @pytest.mark.parametrize("kinds", [("index", "data"), ("data", "index")], ids="-".join)
    def test_all_its_files_renamed(
        self, kinds: tuple[str, str], signed: bool, tf: Any, tmp_path: Path, verified: Verified
    ) -> None:
        checkpoint(tf).write("run/ckpt")
        if signed:
            verified(tmp_path)
        for kind in kinds:
            for path in tmp_path.glob(f"run/ckpt.{kind}*"):
                if path.suffix != ".sig":
                    path.rename(path.with_name(path.name.replace("ckpt", "best")))
        assert verified(tmp_path) == {"run/best.index": sorted(name.replace("ckpt", "best") for name in GROUP)}
        checkpoint(tf).read("run/best").assert_consumed()

    def test_strangers(self, tf: Any, tmp_path: Path, keys: Any, verified: Verified) -> None:
        """The signature of an earlier process goes as well."""
        checkpoint(tf).write("known/ckpt")
        with model_signing_autosign.paused():
            for name in ("a", "b"):
                checkpoint(tf).write(f"{name}/ckpt")
                options = ["--signature", f"{name}/ckpt.index.sig", "--private-key", str(keys.private)]
                assert _core.run(["model-signing", "sign", "key", f"{name}/ckpt.index", *options]) == 0
        assert list(verified(tmp_path)) == ["a/ckpt.index", "b/ckpt.index", "known/ckpt.index"]
        tf.io.gfile.remove("a/ckpt.index")
        assert list(verified(tmp_path)) == ["b/ckpt.index", "known/ckpt.index"]

    def test_while_it_is_pending(
        self, tf: Any, tmp_path: Path, verified: Verified, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """What is removed before its turn is given up without a word."""
        for name in ("removed", "renamed"):
            tf.saved_model.save(module(tf), name)  # a folder settles first
        assert model_signing_autosign.status().pending == 2
        tf.io.gfile.rmtree(f"file://{tmp_path}/removed")
        assert model_signing_autosign.status().pending == 1
        tf.io.gfile.rename("renamed", "new")
        assert verified(tmp_path) == {"new": TREE}
        tf.train.Checkpoint(w=tf.Variable(tf.ones([16_000_000]))).write("large")  # to be busy with
        manager = tf.train.CheckpointManager(checkpoint(tf), "run", max_to_keep=1)
        for _ in range(4):
            manager.save()
        assert list(verified(tmp_path)) == ["large.index", "new", "run/ckpt-4.index"]
        lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("model-signing")]
        assert [line for line in lines if "model-signing: signed" not in line] == []

    def test_kept_by_the_hour(self, tf: Any, tmp_path: Path, verified: Verified) -> None:
        made = checkpoint(tf)
        manager = tf.train.CheckpointManager(made, "run", max_to_keep=1, keep_checkpoint_every_n_hours=1e-9)
        for _ in range(3):
            manager.save()
        assert list(verified(tmp_path)) == [f"run/ckpt-{number}.index" for number in (1, 2, 3)]
        assert manager.latest_checkpoint == "run/ckpt-3"


def test_contract(tf: Any) -> None:
    """Nobody can tell a hooked function from the original."""
    from tensorflow.python.checkpoint.checkpoint import TrackableSaver
    from tensorflow.python.saved_model import save as saved_model
    from tensorflow.python.training import saver

    parameters = lambda function: list(inspect.signature(function).parameters)  # noqa: E731
    assert parameters(TrackableSaver.save) == ["self", "file_prefix", "checkpoint_number", "session", "options"]
    assert parameters(saver.Saver.save)[:4] == ["self", "sess", "save_path", "global_step"]
    assert parameters(saved_model.save_and_return_nodes)[:2] == ["obj", "export_dir"]
    for function in (TrackableSaver.save, saver.Saver.save, saved_model.save_and_return_nodes):
        assert hasattr(function, "__wrapped__")
        assert pickle.loads(pickle.dumps(function)) is function


def test_disabled_again(tf: Any, tmp_path: Path, autosign: ModuleType, verified: Verified) -> None:
    bound = tf.train.Checkpoint.write
    autosign.disable()
    bound(checkpoint(tf), "a")
    autosign.enable()
    bound(checkpoint(tf), "b")
    assert list(verified(tmp_path)) == ["b.index"]
