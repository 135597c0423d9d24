"""A key on a PKCS#11 token, SoftHSM2, signs what training saves: by the settings alone, and in forked children, too.

Whatever is wrong with the token, training goes on, the spool remembers, and no PIN is to be found anywhere.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import model_signing_autosign as autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "core/signing/tests/keys"
OURS = str(Path(sys.executable).with_name("model-signing"))
UPSTREAM = [str(ROOT / "build/upstream/bin/python"), "-m", "model_signing"]
SOFTHSM = ROOT / "build/softhsm"
MODULE = SOFTHSM / "libsofthsm2.so"
PIN = "73550608"
WRONG = "11112222"

PREAMBLE = """
import os, sys
os.environ["SOFTHSM2_CONF"] = os.path.abspath("softhsm2.conf")
import multiprocessing, pathlib
import model_signing.autosign as autosign
from model_signing_autosign import signing
import numpy, safetensors.numpy

def save(name):
    safetensors.numpy.save_file({"w": numpy.arange(64)}, f"{name}.safetensors")

"""


class Token:
    """A token with the key p256.pem, and a folder that it is used from."""

    def __init__(self, folder: Path, *settings: str) -> None:
        self.folder = folder
        (folder / "tokens").mkdir()
        (folder / "pin").write_text(f"{PIN}\n")
        lines = [f"directories.tokendir = {folder / 'tokens'}", "log.level = ERROR", *settings]
        (folder / "softhsm2.conf").write_text("\n".join(lines))
        self.environment = os.environ | {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
        key = folder / "pkcs8.pem"
        self._run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(KEYS / "p256.pem"), "-out", str(key))
        util = [str(SOFTHSM / "softhsm2-util"), "--module", str(MODULE), "--pin", PIN]
        made = self._run(*util, "--init-token", "--free", "--label", "Models", "--so-pin", "sopin")
        slot = re.search(r"slot (\d+)", made)
        assert slot
        self._run(*util, "--import", str(key), "--slot", slot[1], "--label", "p256", "--id", "01")

    def uri(self, query: str | None = None, path: str = "token=Models;object=p256") -> str:
        pin = f"pin-source=file:{self.folder / 'pin'}" if query is None else query
        return f"pkcs11:{path}?module-path={MODULE}&{pin}"

    def ours(self, uri: str, *words: str, code: int = 0) -> str:
        """Run the command with the settings of the training, all that it says."""
        settings = {"MODEL_SIGNING_PRIVATE_KEY": uri, "MODEL_SIGNING_SPOOL": str(self.folder / "spool")}
        return self._run(OURS, *words, code=code, **settings)

    def verified(self, side: list[str], *names: str) -> None:
        for name in names:
            model = self.folder / f"{name}.safetensors"
            words = ["verify", "key", "--public_key", str(KEYS / "p256.pub.pem"), "--signature", f"{model}.sig"]
            if side is UPSTREAM:  # to which a single file has no name
                words.append("--ignore_unsigned_files")
                model = model.parent
            self._run(*side, *words, str(model))

    def _run(self, *command: str, code: int = 0, **settings: str) -> str:
        environment = self.environment | settings
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == code, result.stdout + result.stderr
        return result.stdout + result.stderr


def no_pin_in(folder: Path, *said: str) -> None:
    records = [path.read_text() for path in (folder / "spool").iterdir() if path.is_file()]
    events = folder / "events"
    written = [*said, *records, *([events.read_text()] if events.exists() else [])]
    assert not any(PIN in text or WRONG in text for text in written)


FORKS = """
assert "softhsm" not in pathlib.Path("/proc/self/maps").read_text()  # importing loads no module
save("parent")
assert autosign.flush(timeout=60).signed == 1
library = signing.Config().use_pkcs11_signer(pkcs11_uri=os.environ["MODEL_SIGNING_PRIVATE_KEY"])
child = os.fork()
if child == 0:
    library.sign("parent.safetensors", "parent.safetensors.sig")  # logs in here by itself
    save("child")
    sys.exit()
save("after")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
process = multiprocessing.get_context("fork").Process(target=save, args=("multi",))
process.start()
process.join()
assert process.exitcode == 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no fork, or no /proc")
@pytest.mark.parametrize("lines", [(), ("library.reset_on_fork = true",)], ids=["inherits", "resets"])
def test_every_process_signs(tmp_path: Path, run_script: Run, lines: tuple[str, ...]) -> None:
    """A module may let a forked child have what its parent had, or nothing."""
    token = Token(tmp_path, *lines)
    run = run_script(PREAMBLE + FORKS, PRIVATE_KEY=token.uri(), METHOD="pkcs11")
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("signed ") == 4, run.stderr
    token.verified([OURS], "parent", "child", "after", "multi")
    token.verified(UPSTREAM, "child")
    no_pin_in(tmp_path, run.stdout, run.stderr)


def test_with_its_certificate(tmp_path: Path, run_script: Run) -> None:
    token = Token(tmp_path)
    leaf = tmp_path / "leaf.pem"
    usage = ["-addext", "keyUsage=digitalSignature", "-addext", "extendedKeyUsage=codeSigning"]
    words = ["req", "-x509", "-key", str(KEYS / "p256.pem"), "-subj", "/CN=trainer", *usage, "-out", str(leaf)]
    subprocess.run(["openssl", *words], check=True, capture_output=True)
    script = f"{PREAMBLE}save('a')"
    run = run_script(script, PRIVATE_KEY=token.uri(), METHOD="pkcs11", CERTIFICATE=str(leaf), ON_ERROR="raise")
    assert run.returncode == 0, run.stderr
    assert autosign.verify(tmp_path / "a.safetensors", certificate_chain=[leaf]) == ["a.safetensors"]


WRONG_PIN = """
for index in range(3):
    save(f"p{index}")
    assert autosign.flush(timeout=60).failed == index + 1
child = os.fork()
if child == 0:
    save("child")
    sys.exit()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_wrong_pin_is_tried_once(tmp_path: Path, run_script: Run) -> None:
    token = Token(tmp_path)
    wrong = token.uri(f"pin-value={WRONG}")
    run = run_script(PREAMBLE + WRONG_PIN, PRIVATE_KEY=wrong, EVENTS=str(tmp_path / "events"))
    assert run.returncode == 0, run.stderr
    told = [line for line in run.stderr.splitlines() if "is not signed" in line]
    assert len(told) == 1, run.stderr
    assert "the token refuses the PIN: PinIncorrect (correct the PIN before you try again" in told[0]
    events = (tmp_path / "events").read_text()
    assert events.count('"error":"the token refuses the PIN: PinIncorrect"') == 1
    assert events.count('"error":"the token has refused this PIN before') >= 3

    status = token.ours(wrong, "status")
    assert status.count("has refused this PIN before") == 4
    doctor = token.ours(wrong, "doctor")
    assert "which has refused a PIN since the last good one; the PIN is not tried without --sign-test" in doctor
    shown = token.ours(wrong, "env")
    assert "MODEL_SIGNING_PRIVATE_KEY=pkcs11:token=Models;object=p256…" in shown
    no_pin_in(tmp_path, run.stdout, run.stderr, status, doctor, shown, token.ours(wrong, "status", "--json"))

    # Whose key it is does not depend on the PIN.
    assert "4 signed, 0 left" in token.ours(token.uri(), "flush")
    token.verified([OURS], "p0", "p1", "p2", "child")


GONE = """
save("before")
assert autosign.flush(timeout=60).signed == 1
os.rename("tokens", "elsewhere")
os.mkdir("tokens")
save("without")
assert autosign.flush(timeout=60).failed == 1
"""


def test_a_token_that_is_gone(tmp_path: Path, run_script: Run) -> None:
    token = Token(tmp_path)
    run = run_script(PREAMBLE + GONE, PRIVATE_KEY=token.uri())
    assert run.returncode == 0, run.stderr
    assert run.stderr.count("is not signed, it stays in the spool") == 1, run.stderr
    assert "no token is what the PKCS#11 URI says" in run.stderr
    (tmp_path / "tokens").rmdir()
    (tmp_path / "elsewhere").rename(tmp_path / "tokens")
    assert "1 signed, 0 left" in token.ours(token.uri(), "flush")
    token.verified([OURS], "before", "without")


def test_the_doctor_looks_and_logs_in_on_request(tmp_path: Path) -> None:
    token = Token(tmp_path)
    look = token.ours(token.uri(), "doctor")
    assert 'key      on the token "Models" (SoftHSM v2, serial ' in look
    assert "the PIN is not tried without --sign-test" in look
    assert "ready to sign" in token.ours(token.uri(), "doctor", "--sign-test")
    (tmp_path / "spool").mkdir()
    for uri, expected, code in [
        (token.uri(path="token=Others;object=p256"), "no token is what the PKCS#11 URI says", 1),
        (token.uri("x=y"), "the token wants a PIN, and the PKCS#11 URI has none", 1),
        (token.uri(f"pin-source={tmp_path / 'absent'}"), "the file of the password cannot be read", 1),
        (f"pkcs11:object=p256?module-path={tmp_path / 'absent.so'}", "cannot be loaded", 1),
        (f"pkcs11:object=p256;object=a?pin-value={WRONG}", "the PKCS#11 URI has object twice", 2),
    ]:
        said = token.ours(uri, "doctor", code=code)
        assert expected in said
        no_pin_in(tmp_path, said)
    said = token.ours(token.uri(f"pin-value={WRONG}"), "doctor", "--sign-test", code=1)
    assert "the token refuses the PIN" in said
    no_pin_in(tmp_path, said)
