"""Signs, verifies or hashes a model through the library: upstream's or ours, which are told apart by name alone.

Run by the Python of either, with the name of the package: tasks come on standard input and what became of them goes to
standard output, each a line of JSON.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any


def perform(package: str, task: str, model: str, signature: str, **how: Any) -> str:
    """Say `good`, or what was raised; of a model to hash, its root digest.

    `who` is a method and its arguments; `ignored` are paths to leave out; `hashing`, with a `method`, says how to hash,
    but for which a verifier guesses.
    """
    try:
        return _perform(package, task, Path(model), Path(signature), **how)
    except Exception as error:  # noqa: BLE001 - upstream raises of many kinds
        return f"{type(error).__name__}: {error}"


def _perform(
    package: str,
    task: str,
    model: Path,
    signature: Path,
    *,
    who: tuple[str, dict[str, Any]] = ("", {}),
    ignored: tuple[str, ...] = (),
    hashing: dict[str, Any] | None = None,
    ignore_unsigned: bool = False,
) -> str:
    def configured(module: str) -> Any:
        return importlib.import_module(f"{package}.{module}").Config()

    method, given = who
    # The command line of either leaves the signature out.
    hashed = configured("hashing").set_ignored_paths(paths=[signature, *ignored], ignore_git_paths=True)
    if hashing is not None:
        config = dict(hashing)
        hashed = getattr(hashed, f"use_{config.pop('method')}_serialization")(**config)
    if task == "sign":
        signer = getattr(configured("signing"), f"use_{method}_signer")(**given)
        signer.set_hashing_config(hashed).sign(model, signature)
    elif task == "verify":
        verifier = getattr(configured("verifying"), f"use_{method}_verifier")(**given)
        if hashing is not None:
            verifier.set_hashing_config(hashed)
        verifier.set_ignore_unsigned_files(ignore_unsigned).verify(model, signature)
    else:
        digests = [one.digest.digest_value for one in hashed.hash(model).resource_descriptors()]
        return "sha256:" + hashlib.sha256(b"".join(digests)).hexdigest()
    return "good"


def main() -> None:
    # Upstream prints warnings.
    told, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(json.dumps(perform(sys.argv[1], **json.loads(line))), file=told, flush=True)


if __name__ == "__main__":
    main()
