"""What is no regular file, or has no end, in each place from which a command reads: it ends soon all the same."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Keys

MAIN = "from model_signing_autosign._cli import main; main()"
SOON = 20  # seconds; each takes a tenth of one


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket is short
        try:
            bound.bind(path.name)
        finally:
            os.chdir(here)


def giant(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": listening,
    "folder": lambda path: path.mkdir(),
    "device": lambda path: os.mknod(path, 0o20666, os.makedev(1, 5)),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "link to itself": lambda path: path.symlink_to(path),
    "giant": giant,
}

KEY = "--private-key key.pem"
# A place, and a command that reads what is there; all of them with the spool in the same folder.
PLACES = {
    "model.sig": "verify key model.bin --public-key key.pub.pem --signature model.sig",
    "show.sig": "show show.sig",
    "over.sig": f"sign key model.bin {KEY} --signature over.sig",
    "public.pem": "verify key model.bin --public-key public.pem --signature good.sig",
    "private.pem": "sign key model.bin --private-key private.pem --signature x.sig",
    "leaf.pem": f"sign certificate model.bin {KEY} --signing-certificate leaf.pem --signature x.sig",
    "root.pem": "verify certificate model.bin --certificate-chain root.pem --signature good.sig",
    "stamps.pem": "verify key model.bin --public-key key.pub.pem --signature good.sig "
    "--timestamp-certificate-chain stamps.pem",
    "seen.json": "verify key model.bin --public-key key.pub.pem --signature good.sig --last-seen seen.json",
    "policy.toml": "verify policy model.bin --policy policy.toml --signature good.sig",
    "trust.json": "verify sigstore model.bin --identity a@b.example --identity-provider https://b.example "
    "--trust-config trust.json --signature good.sig",
    "token": "sign sigstore model.bin --signature x.sig --trust-config trust-config.json",
    "config.toml": "env",
    "spool/one-0.json": "status",
    "spool/one-1.json": "flush",
    "spool/one-0.stray": "flush",
    "spool/one.lock": "flush",
    "spool/runs/heads.json": "flush",
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_waited_for(place: str, tmp_path: Path, keys: Keys) -> None:
    (tmp_path / "spool/runs").mkdir(parents=True, mode=0o700)
    (tmp_path / "spool").chmod(0o700)
    (tmp_path / "model.bin").write_bytes(b"weights")
    shutil.copy(keys.private, tmp_path / "key.pem")
    shutil.copy(keys.public, tmp_path / "key.pub.pem")
    settings = {
        "MODEL_SIGNING_SPOOL": str(tmp_path / "spool"),
        "MODEL_SIGNING_RUN": "run",
        "MODEL_SIGNING_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
        "MODEL_SIGNING_CREDENTIALS": "file",
        "MODEL_SIGNING_CONFIG": str(tmp_path / "config.toml") if place == "config.toml" else "",
    }
    if not place.startswith("token"):
        settings |= {"MODEL_SIGNING_PRIVATE_KEY": str(keys.private), "MODEL_SIGNING_IDENTITY_TOKEN_FILE": ""}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_SIGNING_")}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", MAIN, *command.split()]
        variables = outside | settings
        return subprocess.run(
            words, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=SOON
        )

    (tmp_path / "config.toml").touch()
    assert run(f"sign key model.bin {KEY} --signature good.sig").returncode == 0
    (tmp_path / "config.toml").unlink()
    for kind, put in KINDS.items():
        put(tmp_path / place)
        result = run(PLACES[place])
        assert result.returncode in {0, 1, 2, 3}, (kind, result.stderr)
        assert "panicked" not in result.stderr, kind
        path = tmp_path / place
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
