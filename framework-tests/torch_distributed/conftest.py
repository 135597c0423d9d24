"""Scripts run by torchrun: one process for each rank, on this machine, with gloo."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

LAUNCH = """
    import sys
    from torch.distributed.run import main

    if __name__ == "__main__":
        main(sys.argv[1:])
"""
# Port 0: a free one.
LOCAL = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0", "--local-addr", "127.0.0.1")


@pytest.fixture
def torchrun(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> Callable[..., CompletedProcess[str]]:
    """Run a script on several ranks, in the test's folder; settings as keywords, as for `run_script`."""

    def torchrun(script: str, ranks: int, *arguments: str, **overrides: str | None) -> CompletedProcess[str]:
        worker = tmp_path / "worker.py"
        worker.write_text(textwrap.dedent(script), encoding="utf-8")
        command = ("--nproc-per-node", str(ranks), *LOCAL, str(worker), *arguments)
        result = run_script(LAUNCH, *command, timeout=60, **overrides)
        assert result.returncode == 0, result.stderr
        return result

    return torchrun
