"""Trust over TUF: repositories by the reference implementation, on loopback, and the instance of the local Sigstore."""

from __future__ import annotations

import json
import shutil
import socket
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
OURS = Path(sys.executable).with_name("model-signing")
PYTHON = HERE.parents[1] / "build/upstream/bin/python"
TRAINER = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer"
TRAIN = """
import model_signing.autosign
import torch

torch.save({"weights": torch.ones(3)}, "last.pt")
print("trained")
"""


@pytest.fixture(scope="session")
def repositories(tmp_path_factory: pytest.TempPathFactory, run: Callable[..., str], stack: Any) -> Path:
    folder = tmp_path_factory.mktemp("repositories")
    files = [stack.trusted_root, stack.signing_config, stack.signing_config_v1]
    run(PYTHON, HERE / "repository.py", folder, *files)
    return folder


class Instance:
    """An instance of which this machine may know: its TUF repository, which can become another, and our commands."""

    def __init__(self, folder: Path, repositories: Path, run: Callable[..., str], stack: Any) -> None:
        self.served, self.home, self.repositories = folder / "served", folder / "home", repositories
        self.ran, self.stack, self.folder = run, stack, folder
        self.asked: list[str] = []
        handler = partial(Handler, self.asked, directory=str(self.served))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.becomes("first")

    def becomes(self, name: str) -> None:
        shutil.rmtree(self.served, ignore_errors=True)
        shutil.copytree(self.repositories / name, self.served)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def run(self, *command: str | Path, code: int = 0, **settings: str | Path) -> str:
        settings = {"MODEL_SIGNING_INSTANCE": self.url, "XDG_DATA_HOME": self.home} | settings
        return self.ran(*command, code=code, cwd=self.folder, **settings)

    def trust(self, *words: str | Path, code: int = 0) -> str:
        return self.run(OURS, "trust", *words, code=code)

    def add(self, code: int = 0, root: str = "first") -> str:
        return self.trust("add", self.url, self.repositories / root / "root.json", code=code)

    @property
    def kept(self) -> Path:
        """The file that holds what is known."""
        (path,) = (self.home / "model-signing/trust").iterdir()
        return path

    def make_old(self) -> None:
        """Let the last refresh have been long ago."""
        kept = json.loads(self.kept.read_text())
        self.kept.write_text(json.dumps(kept | {"as_of": "2026-01-01T00:00:00Z"}))


class Handler(SimpleHTTPRequestHandler):
    def __init__(self, asked: list[str], *args: Any, **options: Any) -> None:
        self.asked = asked
        super().__init__(*args, **options)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def instance(tmp_path: Path, repositories: Path, run: Callable[..., str], stack: Any) -> Iterator[Instance]:
    instance = Instance(tmp_path, repositories, run, stack)
    yield instance
    instance.close()


def test_an_instance_is_trusted_once_and_then_by_its_address(instance: Instance, model: Path, stack: Any) -> None:
    signature = model.with_name("model.sig")
    sign = [OURS, "sign", model, "--signature", signature, "--identity-token-file", stack.token_file]
    verify = [OURS, "verify", model, "--signature", signature, "--identity", TRAINER]
    verify += ["--identity-provider", stack.provider("kubernetes")]

    assert "trust add URL root.json" in instance.run(*sign, code=1)
    assert instance.asked == []
    assert stack.issuer.split(":")[1] in instance.add()
    instance.run(*sign)
    asked = len(instance.asked)
    assert "Verification succeeded" in instance.run(*verify)
    assert len(instance.asked) == asked, "fresh trust is not fetched again"
    assert "--trust-config" not in verify
    instance.run(*verify, "--trust-config", stack.trust_config)
    instance.run(*verify, "--instance", instance.url, MODEL_SIGNING_INSTANCE="production")
    instance.run(*verify, "--instance", "staging", "--offline", code=1)
    assert "as of 20" in instance.trust("show")

    instance.close()  # no network from here on
    instance.make_old()
    said = instance.run(*verify)
    assert "Trust is not up to date" in said
    assert "Verification succeeded" in said
    assert "not up to date" not in instance.run(*verify, "--offline")


def test_trust_follows_its_instance(instance: Instance) -> None:
    def logs() -> str:
        return instance.trust("show").split("log")[1].split()[0]

    instance.add()
    before = logs()
    instance.becomes("second")
    assert logs() == before, "nothing is fetched to show what is known"
    instance.trust("refresh")
    after = logs()
    assert after != before
    instance.close()
    assert logs() == after
    exported = instance.home / "exported"
    instance.trust("export", exported)
    assert json.loads((exported / "trusted_root.json").read_text()) == json.loads(
        instance.stack.trusted_root.read_text()
    )


@pytest.mark.parametrize(
    ("becomes", "reason"),
    [
        ("expired", "expired"),
        ("altered", "signing_config"),
        ("unsigned", "threshold"),
        ("stranger", "threshold"),
        (None, "not found"),
    ],
)
def test_what_does_not_follow_from_the_root_is_refused(instance: Instance, becomes: str | None, reason: str) -> None:
    instance.add()
    known = instance.trust("show")
    if becomes:
        instance.becomes(becomes)
    else:
        shutil.rmtree(instance.served)
    said = instance.trust("refresh", code=1)
    assert reason in said
    assert instance.trust("show") == known


def test_an_instance_does_not_go_back(instance: Instance) -> None:
    instance.becomes("second")
    instance.add()
    known = instance.trust("show")
    newer_root = (instance.served / "2.root.json").read_bytes()
    instance.becomes("first")
    instance.trust("refresh", code=1)  # the old timestamp is not by the keys of the root that is known, or older
    (instance.served / "2.root.json").write_bytes(newer_root)
    assert "rollback" in instance.trust("refresh", code=1)
    assert instance.trust("show") == known


def test_nobody_is_trusted_by_a_wrong_root(instance: Instance) -> None:
    assert "threshold" in instance.add(code=1, root="stranger")
    assert "no root of the Sigstore instance" in instance.trust("show", code=1)
    root = instance.folder / "root.json"
    root.write_bytes((instance.repositories / "first/root.json").read_bytes())
    root.chmod(0o666)
    assert "written by other users" in instance.trust("add", instance.url, root, code=1)
    instance.add()


@pytest.mark.parametrize("name", ["targets/trusted_root.json", "timestamp.json", "snapshot.json", "targets.json"])
def test_what_is_kept_is_proven_anew(instance: Instance, model: Path, name: str) -> None:
    instance.add()
    kept = json.loads(instance.kept.read_text())
    kept["files"][name] = kept["files"][name].replace("2", "3")
    instance.kept.write_text(json.dumps(kept))
    verify = [OURS, "verify", model, "--signature", model, "--identity", "x", "--identity-provider", "y", "--offline"]
    assert "cannot be established" in instance.run(*verify, code=1)


def test_what_is_kept_is_this_user_s_alone(instance: Instance) -> None:
    instance.add()
    assert instance.kept.stat().st_mode & 0o777 == 0o600
    instance.kept.chmod(0o664)
    assert "written by other users" in instance.trust("show", code=1)


def test_trust_of_a_file_is_not_fetched(instance: Instance) -> None:
    said = instance.trust("refresh", "--trust-config", instance.stack.trust_config, code=1)
    assert "not fetched" in said
    assert instance.asked == []


def test_training_fetches_trust_in_the_background(instance: Instance, tmp_path: Path) -> None:
    instance.add()
    instance.make_old()
    instance.becomes("second")
    train = tmp_path / "train.py"
    wait = f'import time\nwhile "2026-01-01" in open({str(instance.kept)!r}).read(): time.sleep(0.1)\ntime.sleep(0.5)\n'
    train.write_text(TRAIN + wait + 'torch.save({"weights": torch.zeros(3)}, "next.pt")')
    settings = {"MODEL_SIGNING_IDENTITY_TOKEN_FILE": instance.stack.token_file}
    said = instance.run(sys.executable, train, **settings)
    assert said.count("signed") == 2, said
    assert "/2.snapshot.json" in instance.asked
    # The first by the log that was known, the second by the one that the instance names now.
    versions = [
        json.loads((tmp_path / name).read_text())["verificationMaterial"]["tlogEntries"][0]["kindVersion"]
        for name in ("last.pt.sig", "next.pt.sig")
    ]
    assert [version["version"] for version in versions] == ["0.0.2", "0.0.1"]


def test_no_save_waits_for_trust(instance: Instance, tmp_path: Path) -> None:
    instance.add()
    instance.make_old()
    instance.close()
    with socket.create_server(("127.0.0.1", int(instance.url.rsplit(":", 1)[1]))):  # takes connections, never answers
        train = tmp_path / "train.py"
        train.write_text(f"import time, torch; start = time.time()\n{TRAIN}\nassert time.time() - start < 15")
        settings = {"MODEL_SIGNING_IDENTITY_TOKEN_FILE": instance.stack.token_file}
        settings["MODEL_SIGNING_MODE"] = "inline"  # the save returns when its signature is there
        said = instance.run(sys.executable, train, **settings)
        assert "trained" in said
        assert said.count("signed") == 1, said
