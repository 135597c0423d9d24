"""What is locked holds for every call that signs, and where settings cannot do as they say, that is said."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    from conftest import Keys

# In a mount namespace of its own, where /etc holds nothing but the administrator's file.
ALONE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = 'mount -t tmpfs none /etc && mkdir /etc/model-signing && cat > /etc/model-signing/config.toml && exec "$@"'

KEY = ["private_key=K", "use_elliptic_key_signer(private_key=K)"]
CERTIFICATE = [
    "private_key=K, signing_certificate=C",
    "use_certificate_signer(private_key=K, signing_certificate=C, certificate_chain=[])",
]
CHAIN = [
    "private_key=K, signing_certificate=C, certificate_chain=[C]",
    "use_certificate_signer(private_key=K, signing_certificate=C, certificate_chain=[C])",
]
PKCS11 = ["use_pkcs11_signer(pkcs11_uri='pkcs11:object=a')"]
PKCS11_CERTIFICATE = [
    "use_pkcs11_certificate_signer(pkcs11_uri='pkcs11:object=a', signing_certificate=C, certificate_chain=[C])"
]
PASSWORD = ["private_key=K, password='x'", "use_elliptic_key_signer(private_key=K, password='x')"]
TOKEN = ["identity_token='x'", "use_sigstore_signer(identity_token='x')"]
INSTANCE = ["trust_config=C", "use_sigstore_signer(trust_config=C)", "use_sigstore_signer(use_staging=True)"]
SHARDS = "use_elliptic_key_signer(private_key=K).set_hashing_config(hashing.Config().{})"
THREADS = [SHARDS.format("use_file_serialization(max_workers=2)")]
GIT = [SHARDS.format("set_ignored_paths(paths=[], ignore_git_paths=True)")]

ROWS = {
    "method = 'sigstore'": KEY + CERTIFICATE + PKCS11 + PKCS11_CERTIFICATE,
    "method = 'key'": TOKEN + CERTIFICATE + PKCS11_CERTIFICATE,
    "method = 'certificate'": KEY + TOKEN + PKCS11,
    "private_key = '/other.pem'": KEY + CERTIFICATE + PKCS11 + PKCS11_CERTIFICATE,
    "certificate = '/other.pem'": CERTIFICATE + PKCS11 + PKCS11_CERTIFICATE,
    "certificate_chain = '/other.pem'": CHAIN + PKCS11_CERTIFICATE,
    "password_file = '/password'": PASSWORD,
    "identity_token_file = '/token'": TOKEN,
    "identity_token_command = '/bin/token'": TOKEN,
    "token_exchange_url = 'http://127.0.0.1:9'": TOKEN,
    "credentials = 'github'": TOKEN,
    "instance = 'http://127.0.0.1:9'": INSTANCE,
    "trust_config = '/trust.json'": INSTANCE,
    "trusted_root = '/root.json'": INSTANCE,
    "threads = 1": THREADS,
    "ignore_git_paths = false": GIT,
}

SCRIPT = """
import sys
import model_signing_autosign as autosign
from model_signing_autosign import hashing, signing
K, C, call = sys.argv[1:]
try:
    if "(" in call:
        eval("signing.Config()." + call).sign("model.pt", "model.sig")
    else:
        eval(f"autosign.sign('model.pt', {call})")
except autosign.ConfigError as error:
    print(error)
"""


@pytest.fixture
def locked(tmp_path: Path, keys: Keys, settings: dict[str, str]) -> Callable[[str, str], str]:
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "sign.py").write_text(SCRIPT)
    environment = {name: value for name, value in settings.items() if name != "MODEL_SIGNING_PRIVATE_KEY"}

    def run(entry: str, call: str) -> str:
        # A certificate that nobody reads: what is locked is asked for first.
        script = [sys.executable, "sign.py", str(keys.private), "leaf.pem", call]
        done = subprocess.run(
            [*ALONE, MOUNT, "sh", *script],
            input=f"[locked]\n{entry}\n",
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    if subprocess.run([*ALONE, "mount -t tmpfs none /etc"], capture_output=True, check=False).returncode:
        pytest.skip("no mount namespaces here: core/cli/tests/locked.rs looks at the one door that these go through")
    return run


@pytest.mark.parametrize("entry", ROWS)
def test_no_call_leaves_what_is_locked(entry: str, locked: Callable[[str, str], str], tmp_path: Path) -> None:
    name = entry.partition(" = ")[0].upper()
    for call in ROWS[entry]:
        said = locked(entry, call)
        assert f"MODEL_SIGNING_{name} is locked by" in said, f"{call}: {said}"
    assert not (tmp_path / "model.pt.sig").exists()
    assert not (tmp_path / "model.sig").exists()


def test_a_call_that_is_as_is_locked_signs(locked: Callable[[str, str], str], tmp_path: Path) -> None:
    assert locked("method = 'key'", KEY[0]) == ""
    assert (tmp_path / "model.pt.sig").exists()


def test_without_a_home_folder_it_is_said_that_there_is_no_spool(
    run_script: Callable[..., CompletedProcess[str]],
) -> None:
    script = """
        import os, subprocess, sys
        homeless = {name: value for name, value in os.environ.items() if name not in ("HOME", "XDG_STATE_HOME")}
        subprocess.run([sys.executable, "-c", "import model_signing.autosign"], env=homeless, check=True)
    """
    said = run_script(script, SPOOL=None).stderr
    assert said.count("there is no spool, as HOME is not set") == 1, said
    assert run_script(script, SPOOL="off").stderr == ""
