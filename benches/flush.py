"""How long a flush takes on a machine whose every core is busy, as a ratio to an idle machine.

The background thread has the lowest priority, so on a busy machine it hardly gets on; a flush must not wait for it.
Rounds alternate between idle and busy.

    python benches/flush.py --bytes 200e6 --rounds 5
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KEY = Path(__file__).parents[1] / "core/signing/tests/keys/p256.pem"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=float, default=200e6, help="size of the checkpoint")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="as little as shows that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.bytes, options.rounds = 1e6, 1
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"MODEL_SIGNING_PRIVATE_KEY": str(KEY), "MODEL_SIGNING_LOG_LEVEL": "warning"}
        os.environ |= {"MODEL_SIGNING_SPOOL": f"{folder}/spool"}
        rounds = [[flush(folder, int(options.bytes), busy) for busy in (False, True)] for _ in range(options.rounds)]
    ratios = [busy / idle for idle, busy in rounds]
    print(f"{options.bytes / 1e6:g} MB, {options.rounds} rounds, {os.cpu_count()} cores")
    print(f"idle: median {statistics.median(idle for idle, _ in rounds):.2f} s")
    print(f"busy: {statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})")


def flush(folder: str, size: int, busy: bool) -> float:
    import numpy as np
    from model_signing import autosign  # late: the settings are read when it is imported
    from safetensors.numpy import save_file

    spin = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(os.cpu_count() or 1)] if busy else []
    try:
        save_file({"w": np.zeros(size, np.uint8)}, f"{folder}/last.safetensors")
        start = time.perf_counter()
        status = autosign.flush()
        assert status.pending == status.failed == 0, status
        return time.perf_counter() - start
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    main()
