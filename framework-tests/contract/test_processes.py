"""Exit, fork and multiprocessing: pending signatures are finished and nothing hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess
    from types import ModuleType

PREAMBLE = """
import os, sys, threading, time
import model_signing.autosign as autosign
import numpy, safetensors.numpy

def save(name):
    safetensors.numpy.save_file({"w": numpy.arange(1 << 20)}, f"{name}.safetensors")

"""

SCRIPTS = {
    "exit": ("save('a')", ["a"]),
    "sys.exit": ("save('a'); sys.exit()", ["a"]),
    "exception": ("save('a'); sys.stderr.close(); raise RuntimeError", ["a"]),
    "atexit callback": ("import atexit; atexit.register(save, 'a')", ["a"]),
    "thread at exit": ("threading.Thread(target=save, args=('a',)).start()", ["a"]),
    "a file removed when Python has taken our modules apart": (
        """
class Last:
    def __del__(self, remove=os.remove):
        remove("scratch")
open("scratch", "w").close()
os.last = Last()
save("a")
""",
        ["a"],
    ),
    "disabled before exit": ("save('a'); autosign.disable()", ["a"]),
    "fork": (
        """
save("before")  # the parent's session has its threads by now
child = os.fork()
save("child" if child == 0 else "parent")
if child == 0:
    assert autosign.flush(timeout=30).signed == 1
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
        ["before", "child", "parent"],
    ),
    "fork with pending work": (
        """
for index in range(20):
    save(f"p{index}")
child = os.fork()
if child == 0:
    save("child")
    sys.exit()  # the child drains its own session, and does not touch the parent's
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
""",
        ["child", *(f"p{index}" for index in range(20))],
    ),
    "fork child without a save": (
        """
save("a")
child = os.fork()
if child == 0:
    sys.exit(3)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
""",
        ["a"],
    ),
    "fork while another thread enables": (
        """
stop = threading.Event()
def toggle():
    while not stop.is_set():
        autosign.disable(); autosign.enable(); time.sleep(0.0001)  # leaves a core for signing
thread = threading.Thread(target=toggle)
thread.start()
for index in range(20):
    child = os.fork()
    if child == 0:
        autosign.disable(); autosign.enable(); save(f"c{index}"); autosign.flush(timeout=30); os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set(); thread.join()
""",
        [f"c{index}" for index in range(20)],
    ),
    **{
        f"multiprocessing {method}": (
            f"""
if __name__ == "__main__":
    import multiprocessing
    save("main")
    context = multiprocessing.get_context({method!r})
    processes = [context.Process(target=save, args=(f"p{{index}}",)) for index in range(2)]
    for process in processes: process.start()
    for process in processes: process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
""",
            ["main", "p0", "p1"],
        )
        for method in ("fork", "spawn", "forkserver")
    },
    "executor": (
        """
if __name__ == "__main__":
    from concurrent.futures import ProcessPoolExecutor
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(save, ["a", "b", "c", "d"]))
""",
        ["a", "b", "c", "d"],
    ),
}


@pytest.mark.parametrize(("script", "names"), SCRIPTS.values(), ids=SCRIPTS)
def test_process_end(
    script: str, names: list[str], run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    result = run_script(PREAMBLE + script, timeout=60)
    assert result.returncode == (1 if "raise" in script else 0), result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.glob("*.sig")) == [f"{name}.safetensors.sig" for name in sorted(names)]


def test_killed_process_loses_nothing(
    run_script: Callable[..., CompletedProcess[str]], settings: dict[str, str], tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    """Its records wait in the spool; nobody takes them while it lives, the next flush signs them when it is gone."""
    late = tmp_path / "late.pem"
    script = """
        import os, signal, shutil, subprocess, sys
        import model_signing.autosign as autosign
        import numpy, safetensors.numpy
        for index in range(3):
            safetensors.numpy.save_file({"w": numpy.arange(index + 1)}, f"{index}.safetensors")
        assert autosign.flush(timeout=30).failed == 3
        shutil.copy(sys.argv[1], os.environ["MODEL_SIGNING_PRIVATE_KEY"])
        print(subprocess.run([sys.argv[2], "flush"], capture_output=True, text=True).stdout, end="")
        print(subprocess.run([sys.argv[2], "status"], capture_output=True, text=True).stdout.count("its program runs"))
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    command = str(Path(sys.executable).with_name("model-signing"))
    killed = run_script(script, str(keys[0]), command, PRIVATE_KEY=str(late), ON_ERROR="warn")
    assert (killed.returncode, killed.stdout) == (-signal.SIGKILL, "0 signed, 0 left\n3\n"), killed.stderr
    assert list(tmp_path.glob("*.sig")) == []

    names = {"MODEL_SIGNING_PRIVATE_KEY": str(late), "MODEL_SIGNING_SPOOL": str(tmp_path / "spool")}
    flushed = subprocess.run([command, "flush"], env=settings | names, capture_output=True, text=True, check=False)
    assert (flushed.returncode, flushed.stdout) == (0, "3 signed, 0 left\n"), flushed.stderr
    for index in range(3):
        model_signing_autosign.verify(tmp_path / f"{index}.safetensors", public_key=keys[1])
    assert [path.name for path in (tmp_path / "spool").iterdir()] == ["runs"]


@pytest.mark.parametrize("closed", ["1", "2"])
def test_a_file_of_the_program_gets_no_line(closed: str, settings: dict[str, str], tmp_path: Path) -> None:
    """Where it was started without a standard stream, the first file that it opens has that number."""
    script = f"""
import os
file = os.open("data", os.O_CREAT | os.O_WRONLY)
assert file == {closed}
{PREAMBLE}
save("a"); autosign.flush()
os.write(file, b"data")
"""
    command = ["sh", "-c", f'exec "$0" -c "$1" {closed}>&-', sys.executable, script]
    variables = settings | {"MODEL_SIGNING_EVENTS": "-", "MODEL_SIGNING_LOG_LEVEL": "debug"}
    result = subprocess.run(command, env=variables, cwd=tmp_path, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "data").read_bytes() == b"data"
    assert (tmp_path / "a.safetensors.sig").exists()


def test_what_a_running_program_saved_is_not_forgotten(
    run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    forget = """
save("a"); autosign.flush(); path = os.path.abspath("a.safetensors")
import subprocess
command = [sys.executable, "-c", "from model_signing_autosign._cli import main; main()", "forget", path]
print(subprocess.run(command, capture_output=True, text=True).stderr)
    """
    result = run_script(PREAMBLE + forget, PRIVATE_KEY=str(tmp_path / "missing.pem"))
    assert 'a.safetensors": its program runs and is going to sign it\n' in result.stdout


WRITER = """
import sys
with open(sys.argv[1], "r+b", buffering=0) as file:
    print("writes", flush=True)
    while True:
        file.seek(0)
        file.write(b"x")
"""


@pytest.mark.parametrize("was_signed", [False, True])
def test_a_file_that_another_process_writes_to_is_not_signed_by_hand(
    autosign: ModuleType, tmp_path: Path, was_signed: bool
) -> None:
    model = tmp_path / "last.pt"
    with model.open("wb") as file:
        file.truncate(1 << 27)  # hashed for longer than the times of files are apart
    if was_signed:
        autosign.sign(model)
    with subprocess.Popen([sys.executable, "-c", WRITER, model], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writes\n"
        try:
            with pytest.raises(autosign.SigningError, match="changed while it was hashed") as failed:
                autosign.sign(model)
        finally:
            writer.kill()
    assert failed.value.hint == "sign again when nothing writes to the model"
    assert autosign.sign(model).exists()


def test_a_signature_by_hand_in_mode_offline_is_still_to_come(
    run_script: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    (tmp_path / "last.pt").write_bytes(b"weights")
    script = """
import model_signing.autosign as autosign
for asked in (autosign.sign, autosign.wait):
    try:
        asked("last.pt")
    except autosign.SigningError as failed:
        print(failed)
"""
    said = run_script(script, MODE="offline").stdout
    assert said.count("it is hashed, and a flush is to sign it\nhint: it stays in the spool") == 2
