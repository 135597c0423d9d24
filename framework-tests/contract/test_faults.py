"""Whatever is wrong with our side, a training run prints what it prints without us and ends as it ends without us."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess


TRAIN = """
    import sys
    if "sign" in sys.argv:
        import model_signing.autosign
    if "small" in sys.argv:
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    import numpy, safetensors.numpy
    for step in range(3):
        safetensors.numpy.save_file({"w": numpy.full(2, step, numpy.float32)}, f"{step}.safetensors")
        loss = float(safetensors.numpy.load_file(f"{step}.safetensors")["w"].sum())
        print("step", step, "loss", loss)
    sys.exit(5)
"""


# What the script prints on its own; test_plain keeps it true.
PLAIN = "step 0 loss 0.0\nstep 1 loss 2.0\nstep 2 loss 4.0\n"


def assert_same_run(result: CompletedProcess[str]) -> None:
    assert (result.stdout, result.returncode) == (PLAIN, 5), result.stderr


@pytest.mark.parametrize("arguments", [(), ("small",)])
def test_plain(arguments: tuple[str, ...], run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    """Without us."""
    result = run_script(TRAIN, *arguments)
    assert result.stderr == ""
    assert list(tmp_path.glob("*.sig")) == []
    assert_same_run(result)


@pytest.mark.parametrize("mode", ["background", "inline"])
class TestWarn:
    """MODEL_SIGNING_ON_ERROR=warn, the default: training goes on, and the user is told."""

    def test_control(self, mode: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
        result = run_script(TRAIN, "sign", MODE=mode, ON_ERROR=None)
        assert len(list(tmp_path.glob("*.sig"))) == 3
        assert_same_run(result)

    def test_key_missing(self, mode: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
        result = run_script(TRAIN, "sign", MODE=mode, ON_ERROR="warn", PRIVATE_KEY=str(tmp_path / "no-key.pem"))
        assert "no-key.pem" in result.stderr
        assert_same_run(result)

    def test_key_not_set(self, mode: str, run_script: Callable[..., CompletedProcess[str]]) -> None:
        result = run_script(TRAIN, "sign", MODE=mode, ON_ERROR="warn", PRIVATE_KEY=None)
        assert result.stderr != ""
        assert_same_run(result)

    @pytest.mark.parametrize(
        "content",
        [b"", b"garbage", b"\xff\x00\xfe", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"],
        ids=["empty", "text", "binary", "cut"],
    )
    def test_key_garbage(
        self, mode: str, content: bytes, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
    ) -> None:
        (tmp_path / "bad.pem").write_bytes(content)
        result = run_script(TRAIN, "sign", MODE=mode, ON_ERROR="warn", PRIVATE_KEY=str(tmp_path / "bad.pem"))
        assert "bad.pem" in result.stderr
        assert_same_run(result)

    def test_disk_full(self, mode: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
        """A limit on the size of files, which needs no privilege: the checkpoints fit below it, signatures do not."""
        result = run_script(TRAIN, "sign", "small", MODE=mode, ON_ERROR="warn")
        assert all(path.stat().st_size <= 200 for path in tmp_path.glob("*.safetensors"))
        assert list(tmp_path.glob("*.sig")) == []
        assert result.stderr != ""
        assert_same_run(result)

    def test_signature_path_is_a_directory(
        self, mode: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
    ) -> None:
        (tmp_path / "1.safetensors.sig" / "something").mkdir(parents=True)
        result = run_script(TRAIN, "sign", MODE=mode, ON_ERROR="warn")
        assert "1.safetensors" in result.stderr
        assert (tmp_path / "2.safetensors.sig").is_file()
        assert_same_run(result)

    def test_spool_not_writable(
        self, mode: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
    ) -> None:
        """Below a regular file, where even root cannot make a directory; signing does without."""
        (tmp_path / "file").write_bytes(b"")
        result = run_script(TRAIN, "sign", MODE=mode, ON_ERROR="warn", SPOOL=str(tmp_path / "file" / "spool"))
        assert_same_run(result)
        assert len(list(tmp_path.glob("*.sig"))) == 3

    def test_stderr_closed(self, mode: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
        script = "import os\nos.close(2)\n" + "\n".join(line[4:] for line in TRAIN.splitlines())
        result = run_script(script, "sign", MODE=mode, ON_ERROR="warn", PRIVATE_KEY=str(tmp_path / "no-key.pem"))
        assert_same_run(result)

    def test_nonsense_settings(self, mode: str, run_script: Callable[..., CompletedProcess[str]]) -> None:
        result = run_script(TRAIN, "sign", MODE=mode, ON_ERROR="warn", DRAIN_TIMEOUT="soon", HOOKS=",,")
        assert result.stderr != ""
        assert_same_run(result)


def test_ignore_is_silent(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    result = run_script(TRAIN, "sign", ON_ERROR="ignore", PRIVATE_KEY=str(tmp_path / "no-key.pem"))
    assert result.stderr == ""
    assert_same_run(result)


class TestRaise:
    """MODEL_SIGNING_ON_ERROR=raise."""

    SAVE = """
        import numpy, safetensors.numpy, sys
        import model_signing_autosign as autosign
        autosign.enable()
        try:
            safetensors.numpy.save_file({"w": numpy.zeros(2)}, "model.safetensors")
        except autosign.AutosignError as error:
            print(type(error) is not autosign.AutosignError, "model.safetensors" in str(error), error.hint != "")
    """

    def test_save_raises(self, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
        (tmp_path / "model.safetensors.sig" / "something").mkdir(parents=True)
        result = run_script(self.SAVE, MODE="inline", ON_ERROR="raise")
        assert (result.stdout, result.returncode) == ("True True True\n", 0), result.stderr
        assert (tmp_path / "model.safetensors").exists()  # the checkpoint is complete all the same

    def test_without_fault_nothing_raises(
        self, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
    ) -> None:
        result = run_script(self.SAVE, MODE="inline", ON_ERROR="raise")
        assert (result.stdout, result.returncode) == ("", 0), result.stderr
        assert (tmp_path / "model.safetensors.sig").is_file()

    def test_bad_key_ends_the_run(
        self, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: tuple[Path, Path]
    ) -> None:
        """At enable or at the first save: no training for days without a signature."""
        for key in (tmp_path / "no-key.pem", keys[1]):
            result = run_script(TRAIN, "sign", ON_ERROR="raise", PRIVATE_KEY=str(key))
            assert result.returncode == 1
            assert "model_signing_autosign.errors." in result.stderr
            assert key.name in result.stderr
