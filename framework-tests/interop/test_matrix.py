"""Whatever one library signs, ours or upstream 1.1.1, both verify: every key and certificate with every kind of model.

And what is tampered with both refuse, as they do what somebody else signed. Where the two part, `DIFFERENCES` says so.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = Path(__file__).parents[2] / "core/signing/tests/keys"
SIDES = ("ours", "upstream")
# What either says of a model that is not the one that was signed.
REFUSED = {"ours": "MismatchError: Signature mismatch: ", "upstream": "ValueError: Signature mismatch: "}

# The leaf, what the signature carries along, and what the verifier is given.
CHAINS: dict[str, tuple[str, list[str], list[str]]] = {
    "no intermediate": ("leaf0", ["root"], ["root"]),
    "one intermediate": ("leaf1", ["one"], ["root"]),
    "two intermediates": ("leaf2", ["two", "one"], ["root"]),
    "signed by itself": ("alone", ["alone"], ["alone"]),
}
SIGNERS = ["p256", "p384", "p521", *CHAINS]


def write(name: str, content: bytes = b"other") -> Callable[[Path], None]:
    def write(model: Path) -> None:
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(content)

    return write


def nothing(_model: Path) -> None:
    pass


class Model(NamedTuple):
    """What is signed, and what happens to it after that, where the two still verify it, and where they do not."""

    files: dict[str, bytes]
    tamper: Callable[[Path], None]
    meanwhile: Callable[[Path], None] = nothing
    file: str = ""  # the model is this one, and not the folder
    signature: str = "../model.sig"
    ignored: tuple[str, ...] = ()
    ignore_unsigned: bool = False


MODELS: dict[str, Model] = {
    "single file": Model({"last.pt": b"weights"}, write("last.pt", b"weightz"), file="last.pt"),
    "directory": Model({"a.bin": b"1", "b.bin": b"22"}, write("b.bin", b"23")),
    "nested": Model(
        {"a/b/c.bin": b"1", "a-b.bin": b"2", "a/z": b"3"}, lambda model: (model / "a/z").rename(model / "a/b/z")
    ),
    "unicode": Model({"größe.bin": b"1", "日本/モデル": b"2"}, lambda model: (model / "日本/モデル").unlink()),
    "spaces": Model({"a b.bin": b"1", "x /y z": b"2", " ": b"3"}, lambda model: (model / " ").unlink()),
    "colons": Model({"a:0:1": b"1", "b": b"2"}, lambda model: (model / "a:0:1").rename(model / "a")),
    "empty file": Model({"empty": b"", "full": b"1"}, write("empty", b"\0")),
    "nothing but an empty file": Model({"empty": b""}, write("another", b"")),
    "dotfiles": Model({".hidden": b"1", "sub/.git/config": b"2", "sub/.gitignore": b"3"}, write("sub/.git/config")),
    "git's own": Model({"a": b"1", ".git/x": b"2", ".gitignore": b"3"}, write("a"), meanwhile=write(".git/x")),
    "ignored paths": Model(
        {"a": b"1", "logs/x": b"2", "sub/logs/x": b"3"},
        write("sub/logs/x"),
        meanwhile=write("logs/y"),
        ignored=("logs", "not there"),
    ),
    "signature inside": Model({"a": b"1", "sub/b": b"2"}, write("sub/model.sig"), signature="model.sig"),
    "signature in a folder inside": Model({"a": b"1", ".x/b": b"2"}, write(".x/c"), signature=".x/model.sig"),
    "unsigned files ignored": Model(
        {"a": b"1", "sub/b": b"2"}, write("sub/b"), meanwhile=write("sub/more"), ignore_unsigned=True
    ),
}

# Who signs, who verifies, and what: why it is refused, and is right to be.
DIFFERENCES: dict[tuple[str, str, str], str] = {
    ("ours", "upstream", "single file"): "OMS v1.0 calls it by its own name; upstream writes, and wants, `.`",
}


@pytest.fixture(scope="module")
def who(certificates: Path) -> Callable[[str, str], tuple[str, dict[str, Any]]]:
    """A method and its arguments, by the name of the signer."""

    def files(names: list[str]) -> list[str]:
        return [str(certificates / f"{name}.pem") for name in names]

    def who(signer: str, task: str) -> tuple[str, dict[str, Any]]:
        if signer not in CHAINS:
            given = {"private_key": f"{signer}.pem"} if task == "sign" else {"public_key": f"{signer}.pub.pem"}
            return "elliptic_key", {name: str(KEYS / file) for name, file in given.items()}
        leaf, brought, given_roots = CHAINS[signer]
        if task == "verify":
            return "certificate", {"certificate_chain": files(given_roots)}
        key, certificate = files([f"{leaf}.key", leaf])
        own = {"private_key": key, "signing_certificate": certificate}
        return "certificate", own | {"certificate_chain": files(brought)}

    return who


class Cell:
    """One kind of model in two copies, each signed by one side."""

    def __init__(self, folder: Path, sides: Any, who: Callable[[str, str], Any], name: str) -> None:
        self.model, self._sides, self._who = MODELS[name], sides, who
        self.folders = {side: folder / side / "model" for side in SIDES}
        for root in self.folders.values():
            for file, content in self.model.files.items():
                (root / file).parent.mkdir(parents=True, exist_ok=True)
                (root / file).write_bytes(content)

    def sign(self, signer: str) -> None:
        for side in SIDES:
            assert self._perform("sign", side, side, signer, ignored=self.model.ignored) == "good"

    def verify(self, signer: str) -> dict[tuple[str, str], str]:
        """What became of it, by who signed and who verified."""
        how = {"ignore_unsigned": self.model.ignore_unsigned}
        return {(by, side): self._perform("verify", side, by, signer, **how) for by in SIDES for side in SIDES}

    def each(self, change: Callable[[Path], Any]) -> None:
        for root in self.folders.values():
            change(root)

    def signature(self, side: str) -> Path:
        return self.folders[side] / self.model.signature

    def _perform(self, task: str, side: str, by: str, signer: str, **how: Any) -> str:
        model, signature = self.folders[by] / self.model.file, self.signature(by)
        outcome: str = self._sides.perform(side, task, model, signature, who=self._who(signer, task), **how)
        return outcome


@pytest.fixture
def cell(tmp_path: Path, sides: Any, who: Any) -> Callable[[str], Cell]:
    return lambda name: Cell(tmp_path, sides, who, name)


@pytest.mark.parametrize("signer", SIGNERS)
@pytest.mark.parametrize("name", MODELS)
def test_all_agree(cell: Callable[[str], Cell], name: str, signer: str) -> None:
    made = cell(name)
    made.sign(signer)
    made.each(made.model.meanwhile)
    for (by, side), outcome in made.verify(signer).items():
        if (by, side, name) in DIFFERENCES:
            assert outcome.startswith(REFUSED[side]), (by, side, DIFFERENCES[by, side, name])
        else:
            assert outcome == "good", (by, side)
    made.each(made.model.tamper)
    for (by, side), outcome in made.verify(signer).items():
        assert outcome.startswith(REFUSED[side]), (by, side)


@pytest.mark.parametrize("signer", SIGNERS)
def test_another_signer_is_not_believed(cell: Callable[[str], Cell], signer: str) -> None:
    made = cell("directory")
    made.sign(signer)
    others = {"p256": "p384", "p384": "p521", "p521": "p256"}
    other = others.get(signer, "one intermediate" if signer == "signed by itself" else "signed by itself")
    for outcome in made.verify(other).values():
        assert outcome != "good"
        assert "Signature mismatch" not in outcome


@pytest.mark.parametrize("signer", SIGNERS)
def test_the_two_write_the_same(cell: Callable[[str], Cell], signer: str) -> None:
    made = cell("ignored paths")
    made.sign(signer)
    bundles, statements = [], []
    for side in SIDES:
        bundle = json.loads(made.signature(side).read_text())
        statement = json.loads(base64.b64decode(bundle["dsseEnvelope"].pop("payload")))
        del bundle["dsseEnvelope"]["signatures"][0]["sig"]
        if signer == "signed by itself":
            # Ours leaves it out where it is its own chain.
            chain = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
            assert len(chain) == (1 if side == "ours" else 2)
            del chain[1:]
        statement["predicate"]["serialization"]["ignore_paths"].sort()
        bundles.append(bundle)
        statements.append(statement)
    assert bundles[0] == bundles[1]
    assert statements[0] == statements[1]
