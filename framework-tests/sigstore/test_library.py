"""The library with upstream's interface, keyless, and kagglehub's call of it."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign import errors, signing, verifying

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
# As kagglehub makes it where a model is uploaded.
KAGGLEHUB = """
    import sys
    from pathlib import Path

    def sign_with_sigstore(local_model_dir: str, token: str) -> None:
        from model_signing.signing import Config

        signing_file = Path(local_model_dir) / ".kaggle" / "signing.json"
        signing_file.parent.mkdir(exist_ok=True, parents=True)
        signing_file.unlink(missing_ok=True)
        Config().use_sigstore_signer(identity_token=token, use_staging=False).sign(
            Path(local_model_dir), signing_file
        )

    sign_with_sigstore(*sys.argv[1:])
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MODEL_SIGNING_IDENTITY_TOKEN_FILE", "SIGSTORE_ID_TOKEN", "SIGSTORE_IDENTITY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODEL_SIGNING_SPOOL", str(tmp_path / "spool"))


def verifier(stack: Any, identity: str = "alice@example.test") -> verifying.Config:
    return verifying.Config().use_sigstore_verifier(
        identity=identity, oidc_issuer=stack.provider("email"), trust_config=stack.trust_config
    )


def test_sign_and_verify(stack: Any, model: Path, tmp_path: Path) -> None:
    config = signing.Config().use_sigstore_signer(
        identity_token=stack.token("email"), trust_config=stack.trust_config, use_ambient_credentials=True
    )
    signatures = [tmp_path / "one.sig", tmp_path / "two.sig"]
    for signature in signatures:
        config.sign(model, signature)
        verifier(stack).verify(model, signature)
    certificates = {
        json.loads(signature.read_text())["verificationMaterial"]["certificate"]["rawBytes"] for signature in signatures
    }
    assert len(certificates) == 1, "one configuration asks for one certificate"
    with pytest.raises(ValueError, match="signed by alice"):
        verifier(stack, "bob@example.test").verify(model, signatures[0])
    (model / "weights.bin").write_bytes(b"weighty")
    with pytest.raises(errors.MismatchError, match=r"Hash mismatch for 'weights\.bin'"):
        verifier(stack).verify(model, signatures[0])


def test_the_default_signer_is_that_of_the_settings(
    stack: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_SIGNING_TRUST_CONFIG", str(stack.trust_config))
    with pytest.raises(ValueError, match="no identity token"):
        signing.sign(model, tmp_path / "sig")
    monkeypatch.setenv("MODEL_SIGNING_IDENTITY_TOKEN_FILE", str(stack.token_file))
    signing.sign(model, tmp_path / "sig")
    trainer = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer"
    config = verifying.Config().use_sigstore_verifier(identity=trainer, oidc_issuer=stack.provider("kubernetes"))
    config.verify(model, tmp_path / "sig")


def test_trust_in_the_model_is_not_believed(stack: Any, model: Path, tmp_path: Path) -> None:
    inside = model / "trust.json"
    inside.write_bytes(stack.trust_config.read_bytes())
    signer = signing.Config().use_sigstore_signer(identity_token=stack.token("email"), trust_config=inside)
    with pytest.raises(ValueError, match="lies in the model"):
        signer.sign(model, tmp_path / "sig")


def test_missing_files_are_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        verifying.Config().use_sigstore_verifier(identity="i", oidc_issuer="p", trust_config=tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        signing.Config().use_sigstore_signer(identity_token="t", trust_config=tmp_path / "nowhere")  # noqa: S106


def test_kagglehub(stack: Any, model: Path, run: Callable[..., str]) -> None:
    """With the names of model-signing-standalone, and twice: the signature of before is no part of the model."""
    import model_signing_autosign

    installed = Path(model_signing_autosign.__file__).parents[1]
    settings = {"MODEL_SIGNING_TRUST_CONFIG": stack.trust_config}
    settings["PYTHONPATH"] = f"{ROOT / 'bindings/standalone'}:{installed}"
    for _ in range(2):
        run(sys.executable, "-c", textwrap.dedent(KAGGLEHUB), model, stack.token("email"), **settings)
    signature = model / ".kaggle/signing.json"
    verifier(stack).verify(model, signature)
    script = """
        import sys
        from pathlib import Path
        from model_signing import verifying
        model, signature, trust = map(Path, sys.argv[1:4])
        verifying.Config().use_sigstore_verifier(
            identity="alice@example.test", oidc_issuer=sys.argv[4], trust_config=trust
        ).verify(model, signature)
    """
    command = [ROOT / "build/upstream/bin/python", "-c", textwrap.dedent(script), model, signature]
    subprocess.run([*command, stack.trust_config, stack.provider("email")], check=True)
