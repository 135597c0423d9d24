"""Whatever one side's command signs, the other's verifies: ours and upstream's PyPI package 1.1.1.

Every key with every kind of model is in test_matrix.py; here is what the commands alone can do, or can be told.
"""

from __future__ import annotations

import base64
import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

BOTH_WAYS = pytest.mark.parametrize(("signer", "verifier"), [("ours", "upstream"), ("upstream", "ours")])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    model = tmp_path / "model"
    model.mkdir()
    (model / "a.bin").write_bytes(b"1")
    (model / "b.bin").write_bytes(b"22")
    return model


@BOTH_WAYS
@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_keys_as_sec1(sides: Any, tmp_path: Path, model: Path, signer: str, verifier: str, curve: str) -> None:
    signature = tmp_path / "sig"
    sides.sign(signer, model, signature, key=f"{curve}.sec1.pem")
    assert "Verification succeeded" in sides.verify(verifier, model, signature, curve=curve)
    other = "p384" if curve == "p256" else "p256"
    assert "failed" in sides.verify(verifier, model, signature, curve=other, code=1)


@BOTH_WAYS
def test_git_paths_signed_on_request(sides: Any, tmp_path: Path, model: Path, signer: str, verifier: str) -> None:
    signature = tmp_path / "sig"
    (model / ".gitignore").write_bytes(b"2")
    sides.sign(signer, model, signature, "--no-ignore-git-paths")
    sides.verify(verifier, model, signature, "--no-ignore-git-paths")
    (model / ".gitignore").write_bytes(b"changed")
    assert ".gitignore" in sides.verify(verifier, model, signature, "--no-ignore-git-paths", code=1)


@BOTH_WAYS
def test_unsigned_files(sides: Any, tmp_path: Path, model: Path, signer: str, verifier: str) -> None:
    signature = tmp_path / "sig"
    sides.sign(signer, model, signature)
    (model / "more").write_bytes(b"")
    assert "more" in sides.verify(verifier, model, signature, code=1)
    sides.verify(verifier, model, signature, "--ignore_unsigned_files")


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_encrypted_key_of_ours(sides: Any, tmp_path: Path, model: Path, curve: str) -> None:
    """One way only: upstream 1.1.1 fails on every encrypted key."""
    signature, key = tmp_path / "sig", f"{curve}.encrypted.pem"
    sides.sign("ours", model, signature, "--password", "checkpoint", key=key)
    sides.verify("upstream", model, signature, curve=curve)


def test_single_file_of_upstream(sides: Any, tmp_path: Path) -> None:
    model, signature = tmp_path / "last.pt", tmp_path / "sig"
    model.write_bytes(b"weights")
    sides.sign("upstream", model, signature)
    assert first_name(signature) == "."
    sides.verify("ours", model, signature)
    model.write_bytes(b"other")
    assert "last.pt" in sides.verify("ours", model, signature, code=1)
    (tmp_path / "folder").mkdir()
    shutil.copy(model, tmp_path / "folder")
    assert "single file" in sides.verify("ours", tmp_path / "folder", signature, code=1)


def test_single_file_of_ours(sides: Any, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    model, signature = folder / "last.pt", folder / "last.pt.sig"
    model.write_bytes(b"weights")
    sides.sign("ours", model, signature)
    assert first_name(signature) == "last.pt"
    # Upstream knows this form as a folder that holds the file.
    sides.verify("upstream", folder, signature, "--ignore_unsigned_files")
    sides.verify("upstream", model, signature, code=1)
    model.write_bytes(b"other")
    assert "last.pt" in sides.verify("upstream", folder, signature, "--ignore_unsigned_files", code=1)


def test_upstream_s_words(sides: Any, tmp_path: Path, model: Path) -> None:
    signature = tmp_path / "sig"
    for what, name in {model / "a.bin": ".", model: "a.bin"}.items():
        sides.sign("ours", what, signature, "--compat", "model-signing-1")
        assert first_name(signature) == name
        for side in ("upstream", "ours"):
            sides.verify(side, what, signature)
    (model / "a.bin").write_bytes(b"2")
    sides.sign("ours", model / "a.bin", signature, "--compat=model-signing-1")
    (model / "a.bin").write_bytes(b"3")
    for side in ("upstream", "ours"):
        sides.verify(side, model / "a.bin", signature, code=1)


def first_name(signature: Path) -> str:
    bundle = json.loads(signature.read_text())
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    name: str = statement["predicate"]["resources"][0]["name"]
    return name
