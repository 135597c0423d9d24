"""Trainings with JAX, each in a process of its own: with orbax's manager, Flax, Keras, and several processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

TRAINING = """
    import json, os, sys
    from pathlib import Path
    import model_signing.autosign as autosign
    import jax, numpy, optax
    import orbax.checkpoint as ocp
    from orbax.checkpoint import CheckpointManagerOptions as Options
    from orbax.checkpoint.args import Composite, JsonSave, StandardRestore, StandardSave
    from orbax.checkpoint.experimental import v1
    from orbax.checkpoint.path import atomicity
    from sklearn.datasets import load_digits

    folder = Path(sys.argv[1]).absolute()
    digits = load_digits()
    images, labels = digits.data[:256].astype("float32") / 16, digits.target[:256]
    optimizer = optax.adam(1e-2)

    @jax.jit
    def update(state):
        def loss(parameters):
            scores = images @ parameters["w"] + parameters["b"]
            return optax.softmax_cross_entropy_with_integer_labels(scores, labels).mean()
        value, gradients = jax.value_and_grad(loss)(state["parameters"])
        updates, inner = optimizer.update(gradients, state["optimizer"])
        return {"parameters": optax.apply_updates(state["parameters"], updates), "optimizer": inner}, value

    parameters = {"w": jax.numpy.zeros((64, 10)), "b": jax.numpy.zeros(10)}
    start = {"parameters": parameters, "optimizer": optimizer.init(parameters)}
    kept = {}

    def train(name, end, **options):
        with ocp.CheckpointManager(folder / name, options=Options(**options)) as manager:
            step, state = manager.latest_step(), start
            if step is not None:
                state = manager.restore(step, args=Composite(state=StandardRestore(start)))["state"]
            for step in range(0 if step is None else step + 1, end):
                state, loss = update(state)
                parts = Composite(state=StandardSave(state), data=JsonSave({"seen": step}))
                manager.save(step, args=parts, metrics={"loss": float(loss) * (-1) ** step})
                if options.get("enable_async_checkpointing") is False:
                    assert manager.latest_step() == step
        with ocp.CheckpointManager(folder / name, options=Options(read_only=True)) as manager:
            steps = manager.all_steps()
            kept[name] = {
                "steps": steps,
                "items": sorted(
                    str(path.relative_to(folder / name))
                    for path in (folder / name).glob("**/*")
                    if path.name != "model.sig" and len(path.name) < 32 and path.parent.name != "d"
                ),
                "sums": [
                    jax.tree.map(lambda array: float(abs(array).sum()),
                        manager.restore(step, args=Composite(state=StandardRestore(start)))["state"]["parameters"])
                    for step in steps
                ],
            }

    RUNS = {
        "async": dict(max_to_keep=2),
        "sync": dict(max_to_keep=2, enable_async_checkpointing=False, step_prefix="step", step_format_fixed_length=4),
        "period": dict(max_to_keep=1, keep_period=2),
        "best": dict(max_to_keep=2, best_fn=lambda metrics: metrics["loss"], best_mode="min"),
        "trash": dict(max_to_keep=1, todelete_subdir="trash"),
        "threads": dict(max_to_keep=1, num_deletion_threads=4, enable_background_delete=True),
        "in-place": dict(max_to_keep=2, temporary_path_class=atomicity.CommitFileTemporaryPath),
    }
    for name, options in RUNS.items():
        train(name, 3, **options)
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*/*") if path.is_dir()}
    autosign.flush(timeout=30)  # so that all are resumed from what is signed
    assert before == {path: path.stat().st_mtime_ns for path in before}
    for name, options in RUNS.items():
        train(name, 5, **options)

    policy = v1.training.preservation_policies.LatestN(2)
    for end in (2, 4):
        with v1.training.Checkpointer(folder / "v1", preservation_policy=policy) as checkpointer:
            state = start if checkpointer.latest is None else checkpointer.load(checkpointer.latest.step, start)
            for step in range(end - 2, end):
                state, loss = update(state)
                checkpointer.save(step, state)
            kept["v1"] = [found.step for found in checkpointer.checkpoints]
    (folder / "kept.json").write_text(json.dumps(kept))
"""

KEPT = {
    "async/3",
    "async/4",
    "best/1",
    "best/3",
    "in-place/3",
    "in-place/4",
    "period/0",
    "period/2",
    "period/4",
    "sync/step_0003",
    "sync/step_0004",
    "threads/4",
    "trash/4",
    "v1/2",
    "v1/3",
}


def test_rotation_and_resume(run_script: Run, tmp_path: Path, verified: Callable[[Path], set[str]]) -> None:
    for mode in ("background", "disabled"):
        result = run_script(TRAINING, mode, timeout=200, MODE=mode)
        assert result.returncode == 0, result.stderr
        lines = [line for line in result.stderr.splitlines() if line.startswith("model-signing: ")]
        assert all(": signed " in line for line in lines), lines
    signed, plain = (json.loads((tmp_path / mode / "kept.json").read_text()) for mode in ("background", "disabled"))
    assert signed == plain
    assert not list((tmp_path / "disabled").rglob("*.sig"))
    names = verified(tmp_path / "background")
    # What was signed before orbax moved it away is still signed.
    assert {name for name in names if not name.startswith("trash/trash/")} == KEPT


EXAMPLE = """
    import runpy, sys
    example = sys.argv.pop(1)
    for epochs in "23":
        sys.argv[1:] = ["runs", "--epochs", epochs]
        runpy.run_path(example, run_name="__main__")
"""


def test_example(run_script: Run, tmp_path: Path, verified: Callable[[Path], set[str]]) -> None:
    example = Path(__file__).parents[2] / "examples/train_jax.py"
    result = run_script(EXAMPLE, str(example), timeout=120)
    assert [line.partition(":")[0] for line in result.stdout.splitlines()] == ["epoch 1", "epoch 2", "epoch 3"], result
    assert verified(tmp_path) == {"runs/2", "runs/3"}


THROUGH_OTHERS = """
    import json, os, sys, warnings
    from pathlib import Path
    os.environ["KERAS_BACKEND"] = "jax"
    import model_signing.autosign as autosign
    import flax, keras, numpy
    from flax import serialization
    from flax.training import checkpoints
    warnings.simplefilter("ignore", DeprecationWarning)

    folder = Path(sys.argv[1]).absolute()
    state = {"w": numpy.arange(8.0), "inner": {"b": numpy.ones(3)}}

    # Flax removes the old ones, in C++ where tensorflow is installed: nobody else cancels their signatures.
    for step in range(4):
        checkpoints.save_checkpoint(folder / "flax", state, step, keep=2)
    print(autosign.status().pending)
    autosign.flush(timeout=30)
    for step in range(4, 7):
        assert checkpoints.latest_checkpoint(folder / "flax").endswith(f"checkpoint_{step - 1}")
        restored = checkpoints.restore_checkpoint(folder / "flax", state)
        checkpoints.save_checkpoint(folder / "flax", restored, step, keep=2, keep_every_n_steps=3)
    checkpoints.save_checkpoint(folder / "flax", state, 5, keep=2, overwrite=True)

    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2)])
    model.compile("sgd", "mse")
    callback = keras.callbacks.OrbaxCheckpoint(folder / "keras", max_to_keep=2)
    model.fit(numpy.ones((8, 4)), numpy.ones((8, 2)), epochs=4, verbose=0, callbacks=[callback])

    # What Flax writes by itself.
    flax.config.update("flax_use_orbax_checkpointing", False)
    for step in range(3):
        checkpoints.save_checkpoint(folder / "msgpack", state, step, keep=2)
    assert checkpoints.latest_checkpoint(folder / "msgpack").endswith("checkpoint_2")
    assert (checkpoints.restore_checkpoint(folder / "msgpack", None)["w"] == state["w"]).all()

    # What a script writes; it can be signed by hand.
    file = folder / "weights.msgpack"
    file.write_bytes(serialization.to_bytes(state))
    steps = [path for name in ("flax", "keras", "msgpack") for path in (folder / name).iterdir()]
    (folder / "kept.json").write_text(json.dumps(sorted(str(path.relative_to(folder)) for path in steps)))
"""


def test_through_flax_and_keras(run_script: Run, tmp_path: Path, verified: Callable[[Path], set[str]]) -> None:
    kept = []
    for mode in ("background", "disabled"):
        result = run_script(THROUGH_OTHERS, mode, timeout=200, MODE=mode, SETTLE="100")
        assert (result.returncode, result.stdout) == (0, "0\n" if mode == "disabled" else "2\n"), result.stderr
        kept.append(json.loads((tmp_path / mode / "kept.json").read_text()))
        told = [line for line in result.stderr.splitlines() if line.startswith("model-signing: ")]
        told = [line for line in told if ": signed " not in line]
        assert ["checkpoint_0 is unsigned: Flax would take" in line for line in told] == [True] * (mode != "disabled")
    assert kept[0] == kept[1]
    assert {name.partition("/")[0] for name in kept[0]} == {"flax", "keras", "msgpack"}
    assert verified(tmp_path / "background") == {name for name in kept[0] if not name.startswith("msgpack/")}


RANKS = """
    import socket, subprocess, sys
    import model_signing.autosign as autosign

    folder, *rank = sys.argv[1:]
    if not rank:
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        ranks = [subprocess.Popen([sys.executable, __file__, folder, str(rank), str(port)]) for rank in range(2)]
        sys.exit(max(process.wait() for process in ranks))

    import jax, numpy
    import orbax.checkpoint as ocp
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from orbax.checkpoint.experimental import v1
    from pathlib import Path

    folder = Path(folder).absolute()
    jax.distributed.initialize(f"localhost:{rank[1]}", num_processes=2, process_id=int(rank[0]))
    sharding = NamedSharding(Mesh(numpy.array(jax.devices()), ("x",)), PartitionSpec("x"))
    state = {"w": jax.make_array_from_callback((8,), sharding, lambda index: numpy.arange(8.0)[index])}
    assert not state["w"].is_fully_addressable
    with ocp.CheckpointManager(folder / "manager", options=ocp.CheckpointManagerOptions(max_to_keep=2)) as manager:
        for step in range(3):
            manager.save(step, args=ocp.args.StandardSave(state))
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / "pytree", state)
    v1.save(folder / "v1", state)
    v1.partial.save(folder / "partial", state)
    v1.partial.finalize(folder / "partial")
    # A disk of its own for each: all are primary hosts.
    own = ocp.options.MultiprocessingOptions(primary_host=None)
    with ocp.Checkpointer(ocp.JsonCheckpointHandler(multiprocessing_options=own), multiprocessing_options=own) as one:
        one.save(folder / f"own-{rank[0]}", {"rank": rank[0]})
    assert autosign.flush(timeout=30).signed == (6 if rank[0] == "0" else 1)
    jax.distributed.shutdown()
"""


def test_several_processes(run_script: Run, tmp_path: Path, verified: Callable[[Path], set[str]]) -> None:
    """They write together, and the primary host signs when all have."""
    result = run_script(RANKS, "run", timeout=200)
    assert result.returncode == 0, result.stderr
    together = {"manager/1", "manager/2", "pytree", "v1", "partial"}
    assert verified(tmp_path / "run") == together | {"own-0", "own-1"}
    assert all(list((tmp_path / "run" / name).rglob("ocdbt.process_1")) for name in together - {"partial"})
