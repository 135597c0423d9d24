"""Keyless signing and verifying as a user has them: by the environment alone, and by the command."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from subprocess import CompletedProcess

    Run = Callable[..., str]
    Train = Callable[..., CompletedProcess[str]]

OURS = Path(sys.executable).with_name("model-signing")
NO_NETWORK = [sys.executable, Path(__file__).with_name("no_network.py")]
TRAINER = "https://kubernetes.io/namespaces/ml/serviceaccounts/trainer"

TRAIN = """
    import model_signing.autosign
    import torch

    torch.save({"weights": torch.ones(3)}, "last.pt")
    print("trained")
"""
TRAIN_WITHOUT_NETWORK = f"""
    import sys

    sys.path.insert(0, {str(Path(__file__).parent)!r})
    import no_network

    no_network.forbid()
    {TRAIN}
"""


@pytest.fixture
def train(run_script: Train, stack: Any) -> Train:
    def train(script: str = TRAIN, **settings: Any) -> CompletedProcess[str]:
        changed = {"PRIVATE_KEY": None, "TRUST_CONFIG": stack.trust_config, "IDENTITY_TOKEN_FILE": stack.token_file}
        texts = {name: value and str(value) for name, value in (changed | settings).items()}
        return run_script(script, **texts)

    return train


@pytest.fixture
def verify(run: Run, stack: Any) -> Run:
    def verify(model: Path, *args: str | Path, start: Sequence[str | Path] = (), **expected: Any) -> str:
        given = ["--identity", TRAINER, "--identity-provider", stack.provider("kubernetes")]
        trust = [] if "--trust-config" in args else ["--trust-config", stack.trust_config]
        return run(*start, OURS, "verify", model, *given, *trust, *args, **expected)

    return verify


@pytest.fixture
def no_token_is_told(tmp_path: Path) -> Callable[[CompletedProcess[str]], None]:
    def no_token_is_told(ran: CompletedProcess[str]) -> None:
        spooled = [path.read_text() for path in (tmp_path / "spool").rglob("*") if path.is_file()]
        assert "eyJ" not in "".join([ran.stdout, ran.stderr, *spooled])

    return no_token_is_told


def test_the_environment_alone_signs(
    tmp_path: Path, train: Train, verify: Run, no_token_is_told: Callable[..., None]
) -> None:
    ran = train()
    assert (ran.returncode, ran.stdout) == (0, "trained\n"), ran.stderr
    assert ran.stderr.startswith("model-signing: signed ")
    assert ran.stderr.count("\n") == 1
    no_token_is_told(ran)
    model = tmp_path / "last.pt"
    assert "Verification succeeded" in verify(model)
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert '"last.pt"' in verify(model, code=1)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("no such file", "No such file"),
        ("garbage", "three parts"),
        ("expired", "expired"),
        ("for another audience", '"other"'),
        ("of an unknown key", "400"),
    ],
)
def test_a_bad_token_does_no_harm(
    tmp_path: Path,
    train: Train,
    verify: Run,
    run: Run,
    stack: Any,
    no_token_is_told: Callable[..., None],
    fault: str,
    reason: str,
) -> None:
    file = tmp_path / "token"
    if fault == "garbage":
        file.write_text("eyJnYXJiYWdl")
    elif fault == "expired":
        file.write_text(stack.token("kubernetes", "?ttl=-60"))
    elif fault == "for another audience":
        file.write_text(stack.token("kubernetes", aud=["other"]))
    elif fault == "of an unknown key":
        file.write_text(stack.token("kubernetes", "?key=unknown"))
    ran = train(IDENTITY_TOKEN_FILE=file)
    assert (ran.returncode, ran.stdout) == (0, "trained\n"), ran.stderr
    warnings = [line for line in ran.stderr.splitlines() if "is not signed, it stays in the spool" in line]
    assert len(warnings) == 1
    assert reason in warnings[0]
    no_token_is_told(ran)
    assert not (tmp_path / "last.pt.sig").exists()

    file.write_text(stack.token("kubernetes"))
    said = run(
        OURS,
        "flush",
        MODEL_SIGNING_SPOOL=tmp_path / "spool",
        MODEL_SIGNING_TRUST_CONFIG=stack.trust_config,
        MODEL_SIGNING_IDENTITY_TOKEN_FILE=file,
    )
    assert "last.pt" in said
    verify(tmp_path / "last.pt")


def test_the_public_log_can_be_denied(tmp_path: Path, train: Train) -> None:
    ran = train(TRAIN_WITHOUT_NETWORK, TRUST_CONFIG=None, PUBLIC_LOG="deny")
    assert (ran.returncode, ran.stdout) == (0, "trained\n"), ran.stderr
    assert "MODEL_SIGNING_PUBLIC_LOG is `deny`" in ran.stderr
    assert not (tmp_path / "last.pt.sig").exists()
    # Without the network signing is not possible: it is the process that would be killed.
    assert train(TRAIN_WITHOUT_NETWORK).returncode == -signal.SIGSYS


def test_verifying_uses_no_network(tmp_path: Path, model: Path, verify: Run, run: Run, stack: Any) -> None:
    bundle = tmp_path / "model.sig"
    sign = [OURS, "sign", model, "--signature", bundle, "--identity-token-file", stack.token_file, "--trust-config"]
    run(*sign, stack.trust_config_v1)
    verify(model, "--signature", bundle, start=NO_NETWORK)
    bundle.unlink()
    run(*sign, stack.trust_config)
    verify(model, "--signature", bundle, start=NO_NETWORK)
    # Not with the public instance either, whose keys are built in.
    public = ["--identity", TRAINER, "--identity-provider", stack.provider("kubernetes")]
    said = run(*NO_NETWORK, OURS, "verify", model, "--signature", bundle, *public, "--offline", code=1)
    assert "was signed at another Sigstore instance" in said
    run(*NO_NETWORK, *sign, stack.trust_config, code=-signal.SIGSYS)


@pytest.mark.parametrize("way", ["--identity-token-file", "--identity-token", "SIGSTORE_ID_TOKEN"])
def test_ways_to_give_the_command_a_token(
    tmp_path: Path, model: Path, verify: Run, run: Run, stack: Any, way: str
) -> None:
    bundle, token = tmp_path / "model.sig", stack.token_file.read_text().strip()
    sign = [OURS, "sign", model, "--signature", bundle, "--trust-config", stack.trust_config]
    assert "no identity token" in run(*sign, code=1, MODEL_SIGNING_CREDENTIALS="file,env")
    if way == "SIGSTORE_ID_TOKEN":
        said = run(*sign, SIGSTORE_ID_TOKEN=token)
    else:
        said = run(*sign, way, stack.token_file if way.endswith("file") else token)
    assert "Signing succeeded" in said
    verify(model, "--signature", bundle)


def test_who_signed_and_when_as_json(tmp_path: Path, model: Path, verify: Run, run: Run, stack: Any) -> None:
    bundle = tmp_path / "sig"
    token = ["--identity-token-file", stack.token_file]
    run(OURS, "sign", model, "--signature", bundle, "--trust_config", stack.trust_config, *token)
    verdict = json.loads(verify(model, "--signature", bundle, "--json"))
    assert verdict["signer"] == {"identity": TRAINER, "identity_provider": stack.provider("kubernetes")}
    assert verdict["time"]["source"] == "timestamp"
    assert verdict["time"]["at"] == verdict["time"]["certificates_judged_at"]
    assert verdict["file_count"] == 5
    told = verify(model, "--signature", bundle, "--json", "--identity=bob@example.com", code=1)
    refused, line = told.splitlines()
    assert json.loads(refused)["error"]["kind"] == "signer"
    assert line.startswith("Verification failed with error: ")

    # Whoever believes nobody sees the same, as a claim.
    shown = json.loads(run(OURS, "show", "--json", bundle))
    (certificate,), (entry,) = shown["certificates"], shown["log_entries"]
    assert (certificate["names"], certificate["identity_provider"]) == ([TRAINER], stack.provider("kubernetes"))
    assert shown["timestamps"] == [{"at": verdict["time"]["at"]}]
    assert certificate["begins"] <= verdict["time"]["at"] <= certificate["ends"]
    assert entry["kind"] == "hashedrekord 0.0.2"
    assert isinstance(entry["index"], int)
    assert shown["statement"]["root_digest"] == verdict["root_digest"]
    assert shown["verified"] is False


@pytest.mark.parametrize("fault", ["inside the model", "writable by others"])
def test_a_trust_config_that_anyone_may_have_written_is_refused(
    tmp_path: Path, model: Path, verify: Run, run: Run, stack: Any, fault: str
) -> None:
    bundle, trust = tmp_path / "model.sig", tmp_path / "trust.json"
    token = ["--identity-token-file", stack.token_file]
    run(OURS, "sign", model, "--signature", bundle, "--trust-config", stack.trust_config, *token)
    if fault == "inside the model":
        trust = model / "trust.json"
    trust.write_bytes(stack.trust_config.read_bytes())
    trust.chmod(0o664 if fault == "writable by others" else 0o644)
    reason = "written by other users" if fault == "writable by others" else "lies in the model"
    again = ["--signature", tmp_path / "again.sig", "--trust-config", trust]
    assert reason in run(OURS, "sign", model, *again, *token, code=1)
    asked = ["--signature", bundle, "--ignore-unsigned-files", "--trust-config", trust]
    assert reason in verify(model, *asked, code=1)


def test_trust_config_to_the_files_of_cosign_and_back(
    tmp_path: Path, model: Path, verify: Run, run: Run, stack: Any, statement: Callable[[Path], bytes]
) -> None:
    folder, back = tmp_path / "cosign", tmp_path / "trust.json"
    folder.mkdir()
    root, config = folder / "trusted_root.json", folder / "signing_config.json"
    run(OURS, "trust", "export", folder, "--trust-config", stack.trust_config)
    run(OURS, "trust", "import", back, "--trusted-root", root, "--signing-config", config)

    ours, theirs, text = tmp_path / "ours.sig", tmp_path / "cosign.sig", tmp_path / "statement.json"
    token = stack.token_file.read_text().strip()
    run(OURS, "sign", model, "--signature", ours, "--trust-config", back, "--identity-token", token)
    text.write_bytes(statement(ours))
    instance = ["--signing-config", config, "--trusted-root", root]
    given = ["--statement", text, "--identity-token", token, "--bundle", theirs, "--yes"]
    run(stack.cosign, "attest-blob", *instance, *given)
    for bundle in (ours, theirs):
        verify(model, "--signature", bundle, "--trust-config", back)
        verify(model, "--signature", bundle, "--trust-config", root)

    # Without cosign's second file there is enough to verify, not to sign.
    only = tmp_path / "only.json"
    run(OURS, "trust", "import", only, "--trusted-root", root)
    verify(model, "--signature", ours, "--trust-config", only)
    again = ["--signature", tmp_path / "again.sig", "--trust-config", only, "--identity-token", token]
    run(OURS, "sign", model, *again, code=1)


FORK = """
    import os

    import model_signing.autosign
    import model_signing_autosign as autosign
    import torch

    torch.save({"weights": torch.ones(3)}, "parent.pt")
    assert autosign.flush(60)
    child = os.fork()
    torch.save({"weights": torch.ones(3)}, "again.pt" if child else "child.pt")
    assert autosign.flush(60)
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_child_process_gets_a_certificate_of_its_own(tmp_path: Path, train: Train, verify: Run) -> None:
    ran = train(FORK)
    assert ran.returncode == 0, ran.stderr

    def certificate(name: str) -> str:
        verify(tmp_path / name)
        bundle = json.loads((tmp_path / f"{name}.sig").read_text())
        raw: str = bundle["verificationMaterial"]["certificate"]["rawBytes"]
        return raw

    assert certificate("parent.pt") == certificate("again.pt") != certificate("child.pt")
