"""Method `certificate`: whatever ours or upstream 1.1.1 signs, the other verifies, with chains of every length.

Where the two part, ours is the stricter one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import model_signing_autosign as autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
OURS = [str(Path(sys.executable).with_name("model-signing"))]
UPSTREAM_PYTHON = str(ROOT / "build/upstream/bin/python")
UPSTREAM = [UPSTREAM_PYTHON, "-m", "model_signing"]

# The leaf, what the signature carries along, and what the verifier is given.
CHAINS: dict[str, tuple[str, list[str], list[str]]] = {
    "no intermediate": ("leaf0", ["root"], ["root"]),
    "one intermediate": ("leaf1", ["one"], ["root"]),
    "one intermediate and the root": ("leaf1", ["one", "root"], ["root"]),
    "two intermediates": ("leaf2", ["two", "one"], ["root"]),
    "two intermediates in another order": ("leaf2", ["one", "two"], ["root"]),
    "the verifier has the intermediates": ("leaf2", ["root"], ["root", "one", "two"]),
    "P-384": ("p384", ["root"], ["root"]),
    "P-521": ("p521", ["root"], ["root"]),
    "an RSA root": ("by rsa", ["rsa"], ["rsa"]),
    "a leaf that is an authority's": ("authority", ["one"], ["root"]),
    "signed by itself": ("alone", ["alone"], ["alone"]),
}
BOTH_WAYS = pytest.mark.parametrize(
    ("signer", "verifier"), [(OURS, UPSTREAM), (UPSTREAM, OURS)], ids=["ours-upstream", "upstream-ours"]
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run([UPSTREAM_PYTHON, Path(__file__).with_name("certificates.py"), folder], check=True)
    return folder


@pytest.fixture
def pki(certificates: Path, tmp_path: Path) -> Pki:
    return Pki(certificates, tmp_path)


class Pki:
    """A model, and the commands that sign and verify it."""

    def __init__(self, certificates: Path, folder: Path) -> None:
        self.certificates = certificates
        self.model, self.signature = folder / "model", folder / "sig"
        self.model.mkdir()
        (self.model / "a.bin").write_bytes(b"weights")

    def sign(self, side: Sequence[str], leaf: str, chain: list[str], *options: str, code: int = 0) -> str:
        own = ["--private_key", self.file(f"{leaf}.key"), "--signing_certificate", self.file(leaf)]
        return self._run([*side, "sign", "certificate", *own, *self._chain(chain), *options], code)

    def verify(self, side: Sequence[str], given: list[str], *options: str, code: int = 0) -> str:
        return self._run([*side, "verify", "certificate", *self._chain(given), *options], code)

    def file(self, name: str) -> str:
        return str(self.certificates / f"{name}.pem")

    def _chain(self, names: list[str]) -> list[str]:
        return [word for name in names for word in ("--certificate_chain", self.file(name))]

    def _run(self, command: list[str], code: int) -> str:
        command = [*command, "--signature", str(self.signature), str(self.model)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr


@BOTH_WAYS
@pytest.mark.parametrize("chain", CHAINS)
def test_chains(pki: Pki, signer: list[str], verifier: list[str], chain: str) -> None:
    leaf, brought, given = CHAINS[chain]
    pki.sign(signer, leaf, brought)
    assert "Verification succeeded" in pki.verify(verifier, given)
    assert "failed" in pki.verify(verifier, ["other"], code=1)
    (pki.model / "a.bin").write_bytes(b"other")
    assert "a.bin" in pki.verify(verifier, given, code=1)


def test_single_file_in_upstream_s_words(pki: Pki) -> None:
    pki.model = pki.model / "a.bin"
    pki.sign(OURS, "leaf1", ["one"], "--compat", "model-signing-1")
    for side in (UPSTREAM, OURS):
        assert "Verification succeeded" in pki.verify(side, ["root"])
    pki.model.write_bytes(b"other")
    for side in (UPSTREAM, OURS):
        pki.verify(side, ["root"], code=1)


def test_the_two_say_the_same(pki: Pki) -> None:
    bundles: list[dict[str, Any]] = []
    for side in (OURS, UPSTREAM):
        pki.sign(side, "leaf2", ["two", "one"])
        bundle = json.loads(pki.signature.read_text())
        del bundle["dsseEnvelope"]["payload"], bundle["dsseEnvelope"]["signatures"][0]["sig"]
        bundles.append(bundle)
    assert bundles[0] == bundles[1]
    assert len(bundles[0]["verificationMaterial"]["x509CertificateChain"]["certificates"]) == 3


def test_upstream_passes_over_a_timestamp(pki: Pki) -> None:
    pki.sign(OURS, "leaf0", ["root"])
    bundle = json.loads(pki.signature.read_text())
    stamps = {"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}]}
    bundle["verificationMaterial"]["timestampVerificationData"] = stamps
    pki.signature.write_text(json.dumps(bundle))
    pki.verify(UPSTREAM, ["root"])
    pki.verify(OURS, ["root"])


def test_the_same_fingerprints_are_logged(pki: Pki) -> None:
    pki.sign(OURS, "leaf1", ["one"])
    logged = [
        sorted(line for line in pki.verify(side, ["root"], "--log_fingerprints").splitlines() if "Fingerprint" in line)
        for side in (OURS, UPSTREAM)
    ]
    assert [line.split("sha256")[1] for line in logged[0]] == [line.split("sha256")[1] for line in logged[1]]
    assert len(logged[0]) == 3


def test_a_root_that_comes_with_the_signature_is_not_believed(pki: Pki) -> None:
    pki.sign(UPSTREAM, "leaf1", ["one", "root"])
    assert "neither a given root nor in the chain" in pki.verify(OURS, ["other"], code=1)
    # Upstream asks the web's authorities then.
    assert "--certificate-chain" in pki.verify(OURS, [], code=2)


def test_a_certificate_that_ended(pki: Pki) -> None:
    """Upstream asks nobody for the time."""
    pki.sign(UPSTREAM, "expired", ["root"])
    pki.verify(UPSTREAM, ["root"])
    assert "--legacy" in pki.verify(OURS, ["root"], code=1)
    pki.verify(OURS, ["root"], "--legacy")
    assert "ended" in pki.sign(OURS, "expired", ["root"], code=1)


def test_a_web_server_s_certificate(pki: Pki) -> None:
    """Upstream takes every key usage with digitalSignature."""
    pki.sign(UPSTREAM, "server", ["root"])
    pki.verify(UPSTREAM, ["root"])
    assert "not for signing code" in pki.verify(OURS, ["root"], code=1)
    assert "not for signing code" in pki.sign(OURS, "server", ["root"], code=1)


def test_who_signed_is_told_and_can_be_required(pki: Pki) -> None:
    pki.sign(UPSTREAM, "leaf1", ["one"])
    assert "Signed by alice@example.com (by CN=Root)" in pki.verify(OURS, ["root"])
    pki.verify(OURS, ["root"], "--certificate_identity", "alice@example.com")
    assert "alice@example.com" in pki.verify(OURS, ["root"], "--certificate_identity=bob@example.com", code=1)


def test_from_python(pki: Pki) -> None:
    own = {"private_key": pki.file("leaf1.key"), "signing_certificate": pki.file("leaf1")}
    autosign.sign(pki.model, **own, certificate_chain=[pki.file("one")], signature=pki.signature)
    pki.verify(UPSTREAM, ["root"])

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
