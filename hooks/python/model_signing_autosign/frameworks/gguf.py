# SPDX-License-Identifier: Apache-2.0
"""GGUF files, as llama.cpp's conversion scripts write them.

A writer holds its files open from the header to ``close``, which is where they are complete. How far it got shows:
``close`` in a ``finally`` after a failure leaves a file that ends early, and is not signed. With splitting on, it
writes several files, which are one model.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import contained
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Scope

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMEWORK: Final = Framework("gguf", versions=">=0.10,<1", tested="0.19.0")


def _written(writer: Any) -> list[str]:
    """Return the files that closing this writer completes."""
    files = [os.path.abspath(file.name) for file in writer.fout or ()]
    state, left = writer.state.name, sum(map(len, writer.tensors))
    if state == "WEIGHTS":
        # write_tensors_to_file leaves its list of tensors whole, write_tensor_data takes each one out of it.
        return files if left in {0, sum(map(_tensors_announced, files))} else []
    # A file of vocabulary only has no tensors to come after its keys.
    return files if state in {"KV_DATA", "TI_DATA"} and not left else []


def _tensors_announced(file: str) -> int:
    with open(file, "rb") as opened:
        _, version, tensors = struct.unpack("4s4s8s", opened.read(16))
    # The version is a small number, so this is the end of it that comes first.
    return int.from_bytes(tensors, "little" if version[0] else "big")


def _close(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    files: list[str] = []
    with contained("follow a save of gguf"):
        files = _written(args[0])
    with Scope(files[0] if files else None, FRAMEWORK.name) as scope:
        if len(files) > 1:
            scope.files = files
        return original(*args, **kwargs)


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        _close,
        ("gguf.gguf_writer:GGUFWriter.close",),
        seen="all that a `GGUFWriter` writes, once it is closed",
        signed="the file; split files together",
        complete="on return of `close`",
    ),
)
