"""The program takes the place of `model-signing run`, and finds nothing changed but PYTHONPATH."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]


@pytest.mark.parametrize("code", [0, 3, 125])
def test_exit_code(code: int, launched: Run) -> None:
    assert launched("sh", "-c", f"exit {code}").returncode == code


def test_a_signal_reaches_the_program_and_is_its_end(launcher: tuple[str, ...], variables: dict[str, str]) -> None:
    command = [*launcher, sys.executable, "-c", "import os; print(os.getpid(), flush=True); input()"]
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) == process.pid
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == -signal.SIGTERM


SIGNALS = ("grep", "^Sig[BIC]", "/proc/self/status")


@pytest.mark.parametrize(
    "command",
    [
        ("env",),
        ("pwd",),
        ("cat",),
        ("ls", "/proc/self/fd"),
        SIGNALS,
        ("echo", "--nproc_per_node", "--help", "-x", "--", "", "sign"),
    ],
    ids=" ".join,
)
def test_the_program_finds_what_it_would_find(command: tuple[str, ...], plain: Run, launched: Run) -> None:
    with_us, without = (run(*command, stdin="a line\nand more") for run in (launched, plain))
    ours = sorted(line for line in with_us.stdout.splitlines() if not line.startswith("PYTHONPATH="))
    assert without.returncode == 0
    assert (with_us.returncode, with_us.stderr, ours) == (0, "", sorted(without.stdout.splitlines()))


def test_how_much_is_said_can_be_an_option(plain: Run, launcher: tuple[str, ...]) -> None:
    command, *rest = launcher
    program = ("sh", "-c", "echo $MODEL_SIGNING_LOG_LEVEL")
    assert plain(command, "--log_level", "DEBUG", *rest, *program).stdout == "debug\n"
    assert plain(command, *rest, *program, MODEL_SIGNING_LOG_LEVEL="info").stdout == "info\n"


def test_what_is_ignored_stays_ignored(plain: Run, launcher: tuple[str, ...]) -> None:
    """As Ctrl-C is for what a shell runs in the background; nothing that starts tests ignores USR1."""
    ignoring = ("sh", "-c", 'trap "" USR1 HUP; exec "$@"', "sh")
    without = plain(*ignoring, *SIGNALS)
    assert plain(*ignoring, *launcher, *SIGNALS).stdout == without.stdout
    assert without.stdout != plain(*SIGNALS).stdout


def test_the_terminal_is_the_program_s(launcher: tuple[str, ...], variables: dict[str, str]) -> None:
    terminal, end = pty.openpty()
    command = [*launcher, sys.executable, "-c", "import os; print(*map(os.isatty, range(3)))"]
    assert subprocess.run(command, env=variables, stdin=end, stdout=end, stderr=end, check=False).returncode == 0
    os.close(end)
    assert os.read(terminal, 99).split() == [b"True"] * 3
    os.close(terminal)


def test_a_program_that_cannot_be_started(launched: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    for name, code, why in [
        ("no-such-program", 127, "No such file"),
        ("./data", 126, "Permission denied"),
        (".", 126, "Permission denied"),
    ]:
        result = launched(name)
        assert (result.returncode, result.stdout) == (code, "")
        assert result.stderr.startswith(f'Starting "{name}" failed with error: {why}')
        assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("before", ["", "/a:b::/c/:"])
def test_pythonpath(before: str, launched: Run, launcher: tuple[str, ...], startup: Path) -> None:
    expected = f"{startup}:{before}" if before else str(startup)
    for nested in ((), launcher):
        result = launched(*nested, "printenv", "PYTHONPATH", PYTHONPATH=before)
        assert result.stdout == expected + "\n", result.stderr


def test_disabled_changes_nothing(launched: Run, plain: Run) -> None:
    disabled = {"MODEL_SIGNING_MODE": "disabled", "PYTHONPATH": "/a"}
    assert sorted(launched("env", **disabled).stdout) == sorted(plain("env", **disabled).stdout)


def test_a_wrong_setting(launched: Run) -> None:
    """It does not keep training from running, unless somebody wants to hear of it that way."""
    wrong = {"MODEL_SIGNING_MODE": "fast"}
    result = launched("echo", "trained", **wrong)
    assert (result.returncode, result.stdout, result.stderr) == (0, "trained\n", "")
    result = launched("echo", "trained", MODEL_SIGNING_ON_ERROR="raise", **wrong)
    assert (result.returncode, result.stdout) == (125, "")
    assert "MODEL_SIGNING_MODE" in result.stderr
