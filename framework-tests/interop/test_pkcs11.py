"""PKCS#11, with SoftHSM2 as the token: one URI works for ours and for upstream 1.1.1.

Each verifies what the other signs.
"""

from __future__ import annotations

import _ctypes
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "core/signing/tests/keys"
SOFTHSM = ROOT / "build/softhsm"
MODULE = SOFTHSM / "libsofthsm2.so"
PIN = "73550608"

SIDES = pytest.mark.parametrize(("signer", "verifier"), [("ours", "upstream"), ("upstream", "ours"), ("ours", "ours")])


class Token:
    """A token called `Models`, the model to sign with it, and the commands."""

    def __init__(self, sides: Any, folder: Path, certificates: Path) -> None:
        self.sides, self.certificates = sides, certificates
        self.folder = folder
        self.pin_file = folder / "pin"
        self.pin_file.write_text(PIN)
        (folder / "tokens").mkdir()
        configuration = folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
        self.environment = os.environ | {"SOFTHSM2_CONF": str(configuration)}
        self.slot, self.serial = self.add_token("Models")
        for number, curve in (("01", "p256"), ("02", "p384"), ("03", "p521")):
            self.import_key(KEYS / f"{curve}.pem", curve, number)

    def add_token(self, label: str) -> tuple[str, str]:
        words = ["--init-token", "--free", "--label", label, "--so-pin", "sopin", "--pin", PIN]
        slot = re.search(r"slot (\d+)", self._softhsm(*words))
        assert slot
        found = re.search(rf"Slot {slot[1]}\n.*?Serial number: +(\w+)", self._softhsm("--show-slots"), re.DOTALL)
        assert found
        return slot[1], found[1]

    def import_key(self, file: Path, label: str, number: str, *words: str) -> None:
        # It takes PKCS#8 only.
        pkcs8 = self.folder / "import.pem"
        command = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(file), "-out", str(pkcs8)]
        subprocess.run(command, check=True)
        name = ["--label", label, "--id", number, "--slot", self.slot, "--pin", PIN]
        self._softhsm("--import", str(pkcs8), *name, *words)

    def put(self, *what: str) -> None:
        command = [Path(__file__).with_name("tokens.py"), MODULE, "Models", PIN, *what]
        result = self.sides.upstream.python(*command, environment=self.environment)
        assert result.returncode == 0, result.stderr

    def uri(self, path: str, query: str = f"pin-value={PIN}") -> str:
        return f"pkcs11:{path}?module-path={MODULE}&{query}"

    def sign(self, side: str, uri: str, *options: str, method: str = "pkcs11-key", code: int = 0) -> str:
        return self._run(side, ["sign", method, "--pkcs11_uri", uri, *options], code)

    def sign_certificate(self, side: str, uri: str, leaf: str, *chain: str, code: int = 0) -> str:
        options = ["--signing_certificate", self.file(leaf)]
        options += [word for name in chain for word in ("--certificate_chain", self.file(name))]
        return self.sign(side, uri, *options, method="pkcs11-certificate", code=code)

    def verify(self, side: str, key: str | Path, code: int = 0) -> str:
        file = key if isinstance(key, Path) else KEYS / f"{key}.pub.pem"
        return self._run(side, ["verify", "key", "--public_key", str(file)], code)

    def verify_certificate(self, side: str, root: str, code: int = 0) -> str:
        return self._run(side, ["verify", "certificate", "--certificate_chain", self.file(root)], code)

    def refuse(self, uri: str, *options: str, method: str = "pkcs11-key") -> str:
        text = self.sign("ours", uri, *options, method=method, code=1)
        assert PIN not in text
        assert not self.signature.exists()
        assert len(text.splitlines()) == 1, text
        return text

    def file(self, name: str) -> str:
        return str(self.certificates / f"{name}.pem")

    @property
    def signature(self) -> Path:
        return self.folder / "sig"

    @property
    def material(self) -> dict[str, Any]:
        material: dict[str, Any] = json.loads(self.signature.read_text())["verificationMaterial"]
        return material

    def _run(self, side: str, command: list[str], code: int) -> str:
        model = self.folder / "model"
        model.mkdir(exist_ok=True)
        (model / "a.bin").write_bytes(b"weights")
        command = [*command, "--signature", str(self.signature), str(model)]
        said: str = self.sides.run(side, *command, code=code, environment=self.environment)
        return said

    def _softhsm(self, *words: str) -> str:
        command = [SOFTHSM / "softhsm2-util", "--module", MODULE, *words]
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout


@pytest.fixture
def token(sides: Any, tmp_path: Path, certificates: Path) -> Token:
    for needed in ("softhsm2-util", "libsofthsm2.so"):
        assert (SOFTHSM / needed).exists(), "SoftHSM2 is not there: `make build/softhsm/.installed` gets it"
    return Token(sides, tmp_path, certificates)


@SIDES
@pytest.mark.parametrize("curve", ["p256", "p384", "p521"])
def test_every_curve(token: Token, signer: str, verifier: str, curve: str) -> None:
    assert "Signing succeeded" in token.sign(signer, token.uri(f"token=Models;object={curve}"))
    assert "Verification succeeded" in token.verify(verifier, curve)
    token.verify(verifier, "p256" if curve != "p256" else "p384", code=1)
    (token.folder / "model/b.bin").write_bytes(b"other")
    assert "b.bin" in token.verify(verifier, curve, code=1)


def test_the_two_say_the_same(token: Token) -> None:
    token.sign("ours", token.uri("token=Models;object=p384"))
    ours = token.material
    token.sign("upstream", token.uri("token=Models;object=p384"))
    assert token.material["publicKey"] == ours["publicKey"]


@pytest.mark.parametrize("side", ["ours", "upstream"])
def test_one_uri_for_both(token: Token, side: str) -> None:
    pin = f"pin-source=file:{token.pin_file}"
    for path, query in (
        ("token=Models;id=%02", pin),
        (f"slot-id={token.slot};object=p384;id=%02;type=private", pin),
        ("token=%4dodels;object=p384;x-of=somebody", f"pin-source={token.pin_file}&x-of=somebody"),
    ):
        token.sign(side, token.uri(path, query))
        token.verify("ours", "p384")
    by_name = f"pkcs11:token=Models;object=p384?module-path={SOFTHSM}&module-name=SoftHSM2&{pin}"
    if side == "upstream":
        # It takes any file with that name before a dot, the first that the folder lists.
        by_name = by_name.replace("SoftHSM2", "libsofthsm2")
    token.sign(side, by_name)
    token.verify("ours", "p384")


def test_what_only_ours_understands(token: Token) -> None:
    token.add_token("Others")
    token.pin_file.write_text(f"{PIN}\n")
    pin = f"pin-source=file:{token.pin_file}"
    by_library = "library-manufacturer=SoftHSM;library-description=Implementation%20of%20PKCS11;library-version=2.6"
    for path in (f"serial={token.serial};object=p521", f"model=SoftHSM%20v2;{by_library};token=Models;id=%03"):
        token.sign("ours", token.uri(path, pin))
        token.verify("upstream", "p521")


@pytest.mark.parametrize("verifier", ["ours", "upstream"])
@pytest.mark.parametrize("leaf", ["leaf1", "p384", "p521"])
def test_certificates(token: Token, verifier: str, leaf: str) -> None:
    token.import_key(Path(token.file(f"{leaf}.key")), "certified", "0a0b")
    chain = ["one"] if leaf == "leaf1" else ["root"]
    uri = token.uri("token=Models;id=%0a%0B")
    assert "Signing succeeded" in token.sign_certificate("ours", uri, leaf, *chain)
    assert len(token.material["x509CertificateChain"]["certificates"]) == 2
    assert "Verification succeeded" in token.verify_certificate(verifier, "root")
    token.verify_certificate(verifier, "other", code=1)


def test_upstream_cannot_sign_with_a_certificate(token: Token) -> None:
    """Its own library refuses what it makes. Where that is no longer so, let `test_certificates` have it sign."""
    token.import_key(Path(token.file("leaf0.key")), "certified", "0a")
    said = token.sign_certificate("upstream", token.uri("token=Models;id=%0a"), "leaf0", "root", code=1)
    assert "validation error" in said


def test_the_certificate_has_the_public_key(token: Token) -> None:
    token.import_key(Path(token.file("leaf0.key")), "half", "0a", "--no-public-key")
    uri = token.uri("token=Models;id=%0a")
    assert "has no public key, and no certificate" in token.refuse(uri)

    token.sign_certificate("ours", uri, "leaf0", "root")
    token.verify_certificate("upstream", "root")
    token.signature.unlink()
    # Only the signature shows that this one is not the key's.
    text = token.sign_certificate("ours", uri, "leaf1", "one", code=1)
    assert "does not belong to the public key that was found for it" in text
    assert not token.signature.exists()

    token.put("certificate", "0a", token.file("leaf0"))
    token.sign("ours", uri)
    public = token.folder / "public.pem"
    subprocess.run(["openssl", "pkey", "-in", token.file("leaf0.key"), "-pubout", "-out", str(public)], check=True)
    token.verify("upstream", public)


def test_a_certificate_for_another_key_is_refused(token: Token) -> None:
    words = ["--signing-certificate", token.file("leaf0"), "--certificate-chain", token.file("root")]
    text = token.refuse(token.uri("token=Models;object=p256"), *words, method="pkcs11-certificate")
    assert "is for another key than the one to sign with" in text
    assert "leaf0.pem" in text


def test_a_public_key_of_another_pair_is_refused(token: Token) -> None:
    token.import_key(KEYS / "p256.pem", "half", "0a", "--no-public-key")
    token.put("certificate", "0a", token.file("leaf0"))
    text = token.refuse(token.uri("token=Models;id=%0a"))
    assert "does not belong to the public key that was found for it" in text


def test_what_is_not_one_key_on_one_token(token: Token) -> None:
    for path, expected in (
        ("token=Others;object=p256", 'no token is what the PKCS#11 URI says; there are ["Models"]'),
        ("token=Models;serial=0;object=p256", "no token is what the PKCS#11 URI says"),
        ("token=Models;library-version=2;object=p256", "no token is what the PKCS#11 URI says"),
        ("slot-id=1;object=p256", "no token is what the PKCS#11 URI says"),
        ("token=Models;object=absent", "the token has no such private key"),
        ("token=Models;object=p256;id=%02", "the token has no such private key"),
        ("token=Models", "the PKCS#11 URI names no key"),
    ):
        assert expected in token.refuse(token.uri(path))
    token.import_key(KEYS / "p384.pem", "p256", "0a")
    assert "the token has 2 such private keys" in token.refuse(token.uri("token=Models;object=p256"))
    token.add_token("Models")
    text = token.refuse(token.uri("token=Models;object=p521"))
    assert 'several tokens are what the PKCS#11 URI says; there are ["Models", "Models"]' in text


def test_keys_of_other_kinds(token: Token) -> None:
    token.import_key(KEYS / "rsa.pem", "rsa", "0a")
    token.put("always authenticates", "0c")
    not_supported = "the key is not an ECDSA key on P-256, P-384 or P-521"
    assert not_supported in token.refuse(token.uri("token=Models;object=rsa"))
    assert "wants the PIN again for every signature" in token.refuse(token.uri("token=Models;id=%0c"))


def test_pins(token: Token) -> None:
    path = "token=Models;object=p256"
    assert "the token wants a PIN, and the PKCS#11 URI has none" in token.refuse(token.uri(path, "x=y"))
    wrong = token.refuse(token.uri(path, f"pin-value={PIN}9"))
    assert "the token refuses the PIN: PinIncorrect" in wrong
    absent = token.refuse(token.uri(path, f"pin-source={token.folder / 'absent'}"))
    assert f'the file of the password cannot be read, "{token.folder}/…"' in absent
    twice = token.refuse(token.uri(path, f"pin-value={PIN}&pin-value={PIN}"))
    assert "the PKCS#11 URI has pin-value twice" in twice


def test_modules(token: Token) -> None:
    path = "pkcs11:token=Models;object=p256"
    for module in (_ctypes.__file__, token.folder / "absent.so", token.pin_file):
        assert f'the PKCS#11 module "{module}" cannot be loaded' in token.refuse(f"{path}?module-path={module}")
    missing = token.refuse(f"{path}?module-name=absent")
    assert 'no PKCS#11 module "absent" is in "/usr/lib64/pkcs11", "/usr/lib/pkcs11"' in missing


LIBRARY = """
    import importlib, sys
    from pathlib import Path

    package, uri, model, signature, *given = sys.argv[1:]
    config = importlib.import_module(f"{package}.signing").Config()
    if len(given) > 1:
        leaf, *chain = map(Path, given[1:])
        folders = [given[0]]
        config.use_pkcs11_certificate_signer(
            pkcs11_uri=uri, signing_certificate=leaf, certificate_chain=chain, module_paths=folders
        )
    else:
        config.use_pkcs11_signer(pkcs11_uri=uri, module_paths=given)
    config.sign(Path(model), Path(signature))
"""


@pytest.mark.parametrize(("side", "verifier"), [("ours", "upstream"), ("upstream", "ours")])
def test_the_library(token: Token, side: str, verifier: str) -> None:
    """One script with either library; the other's command verifies."""

    def sign(uri: str, *given: str, code: int = 0) -> str:
        model = token.folder / "model"
        model.mkdir(exist_ok=True)
        (model / "a.bin").write_bytes(b"weights")
        package = "model_signing_autosign" if side == "ours" else "model_signing"
        words = ["-c", textwrap.dedent(LIBRARY), package, uri, str(model), str(token.signature), *given]
        if side == "upstream":
            result = token.sides.upstream.python(*words, environment=token.environment)
        else:
            command = [sys.executable, *words]
            result = subprocess.run(command, env=token.environment, capture_output=True, text=True, check=False)
        assert result.returncode == code, result.stderr
        return str(result.stderr)

    sign(token.uri("token=Models;object=p384"))
    token.verify(verifier, "p384")
    by_name = f"pkcs11:token=Models;object=p256?module-name=softhsm2&pin-value={PIN}"
    sign(by_name, str(MODULE.parent))
    token.verify(verifier, "p256")
    ours = side == "ours"
    error = "errors.SigningError" if ours else "ValueError"
    assert error in sign(token.uri("token=Models;object=none"), code=1)
    if ours:  # upstream's own cannot be written: it leaves out a field that its model wants
        token.import_key(token.certificates / "leaf1.key.pem", "leaf", "0a")
        leaf = [token.file(name) for name in ("leaf1", "one")]
        sign(token.uri("token=Models;object=leaf"), str(MODULE.parent), *leaf)
        token.verify_certificate(verifier, "root")
