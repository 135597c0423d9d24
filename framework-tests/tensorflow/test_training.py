"""Whole trainings: what they keep is signed, and is what they keep without us."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]
    Verified = Callable[..., dict[str, list[str]]]

EXAMPLE = Path(__file__).parents[2] / "examples/train_tensorflow.py"
CHANGES = {"checkpoint", "fingerprint.pb"}  # the time and a random number are in them


def test_the_example(run_script: Run, tmp_path: Path, verified: Verified) -> None:
    """The second run goes on where the first one ended, and its rotation takes what that one has signed."""
    kept = {}
    for mode in ("background", "disabled"):
        output = ""
        for epochs in ("2", "4"):
            # In the same folder, because its path is in the state file.
            result = run_script(EXAMPLE.read_text(encoding="utf-8"), "run", "--epochs", epochs, timeout=120, MODE=mode)
            assert result.returncode == 0, result.stderr
            output += result.stdout
        assert "resumed from run/ckpt-2" in output
        (tmp_path / "run").rename(tmp_path / mode)
        files = {path.relative_to(tmp_path / mode): path for path in (tmp_path / mode).rglob("*") if path.is_file()}
        kept[mode] = (
            output,
            {
                str(name): b"" if path.name in CHANGES else path.read_bytes()
                for name, path in files.items()
                if path.suffix != ".sig"
            },
        )
    assert kept["background"] == kept["disabled"]
    assert verified(tmp_path, upstream=True) == {
        f"background/{root}": files
        for root, files in {
            "ckpt-3.index": ["ckpt-3.data-00000-of-00001", "ckpt-3.index"],
            "ckpt-4.index": ["ckpt-4.data-00000-of-00001", "ckpt-4.index"],
            "model": [
                "fingerprint.pb",
                "saved_model.pb",
                "variables/variables.data-00000-of-00001",
                "variables/variables.index",
            ],
        }.items()
    }
    assert {path.suffix for path in (tmp_path / "spool").iterdir() if path.is_file()} <= {".lock"}


# As in TensorFlow's guide: all workers save, for variables may have to be gathered, and all but the chief remove that.
WORKERS = """
    import json, os, socket, subprocess, sys
    import model_signing_autosign as autosign

    if "TF_CONFIG" not in os.environ:
        free = [socket.create_server(("localhost", 0)) for _ in range(2)]
        addresses = [f"localhost:{server.getsockname()[1]}" for server in free]
        for server in free:
            server.close()
        configs = [
            {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}} for index in range(2)
        ]
        workers = [
            subprocess.Popen([sys.executable, __file__], env=os.environ | {"TF_CONFIG": json.dumps(config)})
            for config in configs
        ]
        sys.exit(max(worker.wait() for worker in workers))

    autosign.enable()
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    index = strategy.cluster_resolver.task_id
    folder = "run" if index == 0 else "run/workertemp_1"
    with strategy.scope():
        variable = tf.Variable([1.0, 2.0])
        sums = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", variable))
        assert sums.numpy().tolist() == [2.0, 4.0]
        tf.train.Checkpoint(w=variable).write(f"{folder}/inside")
    manager = tf.train.CheckpointManager(tf.train.Checkpoint(w=variable), folder, max_to_keep=1)
    manager.save()
    manager.save()
    module = tf.Module()
    module.w = variable
    tf.saved_model.save(module, f"{folder}/model")
    status = autosign.flush(timeout=30)
    assert (status.signed + status.superseded, status.failed) == (4 * (index == 0), 0), status
    if index:
        assert os.path.exists("run/workertemp_1/model/saved_model.pb")
        tf.io.gfile.rmtree(folder)
"""


def test_workers(run_script: Run, tmp_path: Path, verified: Verified) -> None:
    """Only the chief's are signed."""
    result = run_script(WORKERS, timeout=120)
    assert result.returncode == 0, result.stderr
    assert list(verified(tmp_path)) == ["run/ckpt-2.index", "run/inside.index", "run/model"]
