"""A function of torch that is replaced by somebody's changed copy of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

REPLACED = """
    import model_signing.autosign as autosign
    import sys, torch

    class Copy:
        def __init__(self, name):
            self.file = torch._C.PyTorchFileWriter(str(name), True, True)
        def __enter__(self):
            return self.file
        def __exit__(self, *_):
            self.file.write_end_of_file()

    ours = torch.serialization._open_zipfile_writer
    copy = Copy if sys.argv[1] == "copy" else lambda name: ours(name)
    if sys.argv[2] == "late":
        torch.save({}, "before.pt")
    torch.serialization._open_zipfile_writer = copy
    torch.save({}, "model.pt")
    assert torch.load("model.pt") == {}
    print([one["by"] for one in autosign.doctor()["replaced"]])
"""

LINE = (
    "model-signing: torch.serialization:_open_zipfile_writer was replaced by __main__.Copy, which seems not to call "
    "it: what that saves is not signed then"
)


def test_it_is_told_of(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    for when in ("early", "late"):
        result = run_script(REPLACED, "copy", when)
        assert result.returncode == 0, result.stderr
        assert result.stdout == "['__main__.Copy']\n"
        assert result.stderr.splitlines().count(LINE) == 1
        assert not (tmp_path / "model.pt.sig").exists()


def test_who_calls_ours_is_signed(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    result = run_script(REPLACED, "wrapper", "early")
    assert (result.returncode, result.stdout) == (0, "[]\n"), result.stderr
    assert "replaced" not in result.stderr
    assert (tmp_path / "model.pt.sig").exists()
