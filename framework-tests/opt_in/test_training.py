"""Trainings that are rotated and resumed: what they keep is signed, and is what they keep without us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

COMMON = """
    import model_signing.autosign
    import os, sys
    from pathlib import Path
    import numpy as np
    from sklearn.datasets import load_digits

    folder, resumes = Path(sys.argv[1]), sys.argv[2] == "resume"
    folder.mkdir(exist_ok=True)
    X, y = load_digits(return_X_y=True)
    X, y = X[:200], y[:200]

    def rotate(pattern, keep=2):
        for old in sorted(folder.glob(pattern), key=lambda path: int(path.stem.rpartition("-")[2]))[:-keep]:
            old.unlink()
"""

SKLEARN = """
    import joblib, onnx
    from onnx import TensorProto, helper, numpy_helper
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def export(weights, path):
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "xy")
        tensor = numpy_helper.from_array(weights.astype(np.float32), "w")
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", [x], [y], [tensor])
        (folder / "linear.bin").unlink(missing_ok=True)
        model = helper.make_model(graph)
        onnx.save(model, path, save_as_external_data=True, location="linear.bin", size_threshold=0)

    model = make_pipeline(StandardScaler(), LogisticRegression(warm_start=True, max_iter=1, random_state=0))
    start, best = 0, 0.0
    if resumes:
        state = joblib.load(folder / "model-3.joblib")
        model, start, best = state["model"], state["epoch"] + 1, state["best"]
        assert start == 4 and (joblib.load(folder / "best.joblib.gz").score(X, y) == best)
    for epoch in range(start, start + 4):
        model.fit(X, y)
        if model.score(X, y) > best:
            best = model.score(X, y)
            joblib.dump(model, folder / "best.tmp", compress=("gzip", 3))
            os.replace(folder / "best.tmp", folder / "best.joblib.gz")
        state = {"model": model, "epoch": epoch, "best": best}
        assert joblib.dump(state, folder / f"model-{epoch}.joblib") == [str(folder / f"model-{epoch}.joblib")]
        rotate("model-*.joblib")
        weights = model[-1].coef_.T
        np.savez_compressed(folder / "weights", weights=weights)  # in place, as is the next one
        export(weights, folder / "linear.onnx")
    loaded = onnx.load(folder / "linear.onnx").graph.initializer[0]
    assert np.array_equal(numpy_helper.to_array(loaded), weights.astype(np.float32))
    assert np.array_equal(np.load(folder / "weights.npz")["weights"], weights)
"""

XGBOOST = """
    import pickle
    import xgboost

    class Rotate(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            for kind in ("xgb-*.ubj", "pickled-*.pkl"):
                rotate(kind)
            return False

    # `TrainingCheckPoint` puts an underscore before the number of the round.
    def rotate(pattern, keep=2):
        for old in sorted(folder.glob(pattern), key=lambda path: int(path.stem.rpartition("_")[2]))[:-keep]:
            old.unlink()

    callbacks = [
        xgboost.callback.TrainingCheckPoint(folder, name="xgb-", interval=1),
        xgboost.callback.TrainingCheckPoint(folder, name="pickled-", interval=2, as_pickle=True),
        Rotate(),
    ]
    last = folder / "xgb-_4.ubj"
    options = {"n_estimators": 5, "max_depth": 2, "n_jobs": 1, "random_state": 0, "callbacks": callbacks}
    model = xgboost.XGBClassifier(**options)
    model.fit(X, y, xgb_model=str(last) if resumes else None)
    assert model.get_booster().num_boosted_rounds() == (10 if resumes else 5)
    model.save_model(folder / "sklearn.json")
    again = xgboost.XGBClassifier()
    again.load_model(folder / "sklearn.json")
    assert np.array_equal(again.predict(X), model.predict(X))
    for path in folder.glob("*.pkl"):
        assert pickle.loads(path.read_bytes()).num_boosted_rounds() == int(path.stem.rpartition("_")[2]) + 1
"""

LIGHTGBM = """
    import lightgbm, pandas
    frame = pandas.DataFrame(X[:, 10:20], columns=[f"c{n}" for n in range(10)])
    frame["kind"] = pandas.Categorical(np.where(X[:, 20] > 8, "left", "right"))
    before = lightgbm.Booster(model_file=folder / "last.txt").num_trees() if resumes else 0

    def keep(env):
        env.model.save_model(folder / "last.txt")  # in place
        env.model.save_model(folder / f"round-{env.iteration}.txt", num_iteration=-1)
        rotate("round-*.txt")

    options = {"num_leaves": 4, "num_threads": 1, "verbose": -1, "seed": 0, "deterministic": True}
    model = lightgbm.train(
        options, lightgbm.Dataset(frame, y), 3, init_model=folder / "last.txt" if resumes else None, callbacks=[keep]
    )
    assert model.num_trees() == before + 3
    classifier = lightgbm.LGBMClassifier(n_estimators=2, num_leaves=4, n_jobs=1, verbose=-1).fit(frame, y)
    classifier.booster_.save_model(folder / "sklearn.txt")
    again = lightgbm.Booster(model_file=folder / "last.txt")
    assert again.pandas_categorical == [["left", "right"]]
    assert np.array_equal(again.predict(frame), model.predict(frame))
"""

TRAININGS = {
    "sklearn": (SKLEARN, {"best.joblib.gz", "model-6.joblib", "model-7.joblib", "weights.npz", "linear.onnx"}),
    "xgboost": (XGBOOST, {"sklearn.json", "xgb-_8.ubj", "xgb-_9.ubj", "pickled-_7.pkl", "pickled-_9.pkl"}),
    "lightgbm": (LIGHTGBM, {"sklearn.txt", "last.txt", "round-4.txt", "round-5.txt"}),
}


@pytest.mark.parametrize("name", TRAININGS)
def test_rotation_and_resume(
    name: str,
    run_script: Callable[..., CompletedProcess[str]],
    tmp_path: Path,
    keys: Any,
    upstream_verifies: Callable[[Path], None],
) -> None:
    script, models = TRAININGS[name]
    kept = []
    for mode in ("background", "disabled"):
        for phase in ("start", "resume"):
            result = run_script(COMMON + script, "run", phase, MODE=mode, timeout=120)
            assert result.returncode == 0, result.stderr
            said = [line for line in result.stderr.splitlines() if line.startswith("model-signing")]
            assert all(line.startswith("model-signing: signed ") for line in said), said
        # Trained in the same folder, in case that its path is in the files.
        (tmp_path / "run").rename(tmp_path / mode)
        kept.append({path.name: path.read_bytes() for path in (tmp_path / mode).iterdir() if path.suffix != ".sig"})
    assert kept[0] == kept[1]
    assert kept[0].keys() == models | ({"linear.bin"} if name == "sklearn" else set())
    signed = tmp_path / "background"
    assert {path.stem for path in signed.glob("*.sig")} == models
    assert not list((tmp_path / "disabled").glob("*.sig"))
    for model in models:
        group = {"linear.onnx", "linear.bin"} if model == "linear.onnx" else {model}
        assert set(model_signing_autosign.verify(signed / model, public_key=keys.public)) == group
        upstream_verifies(signed / model)
    assert {path.suffix for path in (tmp_path / "spool").iterdir() if path.is_file()} <= {".lock"}


RANKS = """
    import model_signing.autosign as autosign
    import json, subprocess, sys
    import numpy as np
    import xgboost
    from xgboost.tracker import RabitTracker

    if len(sys.argv) == 1:
        tracker = RabitTracker(host_ip="127.0.0.1", n_workers=2)
        tracker.start()
        command = [sys.executable, sys.argv[0], json.dumps(tracker.worker_args())]
        ranks = [subprocess.Popen(command) for _ in range(2)]
        sys.exit(max(rank.wait() for rank in ranks))
    with xgboost.collective.CommunicatorContext(**json.loads(sys.argv[1])):
        x = np.arange(80.0).reshape(40, 2)
        keep = xgboost.callback.TrainingCheckPoint(".", name="model", as_pickle=True, interval=1)
        xgboost.train({"nthread": 1}, xgboost.DMatrix(x, label=x[:, 0]), 3, callbacks=[keep])
"""


def test_one_rank_saves(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    result = run_script(RANKS)
    assert result.returncode == 0, result.stderr
    said = sorted(line.partition(" (")[0] for line in result.stderr.splitlines() if "model-signing" in line)
    assert said == [f'model-signing: signed "{tmp_path}/model_{number}.pkl"' for number in (1, 2)]
