"""Makes the keyless signature of this folder again: upstream's release 0.2.0, sent to the local Sigstore.

    python remake_keyless.py

`make bundles` runs it. The instance lives for this one signature, and its trusted root is kept beside it.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import requests
from remake import MODEL
from sigstore import sign
from sigstore._internal.fulcio import FulcioClient
from sigstore._internal.rekor.client import RekorClient
from sigstore._internal.trust import TrustedRoot

HERE = Path(__file__).parent
START = HERE.parents[3] / "framework-tests/sigstore/start.py"


def main() -> None:
    start = [sys.executable, START]
    with subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stack:  # noqa: S603
        assert stack.stdin
        assert stack.stdout
        told = json.loads(stack.stdout.readline())
        context = sign.SigningContext(
            fulcio=FulcioClient(told["fulcio"]),
            rekor=RekorClient(told["rekor_v1"]),
            trusted_root=TrustedRoot.from_file(told["trusted_root"]),
        )
        # The release knows the public instances alone.
        sign.SigningContext.production = classmethod(lambda _: context)
        issuer = f"{told['issuer']}/email"
        token = requests.post(f"{issuer}/token/mint", json={}, timeout=30).text
        with tempfile.TemporaryDirectory() as place:
            sign_model(Path(place, "model"), issuer, token)
        shutil.copy(told["trusted_root"], HERE / "trusted_root.json")
        stack.stdin.close()


def sign_model(model: Path, issuer: str, token: str) -> None:
    from model_signing import api
    from model_signing.signing import in_toto, sign_sigstore

    for name, content in MODEL.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(content)
    payload = in_toto.DigestsIntotoPayload.from_manifest(api.HashingConfig().hash(model))
    # The second: a log's first entry has the index 0, which JSON of Protobuf leaves out.
    signer = sign_sigstore.SigstoreDSSESigner(oidc_issuer=issuer, identity_token=token)
    signer.sign(payload)
    signer.sign(payload).write(HERE / "0.2.0-sigstore.sig")


if __name__ == "__main__":
    main()
