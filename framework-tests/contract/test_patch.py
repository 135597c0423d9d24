"""The patch engine: what it wraps, what it leaves alone, and imports that fail, nest or run in other threads."""

from __future__ import annotations

import asyncio
import importlib
import importlib.machinery
import importlib.util
import inspect
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign import _patch
from model_signing_autosign._patch import Framework, Patch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType


class Recorder:
    """A wrapper that notes that it ran."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return original(*args, **kwargs)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def patch_of(recorder: Recorder) -> Iterator[Callable[..., Patch]]:
    made: list[Patch] = []

    def patch_of(*names: str) -> Patch:
        tiny = Framework("tiny", ">=0.5,<2", "1.0")
        made.append(Patch(tiny, recorder, names, seen="save", signed="the file", complete="on return"))
        return made[-1]

    yield patch_of
    for patch in made:
        patch.revert()
    _patch._say_once.cache_clear()


def tiny() -> ModuleType:
    return importlib.import_module("tiny")


@pytest.mark.usefixtures("make_package")
class TestWrapping:
    @pytest.mark.parametrize("kind", ["save", "save_static", "save_class"])
    def test_methods(self, kind: str, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any) -> None:
        model = importlib.import_module("tiny.writer").Model
        before = vars(model)[kind]
        patch = patch_of(f"tiny.writer:Model.{kind}")
        patch.apply()
        assert type(vars(model)[kind]) is type(before)
        getattr(model(), kind)(tmp_path / "x")
        assert recorder.calls == 1
        assert (tmp_path / "x").exists()
        patch.revert()
        assert vars(model)[kind] is before

    def test_looks_like_the_original(self, patch_of: Callable[..., Patch]) -> None:
        original = tiny().save
        patch_of("tiny.writer:save", "tiny:save").apply()
        wrapped = tiny().save
        assert wrapped is not original
        assert (wrapped.__name__, wrapped.__qualname__, wrapped.__module__, wrapped.__doc__) == (
            original.__name__,
            original.__qualname__,
            original.__module__,
            original.__doc__,
        )
        assert inspect.signature(wrapped) == inspect.signature(original)
        assert pickle.loads(pickle.dumps(wrapped)) is wrapped

    def test_coroutine_function(
        self, make_package: Any, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any
    ) -> None:
        make_package(writer="async def save(path):\n    path.touch()\n    return path\n")
        patch_of("tiny.writer:save", "tiny:save").apply()
        saving = tiny().save(tmp_path / "x")
        assert inspect.iscoroutinefunction(tiny().save)
        assert not (tmp_path / "x").exists()
        assert asyncio.run(saving) == tmp_path / "x"
        assert (recorder.calls, (tmp_path / "x").exists()) == (1, True)

    def test_idempotent(self, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any) -> None:
        original = tiny().save
        patch = patch_of("tiny.writer:save", "tiny:save")
        for _ in range(3):
            patch.apply()
            patch.apply()
            assert tiny().save.__wrapped__ is original
            tiny().save(b"", tmp_path / "x")
            patch.revert()
            patch.revert()
            assert tiny().save is original
        assert recorder.calls == 3

    def test_held_wrapper_sleeps_and_wakes(
        self, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any
    ) -> None:
        patch = patch_of("tiny:save")
        patch.apply()
        held = tiny().save
        patch.revert()
        held(b"", tmp_path / "x")
        assert recorder.calls == 0
        patch.apply()
        held(b"", tmp_path / "x")
        assert recorder.calls == 1

    def test_foreign_wrapper_stays(self, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any) -> None:
        patch = patch_of("tiny:save")
        patch.apply()
        ours = tiny().save

        def theirs(*args: Any, **kwargs: Any) -> None:
            ours(*args, **kwargs)

        tiny().save = theirs  # type: ignore[attr-defined]
        patch.revert()
        assert tiny().save is theirs
        theirs(b"", tmp_path / "x")
        assert recorder.calls == 0

    def test_absent_alias_is_fine(self, patch_of: Callable[..., Patch], capfd: pytest.CaptureFixture[str]) -> None:
        patch_of("tiny:save", "tiny.nowhere:save", "tiny:other", "tiny.writer:Nothing.save").apply()
        assert hasattr(tiny().save, "__wrapped__")
        assert capfd.readouterr() == ("", "")

    def test_alias_of_a_module_imported_later(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        make_package(late="from tiny import save\n")
        patch = patch_of("tiny:save", "tiny.late:save")
        patch.apply()
        original = tiny().save.__wrapped__
        late = importlib.import_module("tiny.late")
        assert late.save is tiny().save
        patch.revert()
        assert late.save is original


class TestMissing:
    def test_name(
        self, make_package: Any, patch_of: Callable[..., Patch], capfd: pytest.CaptureFixture[str], tmp_path: Any
    ) -> None:
        make_package(__init__="__version__ = '1.9'\nfrom tiny import writer\n", writer="value = 1\n")
        patch_of("tiny.writer:save").apply()
        assert tiny().writer.value == 1
        out, err = capfd.readouterr()
        assert out == ""
        assert len(err.splitlines()) == 1
        for part in ("tiny 1.9 ", " tiny.writer:save,", "not signed", "tiny >=0.5,<2"):
            assert part in err

    def test_module(self, make_package: Any, patch_of: Callable[..., Patch], capfd: pytest.CaptureFixture[str]) -> None:
        make_package(__init__="__version__ = '1.9'\n")
        patch_of("tiny.moved.away:save").apply()
        tiny()
        assert "tiny 1.9 has no tiny.moved.away," in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("version", "hooked"), [("0.4.9", False), ("0.5", True), ("1.9.9rc1+cpu", True), ("2.0", False), ("main", True)]
    )
    def test_version(
        self,
        version: str,
        hooked: bool,
        make_package: Any,
        patch_of: Callable[..., Patch],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        make_package(__init__=f"__version__ = {version!r}\nfrom tiny.writer import save\n")
        patch_of("tiny.writer:save", "tiny:save").apply()
        assert hasattr(tiny().save, "__wrapped__") is hooked
        err = capfd.readouterr().err
        assert len(err.splitlines()) == (0 if hooked else 1)
        assert hooked or (f"tiny {version} " in err and ">=0.5,<2" in err)

    @pytest.mark.parametrize(("version", "told"), [("0.9", 0), ("1.5.0", 1), ("1.9", 1)])
    def test_function_that_came_later(
        self,
        version: str,
        told: int,
        make_package: Any,
        patch_of: Callable[..., Patch],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        make_package(__init__=f"__version__ = {version!r}\n")
        patch = patch_of("tiny.moved.away:save")
        patch.since = "1.5"
        patch.apply()
        tiny()
        assert len(capfd.readouterr().err.splitlines()) == told

    @pytest.mark.parametrize("imported", ["before", "after"])
    def test_part_of_another_version(
        self, imported: str, make_package: Any, patch_of: Callable[..., Patch], capfd: pytest.CaptureFixture[str]
    ) -> None:
        """What has a hook of its own is named, once, and only where it is imported."""
        make_package(__init__="__version__ = '0.4'\n")
        patches = [patch_of("tiny.writer:save"), patch_of("tiny.writer:Model.save")]
        for patch in patches:
            patch.framework = Framework("tiny", ">=0.5,<2", "1.0", part="tiny.writer")
        tiny()
        if imported == "before":
            importlib.import_module("tiny.writer")
        for patch in patches:
            patch.apply()
        assert (capfd.readouterr().err == "") is (imported == "after")
        importlib.import_module("tiny.writer")
        for patch in patches:
            patch.revert()
            patch.apply()
        err = capfd.readouterr().err
        assert err.count("what tiny.writer saves is not signed") == (1 if imported == "after" else 0)

    def test_module_not_imported_yet(
        self, make_package: Any, patch_of: Callable[..., Patch], capfd: pytest.CaptureFixture[str]
    ) -> None:
        make_package(__init__="")
        patch_of("tiny.writer:save").apply()
        tiny()
        assert "tiny.writer" not in sys.modules
        assert hasattr(importlib.import_module("tiny.writer").save, "__wrapped__")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize(("module", "told"), [("writer", ""), ("gone", "tiny 1.0 has no tiny.some.parts.gone,")])
    def test_module_in_packages_without_init(
        self,
        module: str,
        told: str,
        make_package: Any,
        patch_of: Callable[..., Patch],
        tmp_path: Any,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        make_package(__init__="__version__ = '1.0'\n")
        parts = tmp_path / "site/tiny/some/parts"
        parts.mkdir(parents=True)
        (parts / "writer.py").write_text("def save(path): ...\n", encoding="utf-8")
        patch_of(f"tiny.some.parts.{module}:save").apply()
        tiny()
        err = capfd.readouterr().err
        assert told in err
        assert bool(told) is bool(err)
        if not told:
            assert hasattr(importlib.import_module("tiny.some.parts.writer").save, "__wrapped__")

    def test_nothing_is_imported_to_look(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        make_package(__init__="def __getattr__(name):\n    raise RuntimeError(name)\n")
        tiny()
        patch_of("tiny.writer:Model.save").apply()
        assert "tiny.writer" not in sys.modules

    @pytest.mark.usefixtures("make_package")
    def test_blocked_import(
        self, patch_of: Callable[..., Patch], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "tiny", None)
        patch_of("tiny:save").apply()
        with pytest.raises(ImportError):
            tiny()
        assert capfd.readouterr() == ("", "")


class TestImporting:
    def test_failed_import(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        make_package(__init__="from tiny.writer import save\nraise OSError('missing library')\n")
        patch_of("tiny:save", "tiny.writer:save").apply()
        for _ in range(2):
            with pytest.raises(OSError, match="missing library"):
                tiny()
            assert "tiny" not in sys.modules
            assert not hasattr(sys.modules["tiny.writer"].save, "__wrapped__")
        make_package(__init__="from tiny.writer import save\n")
        assert hasattr(tiny().save, "__wrapped__")
        assert sys.modules["tiny.writer"].save is tiny().save

    def test_failed_import_then_other_version(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        """Submodules survive a failed import of their package; those of another installation do not."""
        make_package(__init__="import tiny.writer\nraise OSError('missing library')\n")
        patch = patch_of("tiny.writer:save")
        patch.apply()
        with pytest.raises(OSError, match="missing library"):
            tiny()
        del sys.modules["tiny.writer"]
        make_package(__init__="import tiny.writer\n")
        save = tiny().writer.save
        assert not hasattr(save.__wrapped__, "__wrapped__")
        patch.revert()
        assert tiny().writer.save is save.__wrapped__

    @pytest.mark.usefixtures("make_package")
    def test_missing_package(self, patch_of: Callable[..., Patch]) -> None:
        patch_of("nowhere_to_be_found:save").apply()
        with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere_to_be_found'"):
            importlib.import_module("nowhere_to_be_found")

    def test_applied_while_importing(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        make_package(__init__="import apply_now\ndef save(data, path): ...\n")
        patch = patch_of("tiny:save")
        self._call_on_import("apply_now", patch.apply)
        assert hasattr(tiny().save, "__wrapped__")
        assert type(tiny().__spec__) is importlib.machinery.ModuleSpec

    def test_reverted_while_importing(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        make_package(__init__="import revert_now\ndef save(data, path): ...\n")
        patch = patch_of("tiny:save")
        patch.apply()
        self._call_on_import("revert_now", patch.revert)
        assert not hasattr(tiny().save, "__wrapped__")

    def test_applied_while_another_thread_imports(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        make_package(__init__="import wait_here\ndef save(data, path): ...\n")
        begun, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            go_on.wait(10)

        self._call_on_import("wait_here", wait)
        thread = threading.Thread(target=tiny)
        thread.start()
        assert begun.wait(10)
        patch_of("tiny:save").apply()
        go_on.set()
        thread.join(10)
        assert hasattr(tiny().save, "__wrapped__")

    @pytest.mark.usefixtures("make_package")
    def test_loader_and_spec_stay(self, patch_of: Callable[..., Patch]) -> None:
        untouched = importlib.util.find_spec("tiny")
        assert untouched is not None
        patch_of("tiny:save").apply()
        found = importlib.util.find_spec("tiny")
        assert found == untouched
        assert repr(found).startswith("ModuleSpec(name='tiny', loader=<_frozen_importlib_external.SourceFileLoader")
        module = tiny()
        assert type(module.__spec__) is importlib.machinery.ModuleSpec
        assert type(module.__loader__) is importlib.machinery.SourceFileLoader
        assert module.__spec__ is not None
        assert module.__spec__.loader is module.__loader__

    @pytest.mark.usefixtures("make_package")
    @pytest.mark.parametrize("index", [0, 1])
    def test_other_finders(self, index: int, patch_of: Callable[..., Patch]) -> None:
        """One that delegates as wrapt's does, inserted before or after ours."""
        asked: list[str] = []

        class Delegating(importlib.machinery.PathFinder):
            busy = False

            def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:  # type: ignore[override]
                if fullname != "tiny" or self.busy:
                    return None
                asked.append(fullname)
                self.busy = True
                try:
                    return importlib.util.find_spec(fullname)
                finally:
                    self.busy = False

        patch_of("tiny:save").apply()
        other = Delegating()
        sys.meta_path.insert(index, other)
        try:
            assert hasattr(tiny().save, "__wrapped__")
        finally:
            sys.meta_path.remove(other)
        assert asked

    @pytest.mark.usefixtures("make_package")
    def test_reload(self, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any) -> None:
        patch = patch_of("tiny:save", "tiny.writer:save")
        patch.apply()
        importlib.reload(tiny())
        tiny().save(b"", tmp_path / "x")
        assert recorder.calls == 1
        patch.revert()
        assert not hasattr(tiny().save, "__wrapped__")

    def test_many_threads(self, make_package: Any, patch_of: Callable[..., Patch]) -> None:
        """Apply, revert and import race; at the end the last word holds and no import has failed."""
        make_package(**{f"m{index}": f"import tiny.n{index}\n" for index in range(50)})
        make_package(**{f"n{index}": "def save(data, path): ...\n" for index in range(50)})
        patches = [patch_of(f"tiny.n{index}:save") for index in range(50)]
        failures: list[Exception] = []
        start = threading.Barrier(6)

        def work(task: Callable[[int], object]) -> None:
            start.wait()
            try:
                for index in range(50):
                    task(index)
            except Exception as error:  # noqa: BLE001 - whichever, it is told below
                failures.append(error)

        def toggle(index: int) -> None:
            patches[index].revert()
            patches[index].apply()

        tasks: list[Callable[[int], object]] = [lambda index: importlib.import_module(f"tiny.m{index}")] * 3
        threads = [threading.Thread(target=work, args=(task,)) for task in [*tasks, toggle, toggle, toggle]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        for index in range(50):
            save = sys.modules[f"tiny.n{index}"].save
            assert hasattr(save, "__wrapped__"), index
            assert not hasattr(save.__wrapped__, "__wrapped__"), index

    @pytest.fixture(autouse=True)
    def _drop_callbacks(self) -> Iterator[None]:
        self._callbacks: list[str] = []
        yield
        for name in self._callbacks:
            sys.modules.pop(name, None)

    def _call_on_import(self, name: str, call: Callable[[], object]) -> None:
        """Make `import name` call a function."""

        class Loader(importlib.machinery.SourceFileLoader):
            def __init__(self) -> None:
                super().__init__(name, name)

            def exec_module(self, module: ModuleType) -> None:
                call()

        class Finder:
            @staticmethod
            def find_spec(fullname: str, path: object = None, target: object = None) -> Any:
                if fullname != name:
                    return None
                sys.meta_path.remove(Finder)
                return importlib.machinery.ModuleSpec(name, Loader())

        self._callbacks.append(name)
        sys.meta_path.append(Finder)


@pytest.mark.usefixtures("make_package")
class TestImportedOnceMore:
    """As notebooks reload what was edited, and Keras is imported anew when it gets another backend."""

    def test_reloaded(self, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any) -> None:
        patch = patch_of("tiny.writer:save", "tiny:save")
        patch.apply()
        package = tiny()
        for calls in (1, 2):
            writer = importlib.reload(package.writer)
            writer.save(b"weights", tmp_path / "x")
            assert recorder.calls == calls
            assert type(writer.__loader__).__module__ != "model_signing_autosign._patch"
            assert type(writer.__spec__.loader).__module__ != "model_signing_autosign._patch"
        patch.revert()
        assert not hasattr(writer.save, "__wrapped__")

    def test_after_it_was_removed(self, patch_of: Callable[..., Patch], recorder: Recorder, tmp_path: Any) -> None:
        patch_of("tiny.writer:save", "tiny:save").apply()
        for calls in (1, 2, 3):
            tiny().save(b"weights", tmp_path / "x")
            assert recorder.calls == calls
            for name in ("tiny", "tiny.writer"):
                del sys.modules[name]

    @pytest.mark.parametrize("early", [False, True], ids=["applied after", "applied before"])
    def test_loaded_when_it_is_first_used(
        self,
        early: bool,
        patch_of: Callable[..., Patch],
        recorder: Recorder,
        tmp_path: Any,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        tiny()
        del sys.modules["tiny.writer"]
        patch = patch_of("tiny.writer:save")
        if early:
            patch.apply()
        spec = importlib.util.find_spec("tiny.writer")
        assert spec is not None
        assert spec.loader is not None
        spec.loader = importlib.util.LazyLoader(spec.loader)
        writer = importlib.util.module_from_spec(spec)
        sys.modules["tiny.writer"] = writer
        spec.loader.exec_module(writer)
        if not early:
            patch.apply()
        importlib.import_module("json.tool")  # whatever is imported next does not load it
        assert type(writer).__name__ == "_LazyModule"
        assert capfd.readouterr().err == ""
        writer.save(b"weights", tmp_path / "x")
        assert recorder.calls == 1
