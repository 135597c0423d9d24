"""Whatever one side signs, the other verifies: ours and upstream's PyPI package 1.1.1, which has its own environment.

The one difference is a model that is a single file (OMS v1.0 names it, upstream writes `.`).
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "core/signing/tests/keys"
OURS = [str(Path(sys.executable).with_name("model-signing"))]
UPSTREAM = [str(ROOT / "build/upstream/bin/python"), "-m", "model_signing"]

TREES: dict[str, dict[str, bytes]] = {
    "flat": {"a.bin": b"1", "b.bin": b"22"},
    "nested": {"a/b/c.bin": b"1", "a-b.bin": b"2", "a/z": b"3"},
    "unicode and spaces": {"größe 1.bin": b"1", "日本/x y": b"2"},
    "empty file": {"empty": b"", "full": b"1"},
    "dotfiles": {".hidden": b"1", "sub/.git/config": b"2"},
    "colons": {"a:0:1": b"1"},
}


def run(side: Sequence[str], *args: str | Path, code: int = 0) -> str:
    result = subprocess.run([*side, *map(str, args)], capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def sign(side: Sequence[str], model: Path, signature: Path, *args: str | Path, key: str = "p256.pem") -> None:
    run(side, "sign", "key", model, "--signature", signature, "--private_key", KEYS / key, *args)


def verify(
    side: Sequence[str], model: Path, signature: Path, *args: str | Path, curve: str = "p256", code: int = 0
) -> str:
    key = KEYS / f"{curve}.pub.pem"
    return run(side, "verify", "key", model, "--signature", signature, "--public_key", key, *args, code=code)


def make(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.mark.parametrize(
    ("signer", "verifier"), [(OURS, UPSTREAM), (UPSTREAM, OURS)], ids=["ours-upstream", "upstream-ours"]
)
class TestBothWays:
    @pytest.mark.parametrize("tree", TREES)
    def test_trees(self, tmp_path: Path, signer: list[str], verifier: list[str], tree: str) -> None:
        model, signature = make(tmp_path / "model", TREES[tree]), tmp_path / "sig"
        sign(signer, model, signature)
        assert "Verification succeeded" in verify(verifier, model, signature)

    @pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
    @pytest.mark.parametrize("form", ["pem", "sec1.pem"])
    def test_keys(self, tmp_path: Path, signer: list[str], verifier: list[str], curve: str, form: str) -> None:
        model, signature = make(tmp_path / "model", TREES["flat"]), tmp_path / "sig"
        sign(signer, model, signature, key=f"{curve}.{form}")
        verify(verifier, model, signature, curve=curve)
        other = "p384" if curve == "p256" else "p256"
        assert "failed" in verify(verifier, model, signature, curve=other, code=1)

    def test_signature_inside_and_git_outside(self, tmp_path: Path, signer: list[str], verifier: list[str]) -> None:
        model = make(tmp_path / "model", {"a": b"1", ".git/config": b"2", ".gitattributes": b"3"})
        sign(signer, model, model / "model.sig")
        verify(verifier, model, model / "model.sig")
        (model / ".git/config").write_bytes(b"another")
        verify(verifier, model, model / "model.sig")

    def test_ignored_paths(self, tmp_path: Path, signer: list[str], verifier: list[str]) -> None:
        model, signature = make(tmp_path / "model", {"a": b"1", "log/x": b"2"}), tmp_path / "sig"
        sign(signer, model, signature, "--ignore-paths", model / "log")
        verify(verifier, model, signature)
        (model / "log/x").write_bytes(b"3")
        verify(verifier, model, signature)

    def test_git_paths_signed_on_request(self, tmp_path: Path, signer: list[str], verifier: list[str]) -> None:
        model, signature = make(tmp_path / "model", {"a": b"1", ".gitignore": b"2"}), tmp_path / "sig"
        sign(signer, model, signature, "--no-ignore-git-paths")
        verify(verifier, model, signature, "--no-ignore-git-paths")
        (model / ".gitignore").write_bytes(b"changed")
        assert ".gitignore" in verify(verifier, model, signature, "--no-ignore-git-paths", code=1)

    def test_unsigned_files(self, tmp_path: Path, signer: list[str], verifier: list[str]) -> None:
        model, signature = make(tmp_path / "model", TREES["flat"]), tmp_path / "sig"
        sign(signer, model, signature)
        (model / "more").write_bytes(b"")
        assert "more" in verify(verifier, model, signature, code=1)
        verify(verifier, model, signature, "--ignore_unsigned_files")

    @pytest.mark.parametrize("what", ["changed", "removed", "renamed"])
    def test_tampering(self, tmp_path: Path, signer: list[str], verifier: list[str], what: str) -> None:
        model, signature = make(tmp_path / "model", TREES["flat"]), tmp_path / "sig"
        sign(signer, model, signature)
        if what == "changed":
            (model / "a.bin").write_bytes(b"2")
        elif what == "removed":
            (model / "a.bin").unlink()
        else:
            (model / "a.bin").rename(model / "c.bin")
        assert "a.bin" in verify(verifier, model, signature, code=1)


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_encrypted_key_of_ours(tmp_path: Path, curve: str) -> None:
    """One way only: upstream 1.1.1 fails on every encrypted key."""
    model, signature = make(tmp_path / "model", TREES["flat"]), tmp_path / "sig"
    sign(OURS, model, signature, "--password", "checkpoint", key=f"{curve}.encrypted.pem")
    verify(UPSTREAM, model, signature, curve=curve)


def test_single_file_of_upstream(tmp_path: Path) -> None:
    model, signature = tmp_path / "last.pt", tmp_path / "sig"
    model.write_bytes(b"weights")
    sign(UPSTREAM, model, signature)
    assert payload(signature)["predicate"]["resources"][0]["name"] == "."
    verify(OURS, model, signature)
    model.write_bytes(b"other")
    assert "last.pt" in verify(OURS, model, signature, code=1)
    (tmp_path / "folder").mkdir()
    shutil.copy(model, tmp_path / "folder")
    assert "single file" in verify(OURS, tmp_path / "folder", signature, code=1)


def test_single_file_of_ours(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    model, signature = folder / "last.pt", folder / "last.pt.sig"
    model.write_bytes(b"weights")
    sign(OURS, model, signature)
    assert payload(signature)["predicate"]["resources"][0]["name"] == "last.pt"
    # Upstream knows this form as a folder that holds the file.
    verify(UPSTREAM, folder, signature, "--ignore_unsigned_files")
    verify(UPSTREAM, model, signature, code=1)
    model.write_bytes(b"other")
    assert "last.pt" in verify(UPSTREAM, folder, signature, "--ignore_unsigned_files", code=1)


@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_single_file_in_upstream_s_words(tmp_path: Path, curve: str) -> None:
    model, signature = tmp_path / "last.pt", tmp_path / "sig"
    model.write_bytes(b"weights")
    sign(OURS, model, signature, "--compat", "model-signing-1", key=f"{curve}.pem")
    assert payload(signature)["predicate"]["resources"][0]["name"] == "."
    for side in (UPSTREAM, OURS):
        assert "Verification succeeded" in verify(side, model, signature, curve=curve)
    model.write_bytes(b"other")
    for side in (UPSTREAM, OURS):
        verify(side, model, signature, curve=curve, code=1)


@pytest.mark.parametrize("tree", TREES)
def test_folders_in_upstream_s_words(tmp_path: Path, tree: str) -> None:
    model, signature = make(tmp_path / "model", TREES[tree]), tmp_path / "sig"
    sign(OURS, model, signature, "--compat=model-signing-1")
    verify(UPSTREAM, model, signature)
    verify(OURS, model, signature)


def test_the_two_say_the_same(tmp_path: Path) -> None:
    """Same resources, types, hint and form of bundle; only the order of the files differs (OMS: by name)."""
    model = make(tmp_path / "model", TREES["nested"])
    for name, side in {"ours": OURS, "upstream": UPSTREAM}.items():
        sign(side, model, tmp_path / name)
    ours, upstream = payload(tmp_path / "ours"), payload(tmp_path / "upstream")
    by_name = {entry["name"]: entry for entry in upstream["predicate"]["resources"]}
    assert {entry["name"]: entry for entry in ours["predicate"]["resources"]} == by_name
    assert ours["_type"] == upstream["_type"]
    assert ours["predicateType"] == upstream["predicateType"]
    for key in ("method", "hash_type", "allow_symlinks"):
        assert ours["predicate"]["serialization"][key] == upstream["predicate"]["serialization"][key]
    bundles = [json.loads((tmp_path / name).read_text()) for name in ("ours", "upstream")]
    for bundle in bundles:
        del bundle["dsseEnvelope"]["payload"], bundle["dsseEnvelope"]["signatures"][0]["sig"]
    assert bundles[0] == bundles[1]


def payload(signature: Path) -> dict[str, Any]:
    bundle = json.loads(signature.read_text())
    statement: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return statement
