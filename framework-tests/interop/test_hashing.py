"""Shards, BLAKE2b and BLAKE3: what upstream's PyPI package 1.1.1 makes of a model through its API, and what we do.

Its command line has files and SHA-256 alone. Its API, left to guess from a signature, knows neither `blake2b`, the name
that it writes, nor its shards; told how by the caller, it knows both. It compares the names of hashes, of which it has
its own for shards, so ours in shards are never equal to it.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

KEYS = Path(__file__).parents[2] / "core/signing/tests/keys"

# What upstream's API calls a hash, what the signature calls it.
HASHES = {"sha256": "sha256", "blake2": "blake2b", "blake3": "blake3"}
SHARDED = {"sha256": "sha256", "blake2": "blake2b"}  # upstream never cuts a file for BLAKE3

TREES: dict[str, dict[str, bytes]] = {
    "nested": {"a/b/c.bin": b"1", "a-b.bin": b"2", "a/z": b"3"},
    "unicode and spaces": {"größe 1.bin": b"1", "日本/x y": b"2"},
    "empty file": {"empty": b"", "full": b"1"},
    "many shards": {"full": b"12345678901"},
    "colons": {"a:0:1": b"1"},
}


def make(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def payload(signature: Path) -> dict[str, Any]:
    bundle = json.loads(signature.read_text())
    statement: dict[str, Any] = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    return statement


def perform(sides: Any, task: str, model: Path, signature: Path, /, **hashing: Any) -> str:
    """Upstream's library, which guesses how to hash where it is not told."""
    key = KEYS / ("p256.pem" if task == "sign" else "p256.pub.pem")
    who = "elliptic_key", {"private_key" if task == "sign" else "public_key": str(key)}
    outcome: str = sides.perform("upstream", task, model, signature, who=who, hashing=hashing or None)
    return outcome


def signed(sides: Any, model: Path, signature: Path, **hashing: Any) -> None:
    assert perform(sides, "sign", model, signature, **hashing) == "good"


def verified(sides: Any, model: Path, signature: Path, **hashing: Any) -> bool:
    return perform(sides, "verify", model, signature, **hashing) == "good"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make(tmp_path / "model", {"a.bin": bytes(range(256)) * 10, "sub/b.bin": b"22", "c": b"x" * 1000})


class TestUpstreamSigned:
    @pytest.mark.parametrize("name", HASHES)
    def test_files(self, sides: Any, tmp_path: Path, model: Path, name: str) -> None:
        signature = tmp_path / "sig"
        signed(sides, model, signature, method="file", hashing_algorithm=name)
        assert payload(signature)["predicate"]["serialization"]["hash_type"] == HASHES[name]
        sides.verify("ours", model, signature)
        (model / "c").write_bytes(b"y" * 1000)
        assert 'changed: "c"' in sides.verify("ours", model, signature, code=1)

    @pytest.mark.parametrize("size", [1, 100, 1000, 1_000_000_000])
    @pytest.mark.parametrize("name", SHARDED)
    def test_shards(self, sides: Any, tmp_path: Path, model: Path, name: str, size: int) -> None:
        signature = tmp_path / "sig"
        signed(sides, model, signature, method="shard", hashing_algorithm=name, shard_size=size)
        predicate = payload(signature)["predicate"]
        assert predicate["serialization"]["method"] == "shards"
        assert predicate["resources"][0]["algorithm"] == f"{SHARDED[name]}-sharded-{size}"
        sides.verify("ours", model, signature)
        (model / "c").write_bytes(b"x" * 999 + b"y")
        assert 'changed: "c"' in sides.verify("ours", model, signature, code=1)
        (model / "c").write_bytes(b"x" * 1001)
        assert 'changed: "c"' in sides.verify("ours", model, signature, code=1)

    @pytest.mark.parametrize("tree", TREES)
    def test_trees_in_shards(self, sides: Any, tmp_path: Path, tree: str) -> None:
        model, signature = make(tmp_path / "model", TREES[tree]), tmp_path / "sig"
        signed(sides, model, signature, method="shard", shard_size=1)
        said = sides.verify("ours", model, signature)
        assert ("Not covered" in said) is (tree == "empty file")

    @pytest.mark.parametrize("name", SHARDED)
    def test_its_own_api_knows_its_shards_when_told(self, sides: Any, tmp_path: Path, model: Path, name: str) -> None:
        signature, config = tmp_path / "sig", {"method": "shard", "hashing_algorithm": name, "shard_size": 1000}
        signed(sides, model, signature, **config)
        assert verified(sides, model, signature, **config)
        assert not verified(sides, model, signature)

    def test_a_single_file_in_shards(self, sides: Any, tmp_path: Path) -> None:
        model, signature = tmp_path / "last.pt", tmp_path / "sig"
        model.write_bytes(b"weights")
        signed(sides, model, signature, method="shard", shard_size=3)
        assert payload(signature)["predicate"]["resources"][0]["name"] == ".:0:3"
        sides.verify("ours", model, signature)
        model.write_bytes(b"weightz")
        assert "last.pt" in sides.verify("ours", model, signature, code=1)

    def test_a_linked_file(self, sides: Any, tmp_path: Path, model: Path) -> None:
        (model / "last").symlink_to("a.bin")
        signature = tmp_path / "sig"
        sides.sign("upstream", model, signature, "--allow_symlinks")
        sides.verify("ours", model, signature)
        assert "symbolic link" in sides.verify("ours", model, signature, "--allow-symlinks=false", code=1)
        (model / "last").unlink()
        (model / "last").symlink_to("c")
        assert 'changed: "last"' in sides.verify("ours", model, signature, code=1)

    def test_a_linked_folder(self, sides: Any, tmp_path: Path, model: Path) -> None:
        """Upstream does not sign what lies behind it, and so it is not signed."""
        (model / "linked").symlink_to("sub")
        signature = tmp_path / "sig"
        sides.sign("upstream", model, signature, "--allow_symlinks")
        sides.verify("upstream", model, signature, "--allow_symlinks")
        assert 'added: "linked/b.bin"' in sides.verify("ours", model, signature, code=1)


class TestOursSigned:
    @pytest.mark.parametrize("name", HASHES)
    def test_files(self, sides: Any, tmp_path: Path, model: Path, name: str) -> None:
        signature = tmp_path / "sig"
        sides.sign("ours", model, signature, "--hash-algorithm", HASHES[name])
        sides.verify("ours", model, signature)
        assert verified(sides, model, signature, method="file", hashing_algorithm=name)
        assert verified(sides, model, signature) is (name != "blake2")
        (model / "c").write_bytes(b"y" * 1000)
        assert not verified(sides, model, signature, method="file", hashing_algorithm=name)

    @pytest.mark.parametrize("name", SHARDED)
    def test_shards_in_its_own_words(self, sides: Any, tmp_path: Path, model: Path, name: str) -> None:
        signature = tmp_path / "sig"
        told: dict[str, Any] = {"method": "shard", "shard_size": 1000, "hashing_algorithm": name}
        options = ["--shard-size", "1000", "--hash-algorithm", HASHES[name], "--compat", "model-signing-1"]
        for what in (model, model / "a.bin"):
            sides.sign("ours", what, signature, *options)
            labels = {one["algorithm"] for one in payload(signature)["predicate"]["resources"]}
            assert labels == {f"{SHARDED[name]}-sharded-1000"}
            assert verified(sides, what, signature, **told)
            sides.verify("ours", what, signature)
        (model / "a.bin").write_bytes(bytes(2560))
        assert not verified(sides, model / "a.bin", signature, **told)

    def test_shards_are_equal_but_for_the_name_of_the_hash(self, sides: Any, tmp_path: Path, model: Path) -> None:
        sides.sign("ours", model, tmp_path / "ours", "--shard_size", "1000")
        signed(sides, model, tmp_path / "upstream", method="shard", shard_size=1000)
        ours, theirs = (payload(tmp_path / name)["predicate"] for name in ("ours", "upstream"))
        resources = [(one["name"], one["digest"]) for one in ours["resources"]]
        assert sorted(resources) == sorted((one["name"], one["digest"]) for one in theirs["resources"])
        assert {one["algorithm"] for one in ours["resources"]} == {"sha256"}
        assert ours["serialization"]["shard_size"] == theirs["serialization"]["shard_size"]
        assert not verified(sides, model, tmp_path / "ours", method="shard", shard_size=1000)

    def test_a_linked_file(self, sides: Any, tmp_path: Path, model: Path) -> None:
        (model / "last").symlink_to("a.bin")
        signature = tmp_path / "sig"
        sides.sign("ours", model, signature, "--allow_symlinks")
        sides.verify("upstream", model, signature, "--allow_symlinks")
        sides.verify("ours", model, signature)

    def test_a_snapshot_of_a_hugging_face_cache(self, sides: Any, tmp_path: Path) -> None:
        repository = make(tmp_path / "models--a--b", {"blobs/1": b"weights"})
        snapshot, signature = repository / "snapshots/0123", tmp_path / "sig"
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").symlink_to("../../blobs/1")
        sides.sign("ours", snapshot, signature, "--allow-symlinks=hf-cache")
        sides.verify("ours", snapshot, signature, "--allow-symlinks=hf-cache")
        sides.verify("upstream", snapshot, signature, "--allow_symlinks")
        copy = make(tmp_path / "copy", {"model.safetensors": b"weights"})
        sides.verify("upstream", copy, signature)
        sides.verify("ours", copy, signature)


class TestDigest:
    @pytest.mark.parametrize("name", HASHES)
    def test_of_files(self, sides: Any, tmp_path: Path, model: Path, name: str) -> None:
        ours = sides.run("ours", "digest", model, "--hash-algorithm", HASHES[name]).strip()
        assert ours == perform(sides, "hash", model, tmp_path / "sig", method="file", hashing_algorithm=name)

    @pytest.mark.parametrize("name", SHARDED)
    @pytest.mark.parametrize("workers", ["1", "3"])
    def test_of_shards(self, sides: Any, tmp_path: Path, model: Path, name: str, workers: str) -> None:
        options = ["--hash_algorithm", SHARDED[name], "--shard_size", "1000", "--max_workers", workers]
        ours = sides.run("ours", "digest", model, *options).strip()
        config = {"method": "shard", "hashing_algorithm": name, "shard_size": 1000}
        assert ours == perform(sides, "hash", model, tmp_path / "sig", **config)
