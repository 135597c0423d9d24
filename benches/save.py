"""How long `torch.save` of a state dict takes with signing off, in background mode, and in inline mode.

One process and one state dict; each round saves once in each mode, in random order, and a round's times are compared
with each other only. What is pending is waited for before the next save, and that time is shown on its own. So is the
time that a save spends inside this package, which is the part of the ratio that is no noise.

    python benches/save.py                  1 GB, 11 rounds
    python benches/save.py --bytes 100e6 --rounds 3 --json result.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from model_signing_autosign import _core, _session, disable, enable

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = Path(__file__).parents[1] / "core/signing/tests/keys/p256.pem"
ABOUT = {
    "off": "plain `torch.save`",
    "hashlib": "plain, then `hashlib` with SHA-256 over the file",
    "background": "`MODEL_SIGNING_MODE=background`, the default",
    "inline": "`MODEL_SIGNING_MODE=inline`",
}
SIGNING = ("background", "inline")

Round = dict[str, list[float]]  # mode: seconds until saved, until signed, inside this package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bytes", type=float, default=1e9, help="size of the state dict")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--json", type=Path, help="also write every time here")
    parser.add_argument("--folder", type=Path, help="where to save; default: a temporary folder")
    parser.add_argument("--smoke", action="store_true", help="as little as shows that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.bytes, options.rounds = 1e6, 1
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        rounds = measure(Path(folder), int(options.bytes), options.rounds)
    if options.json:
        options.json.write_text(json.dumps(rounds, indent=1))
    report(rounds, options.bytes)


def measure(folder: Path, size: int, count: int) -> list[Round]:
    count_of_tensors = max(1, size // 8_000_000)
    state = {f"layer{n}": torch.rand(size // count_of_tensors // 4) for n in range(count_of_tensors)}
    sessions = {mode: session(mode, folder) for mode in SIGNING}
    inside: list[float] = []
    vars(_session)["saved"] = timed(_session.saved, inside)
    rounds = []
    for number in range(count + 1):
        order = random.Random(number).sample(list(ABOUT), len(ABOUT))  # noqa: S311 - a fair order is all
        rounds.append({mode: save(mode, state, folder / "last.pt", sessions, inside) for mode in order})
    return rounds[1:]  # the first one warms up


def session(mode: str, folder: Path) -> _core.Session:
    os.environ |= {"MODEL_SIGNING_MODE": mode, "MODEL_SIGNING_PRIVATE_KEY": str(KEY)}
    os.environ |= {"MODEL_SIGNING_SPOOL": str(folder / "spool"), "MODEL_SIGNING_LOG_LEVEL": "warning"}
    return _core.Session.from_environment()


def save(
    mode: str, state: dict[str, Any], path: Path, sessions: dict[str, _core.Session], inside: list[float]
) -> list[float]:
    disable()
    signature = path.with_name(f"{path.name}.sig")
    signature.unlink(missing_ok=True)
    if mode in SIGNING:
        # What a process with this setting would have had from its start.
        vars(_session)["_session"] = sessions[mode]
        enable()
    inside.clear()
    os.sync()  # no save pays for what another one left to be written
    start = time.perf_counter()
    torch.save(state, path)
    if mode == "hashlib":
        with path.open("rb") as file:
            hashlib.file_digest(file, "sha256")
    saved = time.perf_counter() - start
    if mode in SIGNING:
        status = sessions[mode].flush()
        assert status.failed == status.pending == 0, status
        assert signature.exists()
    return [saved, time.perf_counter() - start, sum(inside)]


def timed(saved: Callable[..., None], inside: list[float]) -> Callable[..., None]:
    def timed(*told: Any, **said: Any) -> None:
        start = time.perf_counter()
        saved(*told, **said)
        inside.append(time.perf_counter() - start)

    return timed


def report(rounds: list[Round], size: float) -> None:
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {os.cpu_count()} cores")
    plain = statistics.median(one["off"][0] for one in rounds)
    print(f"{size / 1e9:g} GB, {len(rounds)} rounds, plain torch.save: median {plain:.2f} s\n")
    print("| | save returns after | signature there after | of that, inside this package |\n|---|---|---|---|")
    for mode in ("hashlib", *SIGNING):
        signs = mode in SIGNING
        cells = [ratio(rounds, mode, which) if signs or which == 0 else "-" for which in (0, 1)]
        own = f"{statistics.median(one[mode][2] for one in rounds) * 1000:.1f} ms" if signs else "-"
        print(f"| {ABOUT[mode]} | {' | '.join(cells)} | {own} |")


def ratio(rounds: list[Round], mode: str, which: int) -> str:
    ratios = [one[mode][which] / one["off"][0] for one in rounds]
    return f"{statistics.median(ratios):.2f} x ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
