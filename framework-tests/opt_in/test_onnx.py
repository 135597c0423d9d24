"""ONNX models in one file or with external data, with signing enabled in this process."""

from __future__ import annotations

import inspect
import io
import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

    Verified = Callable[[str], set[str]]

pytestmark = pytest.mark.usefixtures("autosign")


def model(value: float = 1.0) -> onnx.ModelProto:
    """Two large weights, one within a branch, and a small one."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64]) for name in "xy")
    weights = [numpy_helper.from_array(np.full((64, 64), value, np.float32), name) for name in ("w", "inner/w")]
    small = numpy_helper.from_array(np.full(64, value, np.float32), "b")
    branch = helper.make_graph(
        [helper.make_node("MatMul", ["x", "inner/w"], ["m"])], "branch", [], [x], initializer=weights[1:]
    )
    branch.output[0].name = "m"
    nodes = [
        helper.make_node("If", ["c"], ["h"], then_branch=branch, else_branch=branch),
        helper.make_node("MatMul", ["h", "w"], ["g"]),
        helper.make_node("Add", ["g", "b"], ["y"]),
    ]
    condition = numpy_helper.from_array(np.array(True), "c")
    graph = helper.make_graph(nodes, "graph", [x], [y], initializer=[weights[0], small, condition])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.fixture
def verified(tmp_path: Path, autosign: ModuleType, keys: Any) -> Verified:
    """Name the files that a model's signature covers."""

    def verified(name: str) -> set[str]:
        assert autosign.flush(timeout=30).pending == 0
        return set(autosign.verify(tmp_path / name, public_key=keys.public))

    return verified


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".sig"}


# By which name it is called, and how.
SAVES: dict[str, Callable[[Any], Any]] = {
    "save.onnx": lambda path: onnx.save(model(), path),
    "save_model.onnx": lambda path: onnx.save_model(proto=model(), f=path),
    "bytes.onnx": lambda path: onnx.save(model().SerializeToString(), path),
    "text.textproto": lambda path: onnx.save(model(), path),
    "other.onnx": lambda path: onnx.save(model(), path, format="json"),
    "tensor.pb": lambda path: onnx.save_tensor(numpy_helper.from_array(np.zeros(9), "location"), path),
}


@pytest.mark.parametrize("kind", [str, Path])
@pytest.mark.parametrize("name", SAVES)
def test_one_file(
    name: str,
    kind: Callable[[Path], Any],
    tmp_path: Path,
    autosign: ModuleType,
    verified: Verified,
    signatures: Callable[[], list[str]],
) -> None:
    before = autosign.flush(timeout=30).signed
    assert SAVES[name](kind(tmp_path / name)) is None
    assert verified(name) == {name}
    assert signatures() == [f"{name}.sig"]
    assert autosign.flush().signed == before + 1
    written = (tmp_path / name).read_bytes()
    model_signing_autosign.disable()
    SAVES[name](kind(tmp_path / name))
    assert (tmp_path / name).read_bytes() == written


# How the data lie, and which files the model then has besides its own; None where onnx makes a name up.
LAYOUTS: dict[str, tuple[dict[str, Any], set[str | None]]] = {
    "one file": ({"location": "weights.bin"}, {"weights.bin"}),
    "a name made up": ({}, {None}),
    "one for each": ({"all_tensors_to_one_file": False}, {"w", None}),
    "all": ({"all_tensors_to_one_file": False, "size_threshold": 0}, {"w", "b", "c", None}),
    "none is so large": ({"size_threshold": 1 << 20}, set()),
}


@pytest.mark.parametrize("file", ["m.onnx", "m.json", "m.textproto", "json.onnx"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_external_data(
    layout: str,
    file: str,
    tmp_path: Path,
    autosign: ModuleType,
    verified: Verified,
    signatures: Callable[[], list[str]],
    upstream_verifies: Callable[[Path], None],
) -> None:
    options, more = LAYOUTS[layout]
    before = autosign.flush(timeout=30).signed
    form = {"format": "json"} if file == "json.onnx" else {}
    (tmp_path / "d").mkdir()
    (tmp_path / "d/other.data").write_bytes(b"an earlier save's")
    onnx.save(model(), tmp_path / "d" / file, save_as_external_data=True, **form, **options)
    signed = signatures()  # before one looks, as a signature has another name while it is written
    there = files(tmp_path / "d") - {"other.data"}
    assert len(there) > len(more)
    assert there >= {name for name in more if name} | {file}
    assert verified(f"d/{file}") == there
    assert signed == [f"d/{file}.sig"]
    assert autosign.flush().signed == before + 1
    if file == "m.onnx":
        loaded = onnx.load(tmp_path / "d" / file)
        assert np.array_equal(numpy_helper.to_array(loaded.graph.initializer[0]), np.ones((64, 64)))
        if layout == "one for each":
            upstream_verifies(tmp_path / "d" / file)
        for name in there:
            content = (tmp_path / "d" / name).read_bytes()
            (tmp_path / "d" / name).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            with pytest.raises(autosign.VerificationError):
                verified(f"d/{file}")
            (tmp_path / "d" / name).write_bytes(content)


def test_saved_again(tmp_path: Path, verified: Verified, signatures: Callable[[], list[str]], keys: Any) -> None:
    """As onnx appends to a file that is there, the data are others even where the weights are not."""
    for count, value in enumerate((1, 2, 2), 1):
        onnx.save(model(value), tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin")
        # A branch is there twice, and each has its weights.
        assert (tmp_path / "weights.bin").stat().st_size == count * 3 * 64 * 64 * 4
        assert verified("m.onnx") == {"m.onnx", "weights.bin"}
    onnx.save(model(3), tmp_path / "m.onnx")
    assert verified("m.onnx") == {"m.onnx"}
    assert files(tmp_path) == {"m.onnx", "weights.bin"}
    onnx.save(model(4), tmp_path / "n.onnx", save_as_external_data=True, location="weights.bin")
    assert signatures() == ["m.onnx.sig", "n.onnx.sig"]
    (tmp_path / "n.onnx").unlink()
    assert signatures() == ["m.onnx.sig"]


def test_graph_without_its_data_in_memory(tmp_path: Path, verified: Verified, autosign: ModuleType) -> None:
    """It is complete where the data lie, and nowhere else."""
    onnx.save(model(), tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin")
    graph = onnx.load(tmp_path / "m.onnx", load_external_data=False)
    onnx.save(graph, tmp_path / "edited.onnx")
    assert verified("edited.onnx") == {"edited.onnx", "weights.bin"}
    (tmp_path / "elsewhere").mkdir()
    onnx.save(graph, tmp_path / "elsewhere/m.onnx")
    with pytest.raises(autosign.UnsignedError):
        verified("elsewhere/m.onnx")


def test_shapes_inferred_in_the_file(tmp_path: Path, verified: Verified, signatures: Callable[[], list[str]]) -> None:
    """Written by C++, which nobody hears of."""
    onnx.save(model(), tmp_path / "m.onnx", save_as_external_data=True, location="weights.bin")
    assert verified("m.onnx") == {"m.onnx", "weights.bin"}
    before = (tmp_path / "m.onnx").read_bytes()
    onnx.shape_inference.infer_shapes_path(tmp_path / "m.onnx")
    assert (tmp_path / "m.onnx").read_bytes() != before
    assert verified("m.onnx") == {"m.onnx", "weights.bin"}
    onnx.shape_inference.infer_shapes_path(str(tmp_path / "m.onnx"), output_path=str(tmp_path / "n.onnx"))
    assert verified("n.onnx") == {"n.onnx", "weights.bin"}
    assert signatures() == ["m.onnx.sig", "n.onnx.sig"]


def test_part_of_a_model(tmp_path: Path, verified: Verified) -> None:
    onnx.save(model(), tmp_path / "m.onnx")
    onnx.utils.extract_model(tmp_path / "m.onnx", tmp_path / "part.onnx", ["h"], ["y"])
    assert verified("part.onnx") == {"part.onnx"}


def test_failing_save(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """The same exception with the same words."""
    (tmp_path / "there.bin").touch()
    external: dict[str, Any] = {"save_as_external_data": True}
    calls: list[Callable[[], Any]] = [
        onnx.save,
        onnx.save_model,
        onnx.save_tensor,
        onnx.shape_inference.infer_shapes_path,
        lambda: onnx.save(model(), tmp_path / "missing/m.onnx"),
        lambda: onnx.save(model(), tmp_path / "missing/m.onnx", **external),
        lambda: onnx.save(model(), tmp_path / "m.onnx", location="/abs", **external),
        lambda: onnx.save(model(), tmp_path / "m.onnx", location="../up.bin", **external),
        lambda: onnx.save(model(), tmp_path / "m.onnx", format="none"),
        lambda: onnx.save(b"no model", tmp_path / "m.onnx"),
        lambda: onnx.shape_inference.infer_shapes_path(str(tmp_path / "missing.onnx")),
    ]
    for call in calls:
        outcomes = []
        for change in (model_signing_autosign.disable, model_signing_autosign.enable):
            with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is compared
                call()
            outcomes.append((caught.type, str(caught.value)))
            change()
        assert outcomes[0] == outcomes[1]
    assert signatures() == []


def test_buffers_and_open_files(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    onnx.save(model(), io.BytesIO())
    with (tmp_path / "m.onnx").open("wb") as file:
        onnx.save(model(), file)
    onnx.save_tensor(numpy_helper.from_array(np.zeros(9)), io.BytesIO())
    assert signatures() == []


def test_an_empty_model(tmp_path: Path, verified: Verified, capfd: pytest.CaptureFixture[str]) -> None:
    onnx.save(onnx.ModelProto(), tmp_path / "empty.onnx")
    assert (tmp_path / "empty.onnx").stat().st_size == 0
    assert verified("empty.onnx") == {"empty.onnx"}
    assert capfd.readouterr().err.startswith("model-signing: signed ")


def test_functions_look_as_before() -> None:
    assert onnx.save is onnx.save_model
    assert pickle.loads(pickle.dumps(onnx.save)) is onnx.save
    assert list(inspect.signature(onnx.save).parameters)[:3] == ["proto", "f", "format"]
    names = [lambda: onnx.save_model, lambda: onnx._save_bytes, lambda: onnx.shape_inference.infer_shapes_path]
    originals: list[Any] = [name().__wrapped__ for name in names]
    model_signing_autosign.disable()
    assert [name() for name in names] == originals
    assert onnx.save is onnx.save_model
    model_signing_autosign.enable()
    assert [name().__wrapped__ for name in names] == originals


EARLY = """
    import json, sys
    import model_signing_autosign as autosign
    if sys.argv[1] == "first":
        autosign.enable()
    import onnx
    from onnx import save, save_model
    autosign.enable()
    proto = onnx.load("in.onnx")
    save(proto, "a.onnx")
    save(proto, "b.onnx", save_as_external_data=True, location="b.bin")
    save_model(onnx.load("in.onnx"), "c.onnx", save_as_external_data=True, location="c.bin")
    onnx.save(onnx.load("in.onnx"), "d.onnx", save_as_external_data=True, location="d.bin")
    autosign.flush(timeout=30)
    names = {name: sorted(autosign.verify(f"{name}.onnx", public_key=sys.argv[2])) for name in "abcd"}
    print(json.dumps(names))
"""


@pytest.mark.parametrize("order", ["first", "late"])
def test_bound_before_or_after(
    order: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any
) -> None:
    model_signing_autosign.disable()
    onnx.save(model(), tmp_path / "in.onnx")
    result = run_script(EARLY, order, str(keys.public))
    assert result.returncode == 0, result.stderr
    with_data = {name: [f"{name}.bin", f"{name}.onnx"] for name in "bcd"}
    assert json.loads(result.stdout) == {"a": ["a.onnx"]} | with_data
    assert result.stderr.count("model-signing: signed ") == 4


EXPORT = """
    import model_signing.autosign as autosign
    import sys
    import onnx, torch
    torch.onnx.export(torch.nn.Linear(64, 64), (torch.zeros(1, 64),), "m.onnx", external_data=True, verbose=False)
    autosign.flush(timeout=30)
    print(sorted(autosign.verify("m.onnx", public_key=sys.argv[1])))
"""


def test_exported_by_torch(run_script: Callable[..., CompletedProcess[str]], keys: Any) -> None:
    """Which saves with onnx in the end, and has a hook of its own."""
    result = run_script(EXPORT, str(keys.public), timeout=120)
    assert (result.returncode, result.stdout) == (0, "['m.onnx', 'm.onnx.data']\n"), result.stderr
    assert result.stderr.count("model-signing: ") == result.stderr.count("model-signing: signed ") == 1
