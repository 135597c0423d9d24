"""What we sign keyless every other Sigstore client verifies, and what upstream and cosign sign verifies with ours."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

BUILD = Path(__file__).parents[2] / "build"
OURS = Path(sys.executable).with_name("model-signing")
PYTHON = BUILD / "upstream/bin/python"  # has upstream's package and sigstore-python
NODE, VERIFY_JS = BUILD / "node/bin/node", BUILD / "node/js/verify.mjs"
PREDICATE = "https://model_signing/signature/v1.0"
ALICE, BOB = "alice@example.test", "bob@example.test"
VERIFIERS = ["ours", "upstream", "cosign", "sigstore-python", "sigstore-go", "sigstore-js"]

logs = pytest.mark.parametrize("log", ["rekor-v2", "rekor-v1"])


class Parties:
    """Signs one model with one stack in the name of Alice, and verifies it, each by whichever program is named."""

    def __init__(self, run: Callable[..., str], statement: Callable[[Path], bytes], stack: Any, model: Path) -> None:
        self.run, self.statement, self.stack, self.model = run, statement, stack, model
        self.provider = stack.provider("email")

    def sign(self, who: str, log: str = "rekor-v2") -> Path:
        stack, bundle = self.stack, self.model.with_name(f"{who}.sig")
        trust, config = self.files(log)
        token = stack.token("email")
        if who == "ours":
            given = ["--trust-config", trust, "--identity-token", token]
            self.run(OURS, "sign", self.model, "--signature", bundle, *given)
        elif who == "upstream":
            given = ["--trust_config", trust, "--identity_token", token]
            self.run(PYTHON, "-m", "model_signing", "sign", "sigstore", self.model, "--signature", bundle, *given)
        else:
            assert who == "cosign"
            # cosign knows no models: it signs the statement that we signed with a key.
            ours, text = self.model.with_name("key.sig"), self.model.with_name("statement.json")
            self.run(OURS, "keygen", self.model.with_name("key"))
            key = self.model.with_name("key.pem")
            self.run(OURS, "sign", "key", self.model, "--signature", ours, "--private-key", key)
            text.write_bytes(self.statement(ours))
            instance = ["--signing-config", config, "--trusted-root", stack.trusted_root]
            given = ["--statement", text, "--identity-token", token, "--bundle", bundle, "--yes"]
            self.run(stack.cosign, "attest-blob", *instance, *given)
        return bundle

    def verify(self, who: str, bundle: Path, log: str = "rekor-v2", identity: str = ALICE, code: int = 0) -> str:
        return self.run(*self.command(who, bundle, log, identity), code=code)

    def command(self, who: str, bundle: Path, log: str, identity: str) -> list[str | Path]:
        stack, provider = self.stack, self.provider
        trust, _ = self.files(log)
        digest = json.loads(self.statement(bundle))["subject"][0]["digest"]["sha256"]
        if who in {"ours", "upstream"}:
            start = [OURS] if who == "ours" else [PYTHON, "-m", "model_signing"]
            what = ["--signature", bundle, "--trust_config", trust]
            whom = ["--identity", identity, "--identity_provider", provider]
            return [*start, "verify", "sigstore", self.model, *what, *whom]
        if who == "cosign":
            what = ["--bundle", bundle, "--type", PREDICATE, "--digest", digest, "--digestAlg", "sha256"]
            whom = ["--certificate-identity", identity, "--certificate-oidc-issuer", provider]
            return [stack.cosign, "verify-blob-attestation", "--trusted-root", stack.trusted_root, *what, *whom]
        if who == "sigstore-python":
            start = [PYTHON, "-m", "sigstore", "--trust-config", trust, "verify", "identity"]
            whom = ["--cert-identity", identity, "--cert-oidc-issuer", provider]
            return [*start, "--bundle", bundle, *whom, f"sha256:{digest}"]
        if who == "sigstore-go":
            what = ["-artifact-digest", digest, "-artifact-digest-algorithm", "sha256"]
            whom = ["-expectedSAN", identity, "-expectedIssuer", provider]
            return [stack.sigstore_go, "-trustedrootJSONpath", stack.trusted_root, *what, *whom, bundle]
        assert who == "sigstore-js"
        return [NODE, VERIFY_JS, stack.trusted_root, bundle, identity, provider]

    def files(self, log: str) -> tuple[Path, Path]:
        if log == "rekor-v2":
            return self.stack.trust_config, self.stack.signing_config
        return self.stack.trust_config_v1, self.stack.signing_config_v1


@pytest.fixture
def parties(run: Callable[..., str], statement: Callable[[Path], bytes], stack: Any, model: Path) -> Parties:
    return Parties(run, statement, stack, model)


@pytest.fixture
def at_empty_logs(
    run: Callable[..., str], statement: Callable[[Path], bytes], fresh_stack: Any, model: Path
) -> Parties:
    return Parties(run, statement, fresh_stack, model)


def entry(bundle: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bundle.read_text())["verificationMaterial"]["tlogEntries"][0]
    return found


@logs
@pytest.mark.parametrize("verifier", VERIFIERS)
def test_ours_is_verified_by(parties: Parties, verifier: str, log: str) -> None:
    bundle = parties.sign("ours", log)
    parties.verify(verifier, bundle, log)
    # The identity is what is refused, not something else that fails anyway.
    assert ALICE in parties.verify(verifier, bundle, log, identity=BOB, code=1)


@logs
@pytest.mark.parametrize("signer", ["upstream", "cosign"])
def test_ours_verifies_what_is_signed_by(parties: Parties, signer: str, log: str) -> None:
    bundle = parties.sign(signer, log)
    assert "Verification succeeded" in parties.verify("ours", bundle, log)
    assert ALICE in parties.verify("ours", bundle, log, identity=BOB, code=1)
    (parties.model / "a/b/c.bin").write_bytes(b"2")
    assert "c.bin" in parties.verify("ours", bundle, log, code=1)


def test_a_username_is_read_as_by(parties: Parties, run: Callable[..., str], stack: Any) -> None:
    """Of issuers of type `username` Fulcio puts the name in a certificate's `otherName`."""
    bundle, given = parties.model.with_name("user.sig"), ["--trust-config", stack.trust_config]
    run(OURS, "sign", parties.model, "--signature", bundle, *given, "--identity-token", stack.token("username"))
    parties.provider, trainer = stack.provider("username"), "trainer!127.0.0.1"
    for verifier in ("ours", "cosign", "sigstore-go"):
        parties.verify(verifier, bundle, identity=trainer)
        assert trainer in parties.verify(verifier, bundle, identity="bob!127.0.0.1", code=1)
    assert trainer in run(OURS, "show", bundle)


@pytest.mark.parametrize("of", ["openssl", "ours"])
def test_the_command_of_the_guide_looks_at_a_file_by_its_digest(
    parties: Parties, run: Callable[..., str], stack: Any, tmp_path: Path, of: str
) -> None:
    page = (Path(__file__).parents[2] / "docs/guide/other-tools.md").read_text()
    script = re.findall(r"^```sh\n(digest=.*?)^```$", page, re.MULTILINE | re.DOTALL)[0]
    if of == "ours":
        script = script.replace(script.splitlines()[0], f"digest=$({OURS} digest last.pt); digest=${{digest#sha256:}}")
    (tmp_path / "last.pt").write_bytes(b"weights")
    parties.model = tmp_path / "last.pt"
    parties.sign("ours").rename(tmp_path / "last.pt.sig")
    (tmp_path / "cosign").symlink_to(stack.cosign)
    given = {"IDENTITY": ALICE, "ISSUER": parties.provider, "TRUST": f"--trusted-root {stack.trusted_root}"}
    given["PATH"] = f"{tmp_path}:/usr/bin:/bin"
    assert "Verified OK" in run("bash", "-ec", script, cwd=tmp_path, **given)
    (tmp_path / "last.pt").write_bytes(b"weighty")
    assert "digest" in run("bash", "-ec", script, cwd=tmp_path, code=1, **given)
    # What the page warns of.
    unread = script.replace("--digest ", "--check-claims=false --digest ")
    assert "Verified OK" in run("bash", "-ec", unread, cwd=tmp_path, **given)


@pytest.mark.parametrize("verifier", ["ours", "upstream"])
def test_a_changed_model_is_refused_by(parties: Parties, verifier: str) -> None:
    bundle = parties.sign("ours")
    (parties.model / "größe 1/日本.bin").write_bytes(b"3")
    assert "日本.bin" in parties.verify(verifier, bundle, code=1)


def test_the_first_entry_of_a_log_by_cosign(at_empty_logs: Parties) -> None:
    bundle = at_empty_logs.sign("cosign")
    assert "logIndex" not in entry(bundle)  # it is 0, which JSON of protobuf leaves out
    assert "logIndex" not in entry(bundle)["inclusionProof"]
    at_empty_logs.verify("upstream", bundle, code=1)
    at_empty_logs.verify("ours", bundle)


def test_the_first_entry_of_a_log_by_upstream(at_empty_logs: Parties) -> None:
    bundle = at_empty_logs.sign("upstream")
    assert entry(bundle)["logIndex"] == "0"
    at_empty_logs.verify("ours", bundle)


def test_the_first_entry_of_a_log_by_us(at_empty_logs: Parties) -> None:
    bundle = at_empty_logs.sign("ours")
    assert entry(bundle)["logIndex"] == entry(bundle)["inclusionProof"]["logIndex"] == "0"
    for verifier in VERIFIERS:
        at_empty_logs.verify(verifier, bundle)
