"""How long a burst of small checkpoints takes until each has its keyless signature, and how many certificates it needs.

Ours, through the hook of `safetensors.numpy.save_file`, and upstream's package in a loop, in turn, over the same local
Sigstore (Rekor v2), each in a process of its own; then one burst of ours alone. Fulcio is counted by a proxy.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

OURS = """
import sys, time
import numpy
import model_signing.autosign as autosign
from safetensors.numpy import save_file
folder, count = sys.argv[1], int(sys.argv[2])
weights = numpy.arange(1000.0)
start = time.perf_counter()
for step in range(count):
    save_file({"weights": weights + step}, f"{folder}/step-{step}.safetensors")
saved = time.perf_counter() - start
status = autosign.flush()
assert (status.signed, status.pending, status.failed) == (count, 0, 0), status
print(saved, time.perf_counter() - start)
"""
UPSTREAM = """
import os, pathlib, sys, time
from model_signing import signing
folder, count = sys.argv[1], int(sys.argv[2])
token = pathlib.Path(os.environ["MODEL_SIGNING_IDENTITY_TOKEN_FILE"]).read_text()
trust = pathlib.Path(os.environ["MODEL_SIGNING_TRUST_CONFIG"])
start = time.perf_counter()
for step in range(count):
    model = pathlib.Path(folder, f"step-{step}")
    model.mkdir()
    (model / "weights").write_bytes(b"%d" % step * 1000)
    config = signing.Config().use_sigstore_signer(identity_token=token, trust_config=trust)
    config.sign(model, pathlib.Path(folder, f"step-{step}.sig"))
print(0, time.perf_counter() - start)
"""


class Counting(http.server.BaseHTTPRequestHandler):
    """Passes requests on to Fulcio."""

    protocol_version = "HTTP/1.1"
    fulcio: str
    asked = 0

    def do_GET(self) -> None:
        """Ask which issuers it knows."""
        self.ask(None)

    def do_POST(self) -> None:
        """Count it, and ask."""
        Counting.asked += 1
        self.ask(self.rfile.read(int(self.headers["content-length"])))

    def ask(self, body: bytes | None) -> None:
        """Answer what Fulcio answers."""
        names = ("accept", "authorization", "content-type")
        headers = {name: self.headers[name] for name in names if name in self.headers}
        request = urllib.request.Request(self.fulcio + self.path, body, headers)  # noqa: S310 - loopback
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers["content-type"])
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def timed(python: str, script: str, count: int, environment: dict[str, str]) -> tuple[float, float, int]:
    """Seconds of the saves, seconds until the last signature, and certificates."""
    before = Counting.asked
    with tempfile.TemporaryDirectory() as folder:
        command = [python, "-c", script, folder, str(count)]
        ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    saved, signed = ran.stdout.split()[-2:]
    return float(saved), float(signed), Counting.asked - before


def main() -> None:
    """Print one line a round, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=20, help="checkpoints a round")
    parser.add_argument("--burst", type=int, default=200, help="checkpoints of the last burst")
    parser.add_argument("--smoke", action="store_true", help="as little as shows that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.count, options.burst = 1, 2, 3

    start = [sys.executable, str(ROOT / "framework-tests/sigstore/start.py")]
    stack = subprocess.Popen(start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert stack.stdin
    assert stack.stdout
    told = json.loads(stack.stdout.readline())
    Counting.fulcio = told["fulcio"]
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    trust = json.loads(Path(told["trust_config"]).read_text(encoding="utf-8"))
    trust["signingConfig"]["caUrls"][0]["url"] = f"http://127.0.0.1:{proxy.server_port}"

    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "trust_config.json")
        config.write_text(json.dumps(trust), encoding="utf-8")
        environment = os.environ | {
            "MODEL_SIGNING_TRUST_CONFIG": str(config),
            "MODEL_SIGNING_IDENTITY_TOKEN_FILE": told["token_file"],
            "MODEL_SIGNING_SPOOL": str(Path(folder, "spool")),
            "MODEL_SIGNING_LOG_LEVEL": "warning",
        }
        upstream = str(ROOT / "build/upstream/bin/python")
        ratios = []
        for number in range(options.rounds):
            _, ours, ours_asked = timed(sys.executable, OURS, options.count, environment)
            _, theirs, theirs_asked = timed(upstream, UPSTREAM, options.count, environment)
            ratios.append(ours / theirs)
            print(
                f"round {number}: {options.count} checkpoints, ours {ours:.1f} s with {ours_asked} certificates, "
                f"upstream {theirs:.1f} s with {theirs_asked}"
            )
        if ratios:
            print(f"ours / upstream: {statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")
        saved, signed, asked = timed(sys.executable, OURS, options.burst, environment)
        print(
            f"{options.burst} in a burst: saved after {saved:.2f} s, signed after {signed:.1f} s, {asked} certificates"
        )
    stack.stdin.close()
    stack.wait()


if __name__ == "__main__":
    main()
