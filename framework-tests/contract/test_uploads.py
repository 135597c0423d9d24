"""What carries signatures along, round a function that uploads nothing."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign import _saving, _uploads
from model_signing_autosign._patch import Framework
from model_signing_autosign._saving import Scope, argument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("autosign")

FRAMEWORK = Framework("test", ">=1", "1")
GIB = 1 << 30


def uploads(path: object, **options: Any) -> object:
    wrapper = _uploads.uploads(FRAMEWORK, argument("path", 0), **options)
    return wrapper(lambda path: ("uploaded", path), path)


def write(path: Path, size: int = 1) -> Path:
    with Scope(path, "test"), path.open("wb") as file:
        file.truncate(size)
    return path


def test_waits_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_uploads, "_LONGEST_WAIT", 0.1)
    large = write(tmp_path / "large", 16 * GIB)  # no disk is used, but hashing it takes long
    begun = time.monotonic()
    assert uploads(str(large)) == ("uploaded", str(large))
    assert time.monotonic() - begun < 4
    assert f"{large} is uploaded without waiting any longer for the signature of {large}" in capfd.readouterr().err
    assert uploads(str(tmp_path)) == ("uploaded", str(tmp_path))
    assert f"{tmp_path} is uploaded without waiting any longer for the signature of {large}" in capfd.readouterr().err
    (tmp_path / "other").write_bytes(b"not saved by anybody")
    uploads(str(tmp_path / "other"))
    large.unlink()
    assert "any longer" not in capfd.readouterr().err


def test_what_is_put_beside(tmp_path: Path) -> None:
    seen = []

    def beside(original: Callable[..., Any], call: Any, result: object, path: str) -> None:
        seen.append((call.args, result, path, os.path.exists(f"{path}.sig")))
        raise ValueError  # a fault of ours

    path = write(tmp_path / "x")
    assert uploads(path, beside=beside) == ("uploaded", path)
    assert seen == [((path,), ("uploaded", path), str(path), True)]
    for other in (tmp_path, tmp_path / "missing", None, 3, b"x"):
        assert uploads(other, beside=beside) == ("uploaded", other)
    assert len(seen) == 1


def test_what_is_no_signature_is_not_waited_for(tmp_path: Path) -> None:
    for number, put in enumerate((os.mkfifo, os.mkdir, lambda path: os.symlink("/dev/zero", path))):
        path = tmp_path / str(number)
        path.write_bytes(b"not saved by anybody")
        put(f"{path}.sig")
        assert _uploads.signature_of(str(path)) is None
        assert uploads(path, beside=lambda *_: pytest.fail("there is none")) == ("uploaded", path)


def test_a_folder_that_is_filled_and_uploaded(tmp_path: Path, signatures: Callable[[], list[str]]) -> None:
    def fill(name: str) -> None:
        (tmp_path / name).mkdir()
        write(tmp_path / name / "weights")
        uploads(tmp_path / name, filled=lambda path: path.endswith("model"))

    wrapper = _uploads.fills_and_uploads(FRAMEWORK)
    wrapper(fill, "model")
    assert signatures() == ["model/model.sig"]
    wrapper(fill, "other")  # was uploaded by nobody who knows
    fill("late-model")
    assert signatures() == ["late-model/weights.sig", "model/model.sig"]


def test_an_interrupt_at_any_moment_leaves_nothing_open(
    tmp_path: Path, at_each_moment: Callable[..., Iterator[int]], is_signed: Callable[[Path], bool]
) -> None:
    wrapper = _uploads.fills_and_uploads(FRAMEWORK)
    code = wrapper.__code__  # type: ignore[attr-defined]
    for moment in at_each_moment(lambda: wrapper(lambda: None), code):
        with Scope(tmp_path / "next", "test"):
            (tmp_path / "next").write_bytes(b"weights")
        assert _saving._thread.scopes == [], moment
    assert moment > 10, "it has more bytecodes than that"
    assert is_signed(tmp_path / "next")
