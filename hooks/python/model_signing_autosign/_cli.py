# SPDX-License-Identifier: Apache-2.0
"""The console script ``model-signing``; the command itself is in the Rust core."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from model_signing_autosign import _core, frameworks


def main() -> NoReturn:
    """Run the command line of this process and exit with its status.

    Raises:
        SystemExit: Always, with the exit status.
    """
    # Python only notes Ctrl-C and acts on it between bytecodes, of which a long Rust call has none.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Only the doctor asks what is installed, which takes longer than most commands.
    installed = frameworks.installed() if sys.argv[1:2] == ["doctor"] else []
    raise SystemExit(_core.run(sys.argv, installed))
