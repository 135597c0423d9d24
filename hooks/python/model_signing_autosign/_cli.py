# SPDX-License-Identifier: Apache-2.0
"""The console script ``model-signing``; the command itself is in the Rust core."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from model_signing_autosign import _core, _startup, frameworks


def main() -> NoReturn:
    """Run the command line of this process and exit with its status.

    Raises:
        SystemExit: Always, with the exit status.
    """
    # Python only notes Ctrl-C and acts on it between bytecodes, of which a long Rust call has none. Who started this
    # with Ctrl-C ignored, as a shell does in the background, wants it so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["run"]:
        # Python ignores it, and so would the program. It does the same with SIGPIPE, which Rust sets right.
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # Only the doctor asks what is installed, which takes longer than most commands.
    installed = frameworks.installed() if sys.argv[1:2] == ["doctor"] else []
    raise SystemExit(_core.run(sys.argv, installed, _startup.FOLDER))
