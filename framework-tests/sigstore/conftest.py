"""A Sigstore of its own for the tests of this folder, and running commands with nothing else in the environment."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent


class Stack:
    """A running Sigstore: where its files are, and tokens of its issuers."""

    def __init__(self, told: dict[str, str]) -> None:
        self.issuer = told["issuer"]
        self.token_file = Path(told["token_file"])
        self.trust_config = Path(told["trust_config"])  # Rekor v2
        self.trust_config_v1 = Path(told["trust_config_v1"])
        self.signing_config = Path(told["signing_config"])
        self.signing_config_v1 = Path(told["signing_config_v1"])
        self.trusted_root = Path(told["trusted_root"])
        self.cosign = told["cosign"]
        self.sigstore_go = told["sigstore_go"]

    def trust(self, kind: str) -> str:
        """Give the address of the first service of `kind`, such as `caUrls`."""
        url: str = json.loads(self.trust_config.read_text())["signingConfig"][kind][0]["url"]
        return url

    def provider(self, issuer: str) -> str:
        return f"{self.issuer}/{issuer}"

    def token(self, issuer: str, query: str = "", **claims: Any) -> str:
        address = f"{self.provider(issuer)}/token/mint{query}"
        request = urllib.request.Request(address, json.dumps(claims).encode(), method="POST")  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            token: str = answer.read().decode()
        return token.strip()


@contextmanager
def started() -> Iterator[Stack]:
    command = [sys.executable, str(HERE / "start.py"), "--peers"]
    # Leaving closes its standard input, which ends it, and waits.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, "the local Sigstore did not start"
        yield Stack(json.loads(told))


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    with started() as stack:
        yield stack


@pytest.fixture
def fresh_stack() -> Iterator[Stack]:
    """Another one, whose logs are empty."""
    with started() as stack:
        yield stack


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Run a command, expect its exit code, give all it says. Settings and tokens are those of the call, no others."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    kept |= {"HOME": str(home), "LC_ALL": "C.UTF-8"}

    def run(*command: str | Path, code: int = 0, cwd: Path = home, **settings: str | Path) -> str:
        environment = kept | {name: str(value) for name, value in settings.items()}
        words = [str(word) for word in command]
        ran = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == code, f"{ran.returncode}: {words}\n{ran.stdout}{ran.stderr}"
        return ran.stdout + ran.stderr

    return run


@pytest.fixture(scope="session")
def statement() -> Callable[[Path], bytes]:
    """Give what a bundle signs."""

    def statement(bundle: Path) -> bytes:
        return base64.b64decode(json.loads(bundle.read_text())["dsseEnvelope"]["payload"])

    return statement


@pytest.fixture
def model(tmp_path: Path) -> Path:
    files = {"weights.bin": b"weights", "a/b/c.bin": b"1", "größe 1/日本.bin": b"2", "empty": b"", ".hidden": b"3"}
    for name, content in files.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "model"
