"""`sign` and `verify` of the library, keyless."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign as autosign
import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("MODEL_SIGNING_IDENTITY_TOKEN_FILE", "SIGSTORE_ID_TOKEN", "SIGSTORE_IDENTITY_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MODEL_SIGNING_SPOOL", str(tmp_path / "spool"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    return path


def test_sign_and_verify(stack: Any, model: Path) -> None:
    signature = autosign.sign(model, identity_token=stack.token("email"), trust_config=stack.trust_config)
    assert signature == model.with_name("model.pt.sig")
    provider = stack.provider("email")

    def verify(identity: str, provider: str = provider) -> list[str]:
        trust = stack.trust_config
        return autosign.verify(model, identity=identity, identity_provider=provider, trust_config=trust)

    assert verify("alice@example.test") == verify("glob:*@example.test") == ["model.pt"]
    for identity, issuer in [("bob@example.test", provider), ("alice@example.test", stack.provider("gcp"))]:
        with pytest.raises(autosign.VerificationError, match="signed by alice"):
            verify(identity, issuer)
    with pytest.raises(autosign.VerificationError, match="no pattern"):
        verify("re:(")
    with pytest.raises(autosign.VerificationError):
        autosign.verify(model, identity="alice@example.test", identity_provider=provider)  # the public instance's root
    model.write_bytes(b"weighty")
    with pytest.raises(autosign.VerificationError, match="changed"):
        verify("alice@example.test")


def test_the_environment_names_token_and_instance(stack: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_SIGNING_TRUST_CONFIG", str(stack.trust_config))
    with pytest.raises(autosign.ConfigError, match="no identity token"):
        autosign.sign(model, trust_config=stack.trust_config)
    monkeypatch.setenv("MODEL_SIGNING_IDENTITY_TOKEN_FILE", str(stack.token_file))
    autosign.sign(model, trust_config=stack.trust_config)
    trainer = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer"
    assert autosign.verify(model, identity=trainer, identity_provider=stack.provider("kubernetes")) == ["model.pt"]


def test_public_instances_can_be_forbidden(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_SIGNING_PUBLIC_LOG", "deny")
    with pytest.raises(autosign.ConfigError, match="PUBLIC_LOG"):
        autosign.sign(model, identity_token="e30.e30.e30")  # noqa: S106 - no token


def test_one_way_to_sign_and_one_to_verify(model: Path) -> None:
    signing: list[dict[str, Any]] = [
        {"password": "p"},
        {"private_key": "k", "identity_token": "t"},
        {"private_key": "k", "trust_config": "c"},
    ]
    for arguments in signing:
        with pytest.raises(TypeError):
            autosign.sign(model, **arguments)
    verifying: list[dict[str, Any]] = [
        {},
        {"identity": "i"},
        {"identity_provider": "p"},
        {"public_key": "k", "identity": "i", "identity_provider": "p"},
        {"public_key": "k", "trust_config": "c"},
    ]
    for arguments in verifying:
        with pytest.raises(TypeError):
            autosign.verify(model, **arguments)
