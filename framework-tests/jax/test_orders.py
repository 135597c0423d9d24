"""Signing enabled and disabled before and after orbax is imported; and the plugin, with the hooks on and off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    Run = Callable[..., CompletedProcess[str]]

# Steps come as arguments. Each save must be signed exactly if signing is enabled.
ORDERS = """
    import sys
    from pathlib import Path
    import model_signing_autosign as autosign

    enabled, saved, bound = False, 0, []
    for step in sys.argv[1:]:
        if step == "enable":
            autosign.enable()
            enabled = True
        elif step == "disable":
            autosign.disable()
            enabled = False
        elif step == "import":
            import numpy, orbax.checkpoint as ocp
            from orbax.checkpoint.experimental import v1
        elif step == "bind":
            from orbax.checkpoint import PyTreeCheckpointer
            from orbax.checkpoint.experimental.v1 import save
            from orbax.checkpoint.experimental.v1.partial import finalize
            bound.append((PyTreeCheckpointer, save, finalize))
        elif step == "save":
            saved += 1
            folder, state = Path(str(saved)).absolute(), {"w": numpy.ones(3)}
            choices = [(ocp.PyTreeCheckpointer, v1.save, v1.partial.finalize), *bound]
            for number, (checkpointer, save, finalize) in enumerate(choices):
                with checkpointer() as opened:
                    opened.save(folder / f"{number} pytree", state)
                save(folder / f"{number} save", state)
                v1.partial.save(folder / f"{number} partial", state)
                finalize(folder / f"{number} partial")
            autosign.flush(timeout=30)
            steps = sorted(folder.iterdir())
            assert len(steps) == 3 * len(choices)
            assert {path.parent for path in Path(folder).rglob("*.sig")} == (set(steps) if enabled else set())
        if not enabled:
            ours = [found for found in sys.meta_path if type(found).__module__.startswith("model_signing_autosign")]
            assert ours == [], ours
    print("ok", saved)
"""


@pytest.mark.parametrize(
    "steps",
    [
        "enable import bind save disable save enable save",
        "import bind save enable enable save disable disable save",
        "enable disable import save bind enable save",
    ],
)
def test_orders(steps: str, run_script: Run) -> None:
    result = run_script(ORDERS, *steps.split(), timeout=120)
    assert result.stdout == f"ok {steps.count('save')}\n", result.stderr
    assert "cannot" not in result.stderr


def test_hooks_import_nothing(run_script: Run) -> None:
    script = """
        import sys
        import model_signing.autosign
        print(sorted({"jax", "flax", "orbax", "etils"} & set(sys.modules)))
        import orbax.checkpoint, flax
        from jax._src import xla_bridge
        print(xla_bridge._backends)
    """
    result = run_script(script, timeout=120)
    assert (result.stdout, result.returncode) == ("[]\n{}\n", 0), result.stderr
    assert "model-signing" not in result.stderr


PLUGIN = """
    import os, sys
    from pathlib import Path
    import model_signing_autosign as autosign
    if "enable" in sys.argv:
        autosign.enable()
    import numpy
    import orbax.checkpoint as ocp
    from model_signing_autosign.plugins.orbax import AutosignPath
    from orbax.checkpoint.args import Composite, JsonSave, StandardSave

    folder, state = Path("run").absolute(), {"w": numpy.ones(3)}
    options = ocp.CheckpointManagerOptions(max_to_keep=2, temporary_path_class=AutosignPath)
    for start in (0, 2):
        with ocp.CheckpointManager(folder / "manager", options=options) as manager:
            assert manager.latest_step() == (start - 1 if start else None)
            for step in range(start, start + 2):
                parts = Composite(state=StandardSave(state), data=JsonSave({"seen": step}))
                manager.save(step, args=parts, metrics={"loss": 1.0})
        autosign.flush(timeout=30)
    with ocp.AsyncCheckpointer(ocp.PyTreeCheckpointHandler(), temporary_path_class=AutosignPath) as checkpointer:
        checkpointer.save(folder / "one", state)
        checkpointer.save(folder / "one", state, force=True)
        with autosign.paused():
            checkpointer.save(folder / "paused", state)
        assert (checkpointer.restore(folder / "one")["w"] == 1).all()
        autosign.flush(timeout=30)
        autosign.disable()
        checkpointer.save(folder / "disabled", state)
    status = autosign.flush(timeout=30)
    print(status.signed, status.failed)
"""


@pytest.mark.parametrize(("hooks", "mode"), [("none", "background"), ("auto", "inline"), ("none", "disabled")])
def test_plugin(hooks: str, mode: str, run_script: Run, tmp_path: Path, verified: Callable[[Path], set[str]]) -> None:
    options = ["enable"] if hooks == "auto" else []
    result = run_script(PLUGIN, *options, timeout=120, HOOKS=hooks, MODE=mode)
    assert result.returncode == 0, result.stderr
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"manager", "one", "paused", "disabled"}
    signed = set() if mode == "disabled" else {"manager/2", "manager/3", "one"}
    assert verified(tmp_path / "run") == signed
    # Inline each save is signed once, those that were removed later too.
    assert result.stdout == {"background": "5 0\n", "inline": "6 0\n", "disabled": "0 0\n"}[mode], result.stderr
