"""What all framework tests share: keys, settings, scripts run in their own process, and looking for signatures.

Tests of one folder run in one process and import at most that folder's framework; `contract` imports none and runs
the frameworks in processes of their own. The session of a process is opened once, so tests that need other settings
run a script.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from subprocess import CompletedProcess
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import CodeType, FrameType, ModuleType


HERE = Path(__file__).parent


class Keys(NamedTuple):
    private: Path
    public: Path


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    from model_signing_autosign import _core

    folder = tmp_path_factory.mktemp("keys")
    made = Keys(folder / "key.pem", folder / "key.pub.pem")
    assert _core.run(["model-signing", "keygen", str(folder / "key")]) == 0
    return made


@pytest.fixture(scope="session")
def settings(keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The whole environment of a process under test; no setting of the developer's own machine gets in."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_SIGNING_")}
    return outside | {
        "MODEL_SIGNING_PRIVATE_KEY": str(keys.private),
        "MODEL_SIGNING_MODE": "background",
        # Whatever this machine is, a cloud's or a cluster's, its own identity is not asked for.
        "MODEL_SIGNING_CREDENTIALS": "file,env,exec,http",
        "MODEL_SIGNING_ON_ERROR": "warn",  # with "raise" every save waits for its signature
        "MODEL_SIGNING_SPOOL": str(tmp_path_factory.mktemp("spool")),
        "MODEL_SIGNING_DRAIN_TIMEOUT": "30",
        "XDG_CONFIG_HOME": str(tmp_path_factory.mktemp("config")),
    }


@pytest.fixture(scope="session", autouse=True)
def environment(settings: dict[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(settings)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def autosign() -> Iterator[ModuleType]:
    """The package, enabled in this process."""
    import model_signing_autosign

    model_signing_autosign.enable()
    yield model_signing_autosign
    model_signing_autosign.disable()
    assert model_signing_autosign.flush(timeout=30).pending == 0


@pytest.fixture
def is_signed(keys: Keys) -> Callable[[Path], bool]:
    """Tell whether a finished checkpoint has a signature; one that does not verify fails the test."""
    import model_signing_autosign

    def is_signed(model: Path) -> bool:
        assert model_signing_autosign.flush(timeout=30).pending == 0
        if not signature_of(model).exists():
            return False
        assert model_signing_autosign.verify(model, public_key=keys.public)
        return True

    return is_signed


@pytest.fixture
def signatures(tmp_path: Path) -> Callable[[], list[str]]:
    """List all signatures under the test's folder, once everything pending is done."""
    import model_signing_autosign

    def signatures() -> list[str]:
        assert model_signing_autosign.flush(timeout=30).pending == 0
        return sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.sig"))

    return signatures


@pytest.fixture
def run_script(tmp_path: Path, settings: dict[str, str]) -> Callable[..., CompletedProcess[str]]:
    """Run a script in a process and spool of its own, in the test's folder; settings as keywords, None to unset."""

    def run_script(
        script: str,
        *arguments: str,
        timeout: float = 60,
        python: str | Path = sys.executable,
        **overrides: str | None,
    ) -> CompletedProcess[str]:
        # A file, because multiprocessing's spawn imports it again.
        file = tmp_path / "train.py"
        file.write_text(textwrap.dedent(script), encoding="utf-8")
        names = {f"MODEL_SIGNING_{name}": value for name, value in overrides.items()}
        merged = settings | {"MODEL_SIGNING_SPOOL": str(tmp_path / "spool")} | names
        command = [str(python), str(file), *arguments]
        with subprocess.Popen(
            command,
            cwd=tmp_path,
            env={name: value for name, value in merged.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                # Its children too: one that hangs keeps the pipes open.
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return CompletedProcess(command, process.returncode, out, err)

    return run_script


class Upstream:
    """The command line of upstream's PyPI package 1.1.1; see upstream.py."""

    def __init__(self) -> None:
        command = [HERE.parent / "build/upstream/bin/python", HERE / "upstream.py"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)

    def __call__(
        self, *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> CompletedProcess[str]:
        return self.python("-m", "model_signing", *arguments, cwd=cwd, environment=environment)

    def python(
        self, *arguments: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> CompletedProcess[str]:
        """Run its Python with these arguments."""
        words = list(map(str, arguments))
        call = {"arguments": words, "cwd": str(cwd or Path.cwd()), "environment": dict(environment or os.environ)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return CompletedProcess(words, told["code"], told["stdout"], told["stderr"])

    def end(self) -> None:
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # a call that hangs, too
            raise


@pytest.fixture(scope="session")
def upstream(environment: None) -> Iterator[Upstream]:
    started = Upstream()
    yield started
    started.end()


@pytest.fixture
def upstream_verifies(keys: Keys, upstream: Upstream) -> Callable[..., None]:
    """Have upstream verify a checkpoint; it knows a file, or a group of files, as a folder that holds more."""

    def upstream_verifies(model: Path, *options: str) -> None:
        folder = model
        if not model.is_dir():
            folder, options = model.parent, ("--ignore_unsigned_files", *options)
        signature = ["--signature", signature_of(model), "--public_key", keys.public]
        result = upstream("verify", "key", folder, *signature, *options)
        assert result.stdout.endswith("Verification succeeded\n"), result.stdout + result.stderr

    return upstream_verifies


@pytest.fixture(scope="session")
def rust_example() -> Callable[[str, str], str]:
    """Build an example in Rust, with these features of its crate; `make rust-trainers` does what takes minutes."""
    root = HERE.parent

    def rust_example(name: str, features: str) -> str:
        words = ["--package", "autosign-hooks", "--features", features, "--example", name, "--message-format", "json"]
        environment = os.environ | {"LIBTORCH": str(root / "build/rust/libtorch")}
        command = ["cargo", "build", "--quiet", *words]
        built = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        messages = [json.loads(line) for line in built.stdout.splitlines()]
        programs = [line["executable"] for line in messages if line.get("target", {}).get("name") == name]
        program: str = programs[-1]
        return program

    return rust_example


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write what trainers in Rust train on: 64 pixels from 0 to 16 and the digit that they show, a line each."""
    import numpy as np
    from sklearn.datasets import load_digits

    file = tmp_path_factory.mktemp("digits") / "digits.csv"
    found = load_digits()
    np.savetxt(file, np.column_stack([found.data, found.target]), fmt="%d", delimiter=",")
    return file


@pytest.fixture
def annotations_of() -> Callable[[Path], dict[str, Any]]:
    """Tell what the signature of a checkpoint says beside its files."""

    def annotations_of(model: Path) -> dict[str, Any]:
        bundle = json.loads(signature_of(model).read_text())
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
        said: dict[str, Any] = statement["subject"][0]["annotations"]["model-signing-autosign"]
        return said

    return annotations_of


def signature_of(model: Path) -> Path:
    if model.is_dir():
        return model / "model.sig"
    beside = model.with_name(f"{model.name}.sig")
    hidden = model.parent / ".signatures/files" / beside.name
    return hidden if hidden.exists() else beside


class InterruptAt:
    """Raises what Ctrl-C raises before one bytecode of some functions."""

    def __init__(self, moment: int, *codes: CodeType) -> None:
        self._moment = moment
        self._codes = codes
        self.raised = False

    def __call__(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code not in self._codes:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            self._moment -= 1
            if self._moment == 0:
                self.raised = True
                raise KeyboardInterrupt
        return self


@pytest.fixture
def at_each_moment() -> Callable[..., Iterator[int]]:
    """Interrupt as Ctrl-C does, which raises between two bytecodes, at each of them in turn."""

    def at_each_moment(act: Callable[[], object], *codes: CodeType) -> Iterator[int]:
        """Call ``act`` again and again, each time interrupted one bytecode of ``codes`` later, until it ends."""
        for moment in range(1, 5000):
            interrupt = InterruptAt(moment, *codes)
            sys.settrace(interrupt)
            try:
                act()
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            yield moment
            if not interrupt.raised:
                return

    return at_each_moment
