"""Upstream's Python with its package loaded, which takes it a second: every call is run by a fork of this process.

So a call finds nothing that one before it left behind. Calls come on standard input and results go to standard output,
each a line of JSON; a call has the arguments of a Python command.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import sys
import tempfile
import traceback
from typing import Any, NoReturn

LOADED = (
    "model_signing._cli",
    "model_signing._signing.sign_pkcs11",
    # These it would load when it first hashes, signs and writes a signature.
    "concurrent.futures.thread",
    "cryptography.hazmat.backends.openssl.backend",
    "google.protobuf.descriptor_pb2",
)


def main() -> None:
    for name in LOADED:
        importlib.import_module(name)
    gc.freeze()  # what is loaded stays shared between the forks
    for line in sys.stdin:
        call = json.loads(line)
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = os.fork()
            if child == 0:
                answer(call, out.fileno(), err.fileno())
            result: dict[str, Any] = {"code": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}
            for name, file in {"stdout": out, "stderr": err}.items():
                file.seek(0)
                result[name] = file.read().decode()
        print(json.dumps(result), flush=True)


def answer(call: dict[str, Any], out: int, err: int) -> NoReturn:
    """End as Python would, but without taking apart what is loaded, which takes as long again."""
    code: int | str | None = 1
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(call["cwd"])
        os.environ.clear()
        os.environ.update(call["environment"])
        run(call["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001 - as Python does
        traceback.print_exc()
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def run(arguments: list[str]) -> None:
    sys.argv = arguments
    if sys.argv[0] == "-m":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    elif sys.argv[0] == "-c":
        code = compile(sys.argv.pop(1), "<string>", "exec")
        exec(code, {"__name__": "__main__"})  # noqa: S102 - a test's own
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
