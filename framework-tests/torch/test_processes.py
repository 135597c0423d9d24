"""Forked processes that save with torch: no deadlock, and every file is signed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

# Small tensors: filling a large one in a forked child hangs in OpenMP, without us too.
SCRIPT = """
    import os
    import model_signing.autosign as autosign
    import torch

    class Saving(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            torch.save(torch.zeros(99), f"item{index}.pt")
            return torch.tensor(index)

    if __name__ == "__main__":
        torch.save(torch.zeros(99), "before.pt")
        child = os.fork()
        torch.save(torch.zeros(99), "child.pt" if child == 0 else "parent.pt")
        if child == 0:
            assert autosign.flush(timeout=30).signed == 1
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

        loader = torch.utils.data.DataLoader(Saving(), num_workers=2, multiprocessing_context="fork")
        for epoch in range(2):
            assert sorted(batch.item() for batch in loader) == [0, 1, 2, 3]
            torch.save(epoch, f"epoch{epoch}.pt")
"""


def test_fork_and_data_loader(run_script: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    result = run_script(SCRIPT, timeout=60)
    assert result.returncode == 0, result.stderr
    names = ["before", "child", "epoch0", "epoch1", "item0", "item1", "item2", "item3", "parent"]
    assert sorted(path.name for path in tmp_path.glob("*.sig")) == [f"{name}.pt.sig" for name in names]
