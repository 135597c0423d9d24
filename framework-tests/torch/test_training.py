"""A training loop as people write it by hand: what it keeps is signed, and is what it keeps without us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import model_signing_autosign
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

TRAIN = """
    import model_signing.autosign
    import os, shutil, sys
    from pathlib import Path
    import torch

    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = torch.nn.Linear(64, 64)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    data = torch.randn(32, 64)
    start, best = 0, float("inf")
    if (folder / "last.pt").exists():
        state = torch.load(folder / "last.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, best = state["epoch"] + 1, state["best"]
        assert start == int(sys.argv[2]), start
    for epoch in range(start, int(sys.argv[3])):
        loss = (model(data) - data).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch, "best": best}
        torch.save(state, folder / "last.pt")  # in place, again and again
        torch.save(state, folder / f"epoch-{epoch}.pt")
        (folder / f"epoch-{epoch - 2}.pt").unlink(missing_ok=True)
        step = folder / f"step-{epoch}"
        step.mkdir()
        torch.save(model.state_dict(), step / "model.pt")
        torch.save(optimizer.state_dict(), step / "optimizer.pt")
        shutil.rmtree(folder / f"step-{epoch - 1}", ignore_errors=True)
        if loss.item() < best and epoch % 3 == 0:
            best = loss.item()
            torch.save(model.state_dict(), folder / "best.tmp")
            os.replace(folder / "best.tmp", folder / "best.pt")
"""
KEPT = ["best.pt", "epoch-6.pt", "epoch-7.pt", "last.pt", "step-7/model.pt", "step-7/optimizer.pt"]


@pytest.mark.parametrize("mode", ["background", "inline"])
def test_by_hand(mode: str, run_script: Callable[..., CompletedProcess[str]], tmp_path: Path, keys: Any) -> None:
    for name, settings in (("signed", mode), ("silent", "disabled")):
        for start, end in ((0, 5), (5, 8)):
            result = run_script(TRAIN, name, str(start), str(end), MODE=settings)
            assert result.returncode == 0, result.stderr
    signed, silent = (
        {
            str(path.relative_to(tmp_path / name)): path.read_bytes()
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        }
        for name in ("signed", "silent")
    )
    assert sorted(silent) == KEPT
    assert sorted(signed) == sorted([*KEPT, *(f"{name}.sig" for name in KEPT)])
    assert {name: signed[name] for name in KEPT} == silent
    for name in KEPT:
        verified = model_signing_autosign.verify(tmp_path / "signed" / name, public_key=keys.public)
        assert verified == [name.rpartition("/")[2]]
    assert {path.suffix for path in (tmp_path / "spool").iterdir() if path.is_file()} <= {".lock"}
