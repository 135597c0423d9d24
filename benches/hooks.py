"""What a hook costs a save that is not signed in it: microseconds, and as a ratio to the smallest real save.

Rounds alternate between signing off and on. The signing itself is left out (MODEL_SIGNING_EXCLUDE), so what is measured
is the wrapper, the scope, the question to the core, and from then on what Python's audit events cost.

    python benches/hooks.py --saves 300 --rounds 15
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    Action = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=300, help="in a round")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="as little as shows that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.saves, options.rounds = 2, 1
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"MODEL_SIGNING_EXCLUDE": "*", "MODEL_SIGNING_SPOOL": "off"}
        for name, action in actions(folder).items():
            measure(name, action, options.saves, options.rounds)


def actions(folder: str) -> dict[str, Action]:
    import torch
    from safetensors.torch import save_file

    tensors = {"w": torch.zeros(1)}

    def rename() -> None:
        os.rename(f"{folder}/a", f"{folder}/b")
        os.rename(f"{folder}/b", f"{folder}/a")

    def read() -> None:
        with open(f"{folder}/a", "rb"):
            pass

    def write() -> None:
        with open(f"{folder}/a", "wb"):
            pass

    write()
    return {
        "torch.save of one number": lambda: torch.save(tensors, f"{folder}/x.pt"),
        "safetensors save_file of one number": lambda: save_file(tensors, f"{folder}/x.safetensors"),
        "a file opened to read": read,
        "a file opened to write": write,
        "two renames": rename,
    }


def measure(name: str, action: Action, times: int, rounds: int) -> None:
    import model_signing_autosign as autosign

    off, on = [], []
    for _ in range(rounds):
        autosign.disable()
        off.append(seconds(action, times))
        autosign.enable()
        on.append(seconds(action, times))
    ratios = [one / other for one, other in zip(on, off, strict=True)]
    added = statistics.median(one - other for one, other in zip(on, off, strict=True))
    print(
        f"{name}: {statistics.median(off) * 1e6:.1f} us, with hooks {added * 1e6:+.1f} us, "
        f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"
    )


def seconds(action: Action, times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        action()
    return (time.perf_counter() - start) / times


if __name__ == "__main__":
    main()
