"""Method `certificate`: chains that test_matrix.py has not, and what the command lines do with certificates.

Where the two part, ours is the stricter one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import model_signing_autosign as autosign
import pytest

if TYPE_CHECKING:
    from pathlib import Path

# The leaf, what the signature carries along, and what the verifier is given.
CHAINS: dict[str, tuple[str, list[str], list[str]]] = {
    "one intermediate and the root": ("leaf1", ["one", "root"], ["root"]),
    "two intermediates in another order": ("leaf2", ["one", "two"], ["root"]),
    "the verifier has the intermediates": ("leaf2", ["root"], ["root", "one", "two"]),
    "P-384": ("p384", ["root"], ["root"]),
    "P-521": ("p521", ["root"], ["root"]),
    "an RSA root": ("by rsa", ["rsa"], ["rsa"]),
    "a leaf that is an authority's": ("authority", ["one"], ["root"]),
}


@pytest.fixture
def pki(sides: Any, certificates: Path, tmp_path: Path) -> Pki:
    return Pki(sides, certificates, tmp_path)


class Pki:
    """A model, and the commands that sign and verify it."""

    def __init__(self, sides: Any, certificates: Path, folder: Path) -> None:
        self.sides, self.certificates = sides, certificates
        self.model, self.signature = folder / "model", folder / "sig"
        self.model.mkdir()
        (self.model / "a.bin").write_bytes(b"weights")

    def sign(self, side: str, leaf: str, chain: list[str], *options: str, code: int = 0) -> str:
        own = ["--private_key", self.file(f"{leaf}.key"), "--signing_certificate", self.file(leaf)]
        return self._run(side, ["sign", "certificate", *own, *self._chain(chain), *options], code)

    def verify(self, side: str, given: list[str], *options: str, code: int = 0) -> str:
        return self._run(side, ["verify", "certificate", *self._chain(given), *options], code)

    def file(self, name: str) -> str:
        return str(self.certificates / f"{name}.pem")

    def _chain(self, names: list[str]) -> list[str]:
        return [word for name in names for word in ("--certificate_chain", self.file(name))]

    def _run(self, side: str, command: list[str], code: int) -> str:
        said: str = self.sides.run(side, *command, "--signature", self.signature, self.model, code=code)
        return said


@pytest.mark.parametrize(("signer", "verifier"), [("ours", "upstream"), ("upstream", "ours")])
@pytest.mark.parametrize("chain", CHAINS)
def test_chains(pki: Pki, signer: str, verifier: str, chain: str) -> None:
    leaf, brought, given = CHAINS[chain]
    pki.sign(signer, leaf, brought)
    assert "Verification succeeded" in pki.verify(verifier, given)
    assert "failed" in pki.verify(verifier, ["other"], code=1)


def test_single_file_in_upstream_s_words(pki: Pki) -> None:
    pki.model = pki.model / "a.bin"
    pki.sign("ours", "leaf1", ["one"], "--compat", "model-signing-1")
    for side in ("upstream", "ours"):
        assert "Verification succeeded" in pki.verify(side, ["root"])
    pki.model.write_bytes(b"other")
    for side in ("upstream", "ours"):
        pki.verify(side, ["root"], code=1)


def test_upstream_passes_over_a_timestamp(pki: Pki) -> None:
    pki.sign("ours", "leaf0", ["root"])
    bundle = json.loads(pki.signature.read_text())
    stamps = {"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}]}
    bundle["verificationMaterial"]["timestampVerificationData"] = stamps
    pki.signature.write_text(json.dumps(bundle))
    pki.verify("upstream", ["root"])
    pki.verify("ours", ["root"])


def test_the_same_fingerprints_are_logged(pki: Pki) -> None:
    pki.sign("ours", "leaf1", ["one"])
    logged = [
        sorted(line for line in pki.verify(side, ["root"], "--log_fingerprints").splitlines() if "Fingerprint" in line)
        for side in ("ours", "upstream")
    ]
    assert [line.split("sha256")[1] for line in logged[0]] == [line.split("sha256")[1] for line in logged[1]]
    assert len(logged[0]) == 3


def test_a_root_that_comes_with_the_signature_is_not_believed(pki: Pki) -> None:
    pki.sign("upstream", "leaf1", ["one", "root"])
    assert "neither a given root nor in the chain" in pki.verify("ours", ["other"], code=1)
    # Upstream asks the web's authorities then.
    assert "--certificate-chain" in pki.verify("ours", [], code=2)


def test_a_certificate_that_ended(pki: Pki) -> None:
    """Upstream asks nobody for the time."""
    pki.sign("upstream", "expired", ["root"])
    pki.verify("upstream", ["root"])
    assert "--legacy" in pki.verify("ours", ["root"], code=1)
    pki.verify("ours", ["root"], "--legacy")
    assert "ended" in pki.sign("ours", "expired", ["root"], code=1)


def test_a_web_server_s_certificate(pki: Pki) -> None:
    """Upstream takes every key usage with digitalSignature."""
    pki.sign("upstream", "server", ["root"])
    pki.verify("upstream", ["root"])
    assert "not for signing code" in pki.verify("ours", ["root"], code=1)
    assert "not for signing code" in pki.sign("ours", "server", ["root"], code=1)


def test_who_signed_is_told_and_can_be_required(pki: Pki) -> None:
    pki.sign("upstream", "leaf1", ["one"])
    assert "Signed by alice@example.com (by CN=Root)" in pki.verify("ours", ["root"])
    pki.verify("ours", ["root"], "--certificate_identity", "alice@example.com")
    assert "alice@example.com" in pki.verify("ours", ["root"], "--certificate_identity=bob@example.com", code=1)


def test_from_python(pki: Pki) -> None:
    own = {"private_key": pki.file("leaf1.key"), "signing_certificate": pki.file("leaf1")}
    autosign.sign(pki.model, **own, certificate_chain=[pki.file("one")], signature=pki.signature)
    pki.verify("upstream", ["root"])

    def verify(**given: Any) -> list[str]:
        return autosign.verify(pki.model, **given, signature=pki.signature)

    root = [pki.file("root")]
    assert verify(certificate_chain=root, certificate_identity="alice@example.com") == ["a.bin"]
    with pytest.raises(autosign.VerificationError, match=r"alice@example\.com"):
        verify(certificate_chain=root, certificate_identity="bob@example.com")
    with pytest.raises(autosign.VerificationError, match="neither a given root"):
        verify(certificate_chain=[pki.file("other")])
    for wrong in (
        {"certificate_identity": "alice@example.com"},
        {"certificate_chain": root, "public_key": root[0]},
        {"certificate_chain": root, "identity": "alice", "identity_provider": "https://issuer.example"},
        {"certificate_chain": root[0]},
    ):
        with pytest.raises(TypeError):
            verify(**wrong)
    with pytest.raises(TypeError):
        autosign.sign(pki.model, signing_certificate=pki.file("leaf1"))
    with pytest.raises(TypeError):
        autosign.sign(pki.model, private_key=pki.file("leaf1.key"), certificate_chain=[pki.file("one")])
    with pytest.raises(autosign.SigningError, match="for another key"):
        autosign.sign(pki.model, private_key=pki.file("one.key"), signing_certificate=pki.file("leaf1"))
