"""Scopes: the outermost save over a path is reported once, when it has succeeded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign import SigningError, _session, paused
from model_signing_autosign._faults import contained, say
from model_signing_autosign._patch import Framework
from model_signing_autosign._saving import Scope, _thread, argument, is_paused, saves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

pytestmark = pytest.mark.usefixtures("autosign")


def write(path: Path) -> None:
    with Scope(path, "test"):
        path.write_bytes(b"weights")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    return folder


def test_one_file(tmp_path: Path, is_signed: Callable[[Path], bool]) -> None:
    write(tmp_path / "x")
    assert is_signed(tmp_path / "x")


def test_inner_saves_are_covered(
    folder: Path, signatures: Callable[[], list[str]], is_signed: Callable[[Path], bool]
) -> None:
    with Scope(folder, "test"):
        write(folder / "a")
        (folder / "sub").mkdir()
        with Scope(str(folder / "sub"), "test"):
            write(folder / "sub" / "b")
        with Scope(folder, "test"):
            pass
        assert signatures() == []
    assert signatures() == ["checkpoint/model.sig"]
    assert is_signed(folder)


def test_reported_once(autosign: ModuleType, tmp_path: Path) -> None:
    before = autosign.flush().signed
    with Scope(tmp_path / "x", "test"):
        write(tmp_path / "x")
    assert autosign.flush().signed == before + 1


def test_inner_save_elsewhere_is_its_own(folder: Path, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    with Scope(folder, "test"):
        write(folder / "a")
        write(tmp_path / "checkpoint2")
    assert signatures() == ["checkpoint/model.sig", "checkpoint2.sig"]


def test_inner_save_that_the_outer_one_removes(
    folder: Path, tmp_path: Path, signatures: Callable[[], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    with Scope(tmp_path / "x", "test"):
        write(folder / "in-passing")
        (folder / "in-passing").unlink()
        (tmp_path / "x").write_bytes(b"made of it")
    assert signatures() == ["x.sig"]
    assert "in-passing" not in capfd.readouterr().err


def test_cover_seen_through_symlink(folder: Path, tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    (tmp_path / "last").symlink_to(folder)
    with Scope(folder, "test"):
        write(tmp_path / "last" / "a")
    assert signatures() == ["checkpoint/model.sig"]


def test_relative_path_and_changed_directory(
    tmp_path: Path, folder: Path, signatures: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Scope("x", "test"):
        (tmp_path / "x").write_bytes(b"weights")
        os.chdir(folder)
    assert signatures() == ["x.sig"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_failed_save(error: type[BaseException], tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    raised = error("theirs")
    with pytest.raises(error) as caught, Scope(tmp_path / "x", "test"):  # noqa: PT012
        (tmp_path / "x").write_bytes(b"half")
        raise raised
    assert caught.value is raised
    assert signatures() == []
    write(tmp_path / "y")  # the stack is in order again
    assert signatures() == ["y.sig"]


def test_failed_inner_save_that_the_outer_one_survives(folder: Path, signatures: Callable[[], list[str]]) -> None:
    with Scope(folder, "test"):
        write(folder / "a")
        with contextlib.suppress(ValueError), Scope(folder / "b", "test"):
            raise ValueError
    assert signatures() == ["checkpoint/model.sig"]


def test_failed_outer_save(folder: Path, signatures: Callable[[], list[str]]) -> None:
    with contextlib.suppress(ValueError), Scope(folder, "test"):
        write(folder / "a")
        raise ValueError
    assert signatures() == []


def test_paused(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    def elsewhere() -> None:
        write(tmp_path / "other-thread")

    with paused():
        write(tmp_path / "x")
        with paused():
            write(tmp_path / "y")
        write(tmp_path / "z")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert signatures() == ["other-thread.sig"]
    write(tmp_path / "x")
    assert signatures() == ["other-thread.sig", "x.sig"]


def test_threads_have_their_own_scopes(folder: Path, signatures: Callable[[], list[str]]) -> None:
    with Scope(folder, "test"):
        thread = threading.Thread(target=write, args=(folder / "a",))
        thread.start()
        thread.join()
        assert signatures() == ["checkpoint/a.sig"]


class BytesPath:
    def __fspath__(self) -> bytes:
        return b"x"


class BrokenPath:
    def __fspath__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("target", [None, b"x", 3, object(), BytesPath(), BrokenPath()])
def test_no_path(target: object, signatures: Callable[[], list[str]]) -> None:
    with Scope(target, "test") as scope:
        assert scope.root is None
    assert signatures() == []


@pytest.mark.parametrize("call", [lambda f, p: f(0, p), lambda f, p: f(0, path=p), lambda f, p: f(path=p, data=0)])
def test_saves(
    call: Callable[[Callable[..., Path], Path], Path], tmp_path: Path, signatures: Callable[[], list[str]]
) -> None:
    def original(data: int, path: Path) -> Path:
        path.write_bytes(b"weights")
        return path

    wrapper = saves(Framework("test", ">=1", "1"), argument("path", 1))
    assert call(lambda *args, **kwargs: wrapper(original, *args, **kwargs), tmp_path / "x") == tmp_path / "x"
    assert signatures() == ["x.sig"]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'path'"):
        wrapper(original, 0)


def test_coroutines(folder: Path, signatures: Callable[[], list[str]]) -> None:
    """What goes on in the same thread while one waits is no part of it, not even if it lies in its folder."""
    wrapper = saves(Framework("test", ">=1", "1"), argument("path", 0))

    async def original(path: Path, end: asyncio.Event) -> str:
        await end.wait()
        if path.name == "fails":
            raise OSError(path.name)
        path.joinpath("weights").write_bytes(b"weights")
        return path.name

    async def save_all() -> list[object]:
        ends = {name: asyncio.Event() for name in (".", "inner", "fails")}
        for name in ends:
            (folder / name).mkdir(exist_ok=True)
        saving = [asyncio.create_task(wrapper(original, folder / name, end)) for name, end in ends.items()]
        for end in reversed(ends.values()):
            await asyncio.sleep(0)
            assert signatures() == (["checkpoint/inner/model.sig"] if ends["inner"].is_set() else [])
            end.set()
            await asyncio.sleep(0.01)
        return await asyncio.gather(*saving, return_exceptions=True)

    *names, error = asyncio.run(save_all())
    assert names == ["checkpoint", "inner"]
    assert isinstance(error, OSError)
    assert signatures() == ["checkpoint/inner/model.sig", "checkpoint/model.sig"]


def test_checkpoint_that_vanished(
    tmp_path: Path, signatures: Callable[[], list[str]], capfd: pytest.CaptureFixture[str]
) -> None:
    with Scope(tmp_path / "vanished", "test"):
        pass
    assert signatures() == []
    assert "vanished" in capfd.readouterr().err


class Panic(BaseException):
    """As pyo3_runtime.PanicException: no Exception."""


def test_faults_are_contained(capfd: pytest.CaptureFixture[str]) -> None:
    with contained("do it"):
        raise Panic("broken")
    with contained("do it"):
        raise OSError("full")
    out, err = capfd.readouterr()
    assert (out, err.splitlines()) == (
        "",
        ["model-signing: cannot do it: Panic: broken", "model-signing: cannot do it: OSError: full"],
    )
    for error in (SigningError("m", "h"), KeyboardInterrupt(), SystemExit(3)):
        with pytest.raises(type(error)), contained("do it"):
            raise error


@pytest.mark.parametrize(
    ("variable", "value", "heard"),
    [
        ("LOG_LEVEL", "warning", True),
        ("LOG_LEVEL", "off", False),
        ("LOG_LEVEL", "ERROR", True),
        ("LOG_LEVEL", "CRITICAL", False),
        ("ON_ERROR", "ignore", False),
    ],
)
def test_settings_silence_hooks(
    variable: str, value: str, heard: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"MODEL_SIGNING_{variable}", value)
    say("a line")
    say("no text: \ud800")
    assert capfd.readouterr() == ("", "model-signing: a line\n" if heard else "")


def test_an_interrupt_at_any_moment_leaves_nothing_open(
    tmp_path: Path, is_signed: Callable[[Path], bool], at_each_moment: Callable[..., Iterator[int]]
) -> None:
    def original(path: Path) -> None:
        path.write_bytes(b"weights")

    save = saves(Framework("test", ">=0", "0"), argument("path", 0))
    code = save.__code__  # type: ignore[attr-defined]
    for moment in at_each_moment(lambda: save(original, tmp_path / "interrupted"), code):
        write(tmp_path / "next")
        assert _thread.scopes == [], moment
    assert moment > 30, "it has more bytecodes than that"
    assert is_signed(tmp_path / "next")


def test_an_interrupt_before_a_save_writes_leaves_what_was_there_signed(
    tmp_path: Path, is_signed: Callable[[Path], bool], at_each_moment: Callable[..., Iterator[int]]
) -> None:
    saved = 0

    def original(path: Path) -> None:
        nonlocal saved
        saved += 1
        path.write_bytes(b"%d" % saved)

    save = saves(Framework("test", ">=0", "0"), argument("path", 0))
    codes = [function.__code__ for function in (save, Scope.begin, Scope.enter, _session.begins)]  # type: ignore[attr-defined]
    target = tmp_path / "last"
    save(original, target)
    before = saved
    for moment in at_each_moment(lambda: save(original, target), *codes):
        if saved > before:  # it is new, and the interrupt came too late, or before it was told of
            save(original, target)
        assert is_signed(target), moment
        before = saved
    assert moment > 100, "they have more bytecodes than that"


def test_an_interrupt_at_any_moment_leaves_no_pause(at_each_moment: Callable[..., Iterator[int]]) -> None:
    def act() -> None:
        with paused():
            pass

    inside = paused.__wrapped__  # type: ignore[attr-defined]
    for moment in at_each_moment(act, act.__code__, inside.__code__):
        assert not is_paused(), moment
    assert moment > 10, "it has more bytecodes than that"


@contextlib.contextmanager
def suspended(folder: Path) -> Iterator[None]:
    with Scope(folder, "test"):
        yield


@contextlib.contextmanager
def stacked(folder: Path) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(Scope(folder, "test"))
        yield


class Entered:
    """Opens a scope in a function that returns long before it ends."""

    def __init__(self, folder: Path) -> None:
        self._scope = Scope(folder, "test")

    def __enter__(self) -> None:
        self._scope.__enter__()

    def __exit__(self, *failure: Any) -> None:
        self._scope.__exit__(*failure)


@pytest.mark.parametrize("opened", [suspended, stacked, Entered], ids=lambda opened: opened.__name__)
def test_a_scope_that_another_call_ends_stays_open(
    opened: Callable[[Path], contextlib.AbstractContextManager[None]],
    folder: Path,
    signatures: Callable[[], list[str]],
) -> None:
    with opened(folder):
        write(folder / "a")
        write(folder / "b")
    assert signatures() == ["checkpoint/model.sig"]
