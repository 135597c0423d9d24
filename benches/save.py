"""How long `torch.save` of a state dict takes with signing off, in background mode, and in inline mode.

Each mode is a process of its own that holds its own state dict. Rounds are interleaved: every round each process
saves once, in a changing order, while the others rest; a round's times are compared with each other only. A process
whose signature is still pending is waited for before the next one saves, and that time is shown on its own.

    python benches/save.py                  1 GB, 7 rounds
    python benches/save.py --bytes 100e6 --rounds 3 --json result.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import IO

KEY = Path(__file__).parents[1] / "core/signing/tests/keys/p256.pem"
MODES = ("off", "hashlib", "background", "inline")
ABOUT = {
    "off": "torch.save, without this package",
    "hashlib": "torch.save, then hashlib.file_digest(sha256): what any signature costs on one thread",
    "background": "MODEL_SIGNING_MODE=background",
    "inline": "MODEL_SIGNING_MODE=inline",
}


def save_on_command(mode: str, folder: Path, size: int) -> None:
    """The process of one mode: for every line on stdin save once, answer with seconds [saved, signed]."""
    if mode in {"background", "inline"}:
        os.environ |= {
            "MODEL_SIGNING_MODE": mode,
            "MODEL_SIGNING_PRIVATE_KEY": str(KEY),
            "MODEL_SIGNING_LOG_LEVEL": "warning",
        }
        os.environ |= {"MODEL_SIGNING_SPOOL": str(folder / "spool"), "MODEL_SIGNING_ON_ERROR": "warn"}
        from model_signing import autosign
    import torch

    tensors = max(1, size // 8_000_000)
    state = {f"layer{n}": torch.rand(size // tensors // 4) for n in range(tensors)}
    path = folder / f"{mode}.pt"
    for _ in sys.stdin:
        start = time.perf_counter()
        torch.save(state, path)
        if mode == "hashlib":
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
        saved = time.perf_counter() - start
        if mode in {"background", "inline"}:
            status = autosign.flush()
            assert status.failed == status.pending == 0, status
            assert path.with_name(f"{path.name}.sig").exists()
        print(json.dumps([saved, time.perf_counter() - start]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=float, default=1e9, help="size of the state dict")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path, help="also write every time here")
    parser.add_argument("--folder", type=Path, help="where to save; default: a temporary folder")
    parser.add_argument("--mode", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.mode:
        save_on_command(options.mode, options.folder, int(options.bytes))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rounds = measure(Path(folder), options.bytes, options.rounds)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))
    report(rounds, options.bytes)


def measure(folder: Path, size: float, count: int) -> list[dict[str, list[float]]]:
    command = [sys.executable, __file__, "--folder", str(folder), "--bytes", str(size), "--mode"]
    savers = {
        mode: subprocess.Popen([*command, mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for mode in MODES
    }
    rounds = []
    for number in range(count + 1):
        shift = number % len(MODES)
        rounds.append({mode: ask(savers[mode]) for mode in MODES[shift:] + MODES[:shift]})
    for saver in savers.values():
        pipe(saver.stdin).close()
        assert saver.wait() == 0
    return rounds[1:]  # the first one warms up


def ask(saver: subprocess.Popen[str]) -> list[float]:
    os.sync()  # no save pays for what another one left to be written
    pipe(saver.stdin).write("save\n")
    pipe(saver.stdin).flush()
    answer: list[float] = json.loads(pipe(saver.stdout).readline())
    return answer


def pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def report(rounds: list[dict[str, list[float]]], size: float) -> None:
    import torch

    print(f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")
    print(f"{size / 1e9:g} GB, {len(rounds)} rounds")
    print(f"plain torch.save: median {statistics.median(one['off'][0] for one in rounds):.2f} s\n")
    print("| | save returns after | signature there after |\n|---|---|---|")
    for mode in MODES[1:]:
        columns = [
            [one[mode][which] / one["off"][0] for one in rounds]
            for which in ((0, 1) if mode in {"background", "inline"} else (0,))
        ]
        cells = [f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})" for ratios in columns]
        print(f"| {ABOUT[mode]} | {' | '.join(cells + ['-'] * (2 - len(cells)))} |")


if __name__ == "__main__":
    main()
