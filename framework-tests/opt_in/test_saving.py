"""The contract with each function of joblib, lightgbm, numpy and xgboost, with signing enabled in this process."""

from __future__ import annotations

import inspect
import io
import pickle
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import lightgbm
import model_signing_autosign
import numpy as np
import pytest
import xgboost
from joblib.externals.loky import get_reusable_executor

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")

X = np.arange(120.0).reshape(40, 3)
Y = (X[:, 0] % 2 > 0).astype(int)
XGB = xgboost.train({"nthread": 1, "max_depth": 2}, xgboost.DMatrix(X, label=Y), 2)
FITTED = xgboost.XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(X, Y)
LGB_OPTIONS = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 1, "objective": "binary"}
LGB = lightgbm.train(LGB_OPTIONS, lightgbm.Dataset(X, Y), 2)
CV: Any = lightgbm.cv(LGB_OPTIONS, lightgbm.Dataset(X, Y), 2, nfold=2, return_cvbooster=True)["cvbooster"]

LOCK = threading.Lock()

# By name of the file. Each looks its function up when it is called.
SAVES: dict[str, Callable[[Any], Any]] = {
    "model.joblib": lambda path: joblib.dump({"x": X}, path),
    "by-method.joblib": lambda path: joblib.dump(filename=path, value={"x": X}, compress=("lzma", 3)),
    "model.joblib.gz": lambda path: joblib.dump({"x": X}, path),
    "a.npz": lambda path: np.savez(path, X, w=Y),
    "c.npz": lambda path: np.savez_compressed(file=path, x=X),
    "b.ubj": lambda path: XGB.save_model(path),  # noqa: PLW0108
    "b.json": lambda path: XGB.save_model(fname=path),
    "sk.json": lambda path: FITTED.save_model(path),  # noqa: PLW0108
    "sk-booster.json": lambda path: FITTED.get_booster().save_model(path),
    "l.txt": lambda path: LGB.save_model(path),  # noqa: PLW0108
    "l1.txt": lambda path: LGB.save_model(filename=path, num_iteration=1),
    "cv.json": lambda path: CV.save_model(path),  # noqa: PLW0108
}


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", SAVES)
def test_path(
    name: str,
    kind: Callable[[Path], Any],
    tmp_path: Path,
    autosign: ModuleType,
    is_signed: Callable[[Path], bool],
    signatures: Callable[[], list[str]],
) -> None:
    before, model = autosign.flush(timeout=30).signed, tmp_path / name
    result = SAVES[name](kind(model))
    assert is_signed(model)
    assert signatures() == [f"{name}.sig"]
    assert autosign.flush().signed == before + 1
    written = model.read_bytes()
    model_signing_autosign.disable()
    again = SAVES[name](kind(model))
    assert model.read_bytes() == written
    assert type(result) is type(again)
    assert result == again or result is LGB
    assert sorted(path.name for path in tmp_path.iterdir()) in ([name], [name, f"{name}.sig"])


def test_dump_returns_the_file(tmp_path: Path) -> None:
    assert joblib.dump(X, tmp_path / "x") == [str(tmp_path / "x")]
    assert LGB.save_model(tmp_path / "l.txt") is LGB


@pytest.mark.parametrize("name", SAVES)
def test_overwritten(name: str, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    """C++ opens some of these files, which nobody hears: the hook takes the old signature away."""
    model = tmp_path / name
    SAVES[name](str(model))
    assert is_signed(model)
    first = model.with_name(f"{name}.sig").read_bytes()
    model.write_bytes(b"something else")
    SAVES[name](str(model))
    assert is_signed(model)
    assert model.with_name(f"{name}.sig").read_bytes() != first
    with model_signing_autosign.paused():
        SAVES[name](str(model))
    assert not model.with_name(f"{name}.sig").exists() or is_signed(model)


def outcome(call: Callable[[], Any]) -> tuple[type[BaseException], str]:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is compared
        call()
    return caught.type, str(caught.value).partition("Stack trace")[0].partition("] ")[2] or str(caught.value)


def test_failing_save(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """The same exception with the same words."""
    calls = [lambda save=save, name=name: save(str(tmp_path / "missing" / name)) for name, save in SAVES.items()]
    calls += [
        lambda: joblib.dump([X, LOCK], tmp_path / "x.joblib"),  # after some bytes
        lambda: np.savez(tmp_path / "x.npz", np.array([object()]), allow_pickle=False),
        lambda: np.savez(tmp_path / "y.npz", X, arr_0=X),
        lambda: joblib.dump(X, tmp_path / "y", compress=("none", 3)),
        lambda: LGB.save_model(tmp_path / "x.txt", importance_type="none"),
        lambda: XGB.save_model("gs://bucket/x.json"),
        lambda: XGB.save_model(b"x.json"),
        lambda: np.savez(b"x"),
    ]
    calls += [
        joblib.dump, np.savez, np.savez_compressed, XGB.save_model, FITTED.save_model, LGB.save_model, CV.save_model,
        xgboost.callback.TrainingCheckPoint(tmp_path, as_pickle=True).after_iteration,
    ]  # fmt: skip
    for call in calls:
        with_us = outcome(call)
        model_signing_autosign.disable()
        assert outcome(call) == with_us
        model_signing_autosign.enable()
    assert signatures() == []


def test_buffers_and_open_files(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    for save in (SAVES["model.joblib"], SAVES["by-method.joblib"], SAVES["a.npz"], SAVES["c.npz"]):
        save(io.BytesIO())
        with (tmp_path / "open").open("wb") as file:
            assert save(file) is None
    np.save(tmp_path / "x.npy", X)
    pickle.loads(pickle.dumps(XGB))
    assert joblib.Memory(tmp_path / "cache", verbose=0).cache(np.cumsum)(X[0]).shape == (3,)
    assert signatures() == []


@pytest.mark.parametrize("name", ["x", "x.np", "x.npz"])
def test_the_suffix_of_archives(name: str, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    np.savez(tmp_path / name, X)
    (file,) = [path.name for path in tmp_path.glob("*.npz")]
    assert signatures() == [f"{file}.sig"]


def test_scipy_saves_archives(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    from scipy import sparse

    sparse.save_npz(tmp_path / "x", sparse.csr_matrix(X))
    assert is_signed(tmp_path / "x.npz")


def test_paths_of_xgboost(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_signed: Callable[[Path], bool],
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    XGB.save_model("~/home.json")
    XGB.save_model(f"file://{tmp_path}/url.json")
    assert is_signed(tmp_path / "home.json")
    assert is_signed(tmp_path / "url.json")
    said = capfd.readouterr().err.splitlines()
    assert [line for line in said if not line.startswith("model-signing: signed ")] == []


def test_functions_look_as_before() -> None:
    assert joblib.dump is joblib.numpy_pickle.dump
    for function in (joblib.dump, np.savez, np.savez_compressed, xgboost.Booster.save_model):
        assert pickle.loads(pickle.dumps(function)) is function
    savez = np.savez
    model_signing_autosign.disable()
    assert np.savez is savez
    model_signing_autosign.enable()
    assert list(inspect.signature(joblib.dump).parameters) == ["value", "filename", "compress", "protocol"]
    assert list(inspect.signature(xgboost.Booster.save_model).parameters) == ["self", "fname"]
    assert list(inspect.signature(lightgbm.Booster.save_model).parameters)[:3] == ["self", "filename", "num_iteration"]
    parameters = inspect.signature(xgboost.callback.TrainingCheckPoint.after_iteration).parameters
    assert list(parameters) == ["self", "model", "epoch", "evals_log"]


def test_switched_off_again() -> None:
    """Every name is as it was."""
    names = [
        lambda: joblib.dump, lambda: joblib.numpy_pickle.dump, lambda: joblib._memmapping_reducer.dump,
        lambda: joblib._memmapping_reducer.ArrayMemmapForwardReducer.__call__, lambda: np.lib._npyio_impl._savez,
        lambda: xgboost.Booster.save_model, lambda: xgboost.callback.TrainingCheckPoint.after_iteration,
        lambda: lightgbm.Booster.save_model, lambda: lightgbm.CVBooster.save_model,
    ]  # fmt: skip
    for _ in range(2):
        assert [hasattr(name(), "__wrapped__") for name in names] == [True] * len(names)
        originals: list[Any] = [name().__wrapped__ for name in names]
        model_signing_autosign.disable()
        assert [name() for name in names] == originals
        model_signing_autosign.enable()


class TestParallel:
    def test_arrays_for_workers_are_no_models(
        self, tmp_path: Path, autosign: ModuleType, signatures: Callable[[], list[str]]
    ) -> None:
        before = autosign.flush(timeout=30)
        parallel = joblib.Parallel(n_jobs=2, max_nbytes=100, temp_folder=str(tmp_path), backend="multiprocessing")
        assert parallel(joblib.delayed(type)(np.arange(100.0 + n)) for n in range(3)) == [np.memmap] * 3
        assert signatures() == []
        assert autosign.flush(timeout=30) == before

    @pytest.mark.parametrize("backend", ["loky", "threading"])
    def test_workers_that_dump(
        self, backend: str, tmp_path: Path, signatures: Callable[[], list[str]], autosign: ModuleType
    ) -> None:
        files = [str(tmp_path / f"{n}.joblib") for n in range(2)]
        done = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(joblib.dump)(X, file) for file in files)
        assert done == [[file] for file in files]
        if backend == "loky":
            get_reusable_executor().shutdown()  # each signs what is left before it ends
        assert signatures() == ["0.joblib.sig", "1.joblib.sig"]


ORDERS = """
    import os, sys
    import model_signing_autosign as autosign

    enabled, count, early = False, 0, set()

    def save():
        global count
        count += 1
        names = {f"{count}-{name}": call for name, call in calls.items()}
        for name, call in names.items():
            call(name)
        autosign.flush(timeout=30)
        for name in names:
            signed = os.path.exists(name + ".sig")
            assert signed is (enabled and name.partition("-")[2] not in early), (name, enabled)

    for step in sys.argv[1:]:
        if step == "enable":
            autosign.enable()
            enabled = True
        elif step == "disable":
            autosign.disable()
            enabled = False
        elif step == "import":
            import joblib, numpy, lightgbm, xgboost
            from joblib import dump
            from numpy import savez, savez_compressed
            x = numpy.arange(80.0).reshape(40, 2)
            xgb = xgboost.train({"nthread": 1}, xgboost.DMatrix(x, label=x[:, 0] > 9), 1)
            lgb = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(x, x[:, 0] > 9), 1)
            keep = xgboost.callback.TrainingCheckPoint(".", as_pickle=True, interval=0)
            calls = {
                "joblib": lambda path: joblib.dump(x, path),
                "dump": lambda path: dump(x, path),
                "a.npz": lambda path: numpy.savez(path, x),
                "b.npz": lambda path: savez(path, x),
                "c.npz": lambda path: savez_compressed(path, x),
                "x.json": lambda path: xgb.save_model(path),
                "l.txt": lambda path: lgb.save_model(path),
            }
            if not enabled:
                early = {"dump"}  # what was bound before is not seen: hooks/README.md
        elif step == "save":
            save()
    print("ok", count)
"""


@pytest.mark.parametrize(
    "steps", ["enable import save disable save enable save", "import save enable enable save disable save"]
)
def test_orders(steps: str, run_script: Callable[..., CompletedProcess[str]]) -> None:
    result = run_script(ORDERS, *steps.split(), timeout=120)
    assert result.stdout == f"ok {steps.count('save')}\n", result.stderr
    assert result.stderr.count("model-signing: signed ") == result.stderr.count("model-signing")
