"""A small real package to hook, so that many orders of events can be run in one process."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WRITER = '''
def write(data, path):
    """Write."""
    with open(path, "wb") as file:
        file.write(data)

def save(data, path, *, fail=None):
    """Save, by what the global `write` is at the time."""
    write(data, path)
    if fail is not None:
        raise fail

class Model:
    def save(self, path):
        write(b"method", path)

    @staticmethod
    def save_static(path):
        write(b"static", path)

    @classmethod
    def save_class(cls, path):
        write(cls.__name__.encode(), path)
'''


@pytest.fixture
def make_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Put modules of a package `tiny` where they can be imported; given as file name without suffix = source."""
    folder = tmp_path / "site"
    (folder / "tiny").mkdir(parents=True)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # edits within one second must be seen

    def make(**modules: str) -> None:
        for name, source in modules.items():
            (folder / "tiny" / f"{name}.py").write_text(source, encoding="utf-8")

    make(__init__="__version__ = '1.0'\nfrom tiny.writer import save\n", writer=WRITER)
    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] == "tiny"]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def clean_meta_path() -> Iterator[None]:
    """No test may leave a finder of ours behind."""
    yield
    assert our_finders() == []


def our_finders() -> list[object]:
    return [finder for finder in sys.meta_path if type(finder).__module__.startswith("model_signing_autosign")]
