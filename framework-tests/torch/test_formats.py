"""What torch writes besides torch.save: TorchScript, exported programs, packages and ONNX."""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest
import torch
from model_signing_autosign import _session

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

pytestmark = [
    pytest.mark.usefixtures("autosign"),
    pytest.mark.filterwarnings("ignore"),  # torch calls its TorchScript and legacy ONNX deprecated, in many words
]


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(64, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def exported() -> torch.export.ExportedProgram:
    return torch.export.export(Model(), (torch.zeros(1, 64),))


def jit_save(path: Any) -> Any:
    return torch.jit.save(torch.jit.script(Model()), path)


def jit_function(path: Any) -> Any:
    # Of functions, torch takes no other path objects.
    return torch.jit.save(torch.jit.script(double), str(path) if isinstance(path, Path) else path)


def module_save(path: Any) -> Any:
    return torch.jit.script(Model()).save(path)


def traced_save(path: Any) -> Any:
    return torch.jit.trace(Model(), torch.zeros(1, 64)).save(f=path)


def export_save(path: Any) -> Any:
    return torch.export.save(exported(), path)


def export_package(path: Any) -> Any:
    from torch.export.pt2_archive._package import package_pt2

    return package_pt2(f=path, exported_programs=exported())


def package(path: Any) -> Any:
    with torch.package.PackageExporter(path) as exporter:
        exporter.save_pickle("model", "tensor.pkl", torch.zeros(9))


def onnx_export(path: Any) -> Any:
    torch.onnx.export(Model(), (torch.zeros(1, 64),), path, external_data=False, verbose=False)


def onnx_save(path: Any) -> Any:
    return onnx_program().save(path, external_data=False)


def onnx_legacy(path: Any) -> Any:
    return torch.onnx.export(Model(), (torch.zeros(1, 64),), path, dynamo=False)


def onnx_program() -> Any:
    return torch.onnx.export(Model(), (torch.zeros(1, 64),), verbose=False)


SAVES = {
    "jit.pt": jit_save,
    "function.pt": jit_function,
    "module.pt": module_save,
    "traced.pt": traced_save,
    "export.pt2": export_save,
    "package.pt2": export_package,
    "package.pt": package,
    "export.onnx": onnx_export,
    "program.onnx": onnx_save,
    "legacy.onnx": onnx_legacy,
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
    before = autosign.flush(timeout=30).signed
    result = SAVES[name](kind(tmp_path / name))
    assert is_signed(tmp_path / name)
    assert signatures() == [f"{name}.sig"]
    assert autosign.flush().signed == before + 1
    model_signing_autosign.disable()
    assert result == SAVES[name](kind(tmp_path / name))


@pytest.mark.parametrize("name", [*SAVES, "zip.pt", "legacy.pt"])
def test_told_before_a_byte_is_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the file is another one, under the old signature, and nobody knows yet who did it."""
    old = b"the checkpoint before"
    (tmp_path / name).write_bytes(old)
    found: list[bytes] = []
    begins = _session.begins

    def told(root: str, *, hidden: bool = False) -> None:
        found.append(Path(root).read_bytes())
        begins(root, hidden=hidden)

    monkeypatch.setattr(_session, "begins", told)
    if name in SAVES:
        SAVES[name](str(tmp_path / name))
    else:
        torch.save({}, tmp_path / name, _use_new_zipfile_serialization=name == "zip.pt")
    assert found[0] == old


def test_what_is_signed_loads(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    for name, save in SAVES.items():
        save(str(tmp_path / name))
    assert all(is_signed(tmp_path / name) for name in SAVES)
    x = torch.ones(1, 64)
    for name in ("jit.pt", "module.pt", "traced.pt", "function.pt"):
        assert torch.jit.load(tmp_path / name)(x).shape[0] == 1
    assert torch.export.load(tmp_path / "export.pt2").module()(x).shape == (1, 8)
    importer = torch.package.PackageImporter(tmp_path / "package.pt")
    assert torch.equal(importer.load_pickle("model", "tensor.pkl"), torch.zeros(9))


@pytest.mark.parametrize("name", ["jit.pt", "function.pt", "export.pt2", "package.pt"])
def test_buffers_and_open_files(name: str, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    SAVES[name](io.BytesIO())
    with (tmp_path / name).open("wb") as file:
        SAVES[name](file)
    assert signatures() == []


@pytest.mark.parametrize("name", SAVES)
def test_failing_save(name: str, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    """The same exception with the same words."""
    outcomes = []
    for _ in range(2):
        with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is compared
            SAVES[name](str(tmp_path / "missing" / name))
        outcomes.append((caught.type, str(caught.value).partition("\n")[0]))
        model_signing_autosign.disable()
    assert outcomes[0] == outcomes[1]
    assert signatures() == []


def test_wrong_arguments() -> None:
    calls: list[Callable[[], Any]] = [
        torch.jit.save,
        torch.export.save,
        torch.package.PackageExporter,
        torch.jit.script(Model()).save,
        lambda: torch.export.save(3, "x.pt2"),
        lambda: torch.jit.save(3, "x.pt"),
    ]
    for call in calls:
        outcomes = []
        for change in (model_signing_autosign.disable, model_signing_autosign.enable):
            with pytest.raises((TypeError, AttributeError)) as caught:
                call()
            outcomes.append((caught.type, str(caught.value)))
            change()
        assert outcomes[0] == outcomes[1]


def test_functions_look_as_before() -> None:
    for function in (torch.jit.save, torch.export.save):
        assert pickle.loads(pickle.dumps(function)) is function
    assert torch.jit.save is torch.jit._serialization.save
    assert list(inspect.signature(torch.jit.save).parameters) == ["m", "f", "_extra_files"]
    assert list(inspect.signature(torch.export.save).parameters)[:2] == ["ep", "f"]
    assert list(inspect.signature(torch.package.PackageExporter).parameters) == ["f", "importer", "debug"]
    assert list(inspect.signature(torch.onnx.ONNXProgram.save).parameters)[:2] == ["self", "destination"]
    method = torch.jit.script(Model()).save
    assert list(inspect.signature(method).parameters) == ["f", "kwargs"]


class TestPackage:
    def test_left_by_an_exception(self, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
        with (
            contextlib.suppress(KeyboardInterrupt),
            torch.package.PackageExporter(tmp_path / "x.pt") as exporter,
        ):
            exporter.save_text("a", "b", "c")
            raise KeyboardInterrupt
        assert (tmp_path / "x.pt").exists()
        assert signatures() == []

    def test_cannot_be_closed(self, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
        with (
            pytest.raises(torch.package.PackagingError),
            torch.package.PackageExporter(tmp_path / "x.pt") as exporter,
        ):
            exporter.save_source_string("mine", "import numpy")
        assert signatures() == []

    def test_closed_by_hand_elsewhere(
        self, tmp_path: Path, is_signed: Callable[[Path], bool], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        exporter = torch.package.PackageExporter(f="x.pt")
        exporter.save_text("a", "b", "c")
        (tmp_path / "elsewhere").mkdir()
        os.chdir("elsewhere")
        exporter.close()
        assert is_signed(tmp_path / "x.pt")

    def test_two_at_once(self, tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
        with torch.package.PackageExporter(tmp_path / "x.pt") as x, torch.package.PackageExporter(tmp_path / "y.pt"):
            x.save_text("a", "b", "c")
        assert is_signed(tmp_path / "x.pt")
        assert is_signed(tmp_path / "y.pt")


class TestOnnx:
    def test_external_data(self, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
        onnx_program().save(tmp_path / "x.onnx", external_data=True)
        assert (tmp_path / "x.onnx.data").stat().st_size >= 64 * 8 * 4
        assert signatures() == ["x.onnx.sig"]

    def test_which_files(self, tmp_path: Path) -> None:
        from model_signing_autosign.frameworks.torch import _onnx_files

        model, data = str(tmp_path / "x.onnx"), str(tmp_path / "x.onnx.data")
        program = onnx_program()
        program.save(model, external_data=True)
        assert _onnx_files(model) == [model, data]
        program.save(model, external_data=False)
        assert os.path.exists(data)  # what the earlier one left is no part of this model
        assert _onnx_files(model) == [model]

    def test_exported_in_one_call(self, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
        torch.onnx.export(Model(), (torch.zeros(1, 64),), tmp_path / "x.onnx", verbose=False)
        assert signatures() == ["x.onnx.sig"]


ORDERS = """
    import sys, warnings
    warnings.simplefilter("ignore")
    import model_signing_autosign as autosign

    class Steps:
        def enable():
            autosign.enable()
        def load():
            global torch
            import torch, torch.export, torch.package, torch.jit
        def bind():
            global jit_save, export_save, Exporter
            from torch.jit import save as jit_save
            from torch.export import save as export_save
            from torch.package import PackageExporter as Exporter

    for step in sys.argv[1:]:
        getattr(Steps, step)()
    module = torch.jit.script(torch.nn.Linear(2, 2))
    jit_save(module, "jit.pt")
    module.save("module.pt")
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), "late.pt")
    export_save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), "export.pt2")
    with Exporter("package.pt") as exporter:
        exporter.save_text("a", "b", "c")
"""


@pytest.mark.parametrize("steps", ["enable load bind", "load enable bind", "load bind enable"])
def test_orders(steps: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    result = run_script(ORDERS, *steps.split())
    assert result.returncode == 0, result.stderr
    expected = ["export.pt2.sig", "jit.pt.sig", "late.pt.sig", "module.pt.sig", "package.pt.sig"]
    assert sorted(path.name for path in tmp_path.glob("*.sig")) == expected
