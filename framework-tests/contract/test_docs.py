"""The examples in the docstrings run."""

from __future__ import annotations

import importlib.util
import re
import shutil
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign._patch import Patch

if TYPE_CHECKING:
    from collections.abc import Callable
    from subprocess import CompletedProcess


PUBLIC = ("disable", "enable", "flush", "paused", "sign", "status", "verify", "wait")


@pytest.mark.parametrize("module", ["model_signing_autosign", "model_signing_autosign.errors"])
def test_examples(
    module: str, run_script: Callable[..., CompletedProcess[str]], keys: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copy(keys[0], tmp_path / "key.pem")
    shutil.copy(keys[1], tmp_path / "public.pem")
    (tmp_path / "model.pt").write_bytes(b"weights")
    script = """
        import doctest, importlib, sys
        tried, failed = 0, 0
        module = importlib.import_module(sys.argv[1])
        for test in doctest.DocTestFinder(exclude_empty=True).find(module):
            result = doctest.DocTestRunner().run(test)
            failed += result.failed
            tried += bool(test.examples)
        print(tried, failed)
    """
    result = run_script(script, module)
    tried, failed = result.stdout.splitlines()[-1].split()
    assert failed == "0", result.stdout
    assert int(tried) > 0


def test_the_template_for_a_new_hook() -> None:
    readme = Path(__file__).parents[2] / "hooks" / "README.md"
    (template,) = re.findall(r" *```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    module: dict[str, Any] = {}
    exec(compile(textwrap.dedent(template), readme, "exec"), module)  # noqa: S102 - our own page
    assert [type(patch) for patch in module["PATCHES"]] == [Patch]


def test_the_table_of_hooks_is_what_the_hooks_say() -> None:
    path = Path(__file__).parents[2] / "hooks" / "table.py"
    spec = importlib.util.spec_from_file_location("table", path)
    assert spec is not None
    assert spec.loader is not None
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    assert table.PAGE.read_text(encoding="utf-8") == table.page(), "run `make docs`"


def test_every_public_function_has_an_example() -> None:
    import model_signing_autosign as autosign

    for name in PUBLIC:
        assert ">>> " in getattr(autosign, name).__doc__, name
