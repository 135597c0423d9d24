"""The oldest release that each hook is made for, in an environment of its own, which `make oldest` makes.

Each script saves by every hooked function that there is. Nothing is listed here: the files that it leaves have to be
those that the signatures name, and the functions called those that the hook says this release has.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign import VerificationError, frameworks, verify

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess

    from model_signing_autosign._patch import Patch

    Run = Callable[..., CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
SCRIPTS = Path(__file__).with_name("scripts")

BEFORE = """
import importlib, json, os, sys
import model_signing_autosign as autosign
from model_signing_autosign import _patch, frameworks

def noting(patch):
    wrapper = patch.wrapper
    def noted(*args, **kwargs):
        called.add(patch.names[0])
        return wrapper(*args, **kwargs)
    patch.wrapper = noted

called, patches = set(), list(frameworks.patches([sys.argv[1]]))
for patch in patches:
    noting(patch)
os.mkdir("saved")
os.chdir("saved")
autosign.enable()
"""

AFTER = """
def there(patch):
    try:
        importlib.import_module(patch.module)
    except ImportError:
        return False
    return _patch._lookup(patch.names[0]) is not None

assert autosign.flush(timeout=60).pending == 0
told = {patch.names[0]: [there(patch), patch.names[0] in called, patch.framework.version()] for patch in patches}
print(json.dumps(told))
"""


# What is rightly said: that there is something which is not signed.
SAID = {
    "flax": {
        "model-signing: msgpack/checkpoint_0 is unsigned: Flax would take a signature beside it for a checkpoint; with "
        "orbax it is signed"
    },
    "tf_keras": {
        "model-signing: keras 2.15.0 is none of the versions that this hook is made for, >=3.0,<4: what it saves is "
        "not signed"
    },
}


def load_table() -> Any:
    spec = importlib.util.spec_from_file_location("table", ROOT / "hooks/table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLE = load_table()


def hooked() -> dict[str, tuple[str, list[tuple[Patch, str]]]]:
    """Tell of each environment the hook, and what that hooks there, of which release."""
    found: dict[str, tuple[str, list[tuple[Patch, str]]]] = {}
    for hook in frameworks.NAMES:
        for patch in importlib.import_module(f"{frameworks.__name__}.{hook}").PATCHES:
            environment, release = TABLE.oldest(hook, patch.framework)
            found.setdefault(environment, (hook, []))[1].append((patch, release))
    return found


HOOKED = hooked()


def python(environment: str) -> Path:
    return ROOT / "build/oldest" / environment / "bin/python"


@pytest.mark.parametrize("environment", HOOKED)
def test_all_that_it_saves_is_signed(environment: str, run_script: Run, tmp_path: Path, keys: Any) -> None:
    hook, patches = HOOKED[environment]
    script = BEFORE + (SCRIPTS / f"{environment}.py").read_text(encoding="utf-8") + AFTER
    result = run_script(
        script, hook, python=python(environment), timeout=240, HOOKS=f"{hook},orbax" if hook == "flax" else hook
    )
    assert result.returncode == 0, result.stderr
    said = {line for line in result.stderr.splitlines() if line.startswith("model-signing: ")}
    assert {line for line in said if not line.startswith("model-signing: signed ")} == SAID.get(environment, set())
    assert "callbacks from entry point" not in result.stderr  # Lightning asks our plugin, which has none to add
    told = json.loads(result.stdout.splitlines()[-1])
    for patch, release in patches:
        there, called, version = told[patch.names[0]]
        assert version.partition("+")[0] == release
        name = patch.names[0]
        assert there is (not patch.since), f"{name} is in {release}: {there}"
        assert called is (there and not name.endswith(TABLE.NOT_RUN)), f"{name} was called: {called}"
    saved = tmp_path / "saved"
    signed = set()
    for signature in saved.rglob("*.sig"):
        model = signature.parent if signature.name == "model.sig" else signature.with_suffix("")
        if signature.parent.name == "files":  # in .signatures
            model = saved / signature.relative_to(saved).parent.parent.parent / model.name
        folder = model if model.is_dir() else model.parent
        files = [folder / name for name in verify(model, public_key=keys.public)]
        signed.update(files)
        content = files[0].read_bytes()
        files[0].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(VerificationError):
            verify(model, public_key=keys.public)
        files[0].write_bytes(content)
    assert signed
    assert signed == {path for path in saved.rglob("*") if path.is_file() and path.suffix != ".sig"}


@pytest.mark.parametrize("environment", ["torch"])
def test_an_older_release_is_told_once(environment: str, run_script: Run) -> None:
    """Of torch 2.0, torch.save is signed and torch.distributed.checkpoint is not."""
    script = """
        import sys
        import model_signing_autosign as autosign
        for step in sys.argv[1:]:
            if step == "import":
                import torch, torch.distributed.checkpoint
            else:
                getattr(autosign, step)()
    """
    for order in ("enable import", "import enable", "enable import enable disable enable"):
        result = run_script(script, *order.split(), python=python(environment))
        assert result.returncode == 0, result.stderr
        assert result.stderr == (
            "model-signing: torch 2.0.0+cu117 is none of the versions that this hook is made for, >=2.2,<3: "
            "what torch.distributed.checkpoint saves is not signed\n"
        )
