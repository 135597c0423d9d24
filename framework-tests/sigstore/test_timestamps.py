"""A timestamp of a real authority on the signature of a key: told by ours, no matter to upstream."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "core/signing/tests/keys"
OURS = Path(sys.executable).with_name("model-signing")
UPSTREAM = [ROOT / "build/upstream/bin/python", "-m", "model_signing"]


def test_a_key_and_when_it_signed(run: Callable[..., str], stack: Any, model: Path, tmp_path: Path) -> None:
    signature = tmp_path / "model.sig"
    given = ["--private-key", KEYS / "p256.pem", "--timestamp-url", stack.trust("tsaUrls")]
    run(OURS, "sign", "key", model, "--signature", signature, *given)
    authority = json.loads(stack.trusted_root.read_text())["timestampAuthorities"][0]["certChain"]["certificates"]
    chain = tmp_path / "authority.pem"
    pem = "-----BEGIN CERTIFICATE-----\n{rawBytes}\n-----END CERTIFICATE-----\n"
    chain.write_text("".join(pem.format(**one) for one in authority))

    key = ["verify", "key", model, "--signature", signature, "--public_key", KEYS / "p256.pub.pem"]
    told = run(OURS, *key, "--timestamp-certificate-chain", chain)
    assert "It was signed before 20" in told
    assert "which a timestamp over the signature proves" in told

    def time_of(*words: str | Path) -> dict[str, Any]:
        time: dict[str, Any] = json.loads(run(OURS, *key, *words, "--json").splitlines()[0])["time"]
        return time

    time = time_of("--timestamp-certificate-chain", chain)
    assert time["source"] == "timestamp"
    assert time["at"].startswith("20")
    assert time["certificates_judged_at"] is None
    # Whoever is given no authority hears of no time.
    assert time_of() == {"source": "none", "at": None, "certificates_judged_at": None}
    run(*UPSTREAM, *key)

    bundle = json.loads(signature.read_text())
    stamps = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamps[0]["signedTimestamp"] = stamps[0]["signedTimestamp"][:-8]
    signature.write_text(json.dumps(bundle))
    assert "imestamp" in run(OURS, *key, "--timestamp-certificate-chain", chain, code=1)
