"""The README and a guide are true: their commands are run, in their order, and print what it says they print.

Console blocks run in one shell, Python blocks in one script each; both in a folder that holds nothing but the
examples. What differs from run to run is evened out: times, percentages, and the folder's name.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
MARK = "<<next>>"
PAGES = sorted(
    page
    for folder in (".", "benches", "core", "docs", "hooks")
    for page in (ROOT / folder).glob("*.md" if folder == "." else "**/*.md")
)


RUN = [ROOT / "README.md", ROOT / "docs/guide/frameworks.md"]
SIGNED = "model-signing: signed "
# TensorFlow's.
NOISE = ("WARNING: All log messages before absl", "I0000 ", "W0000 ", "E0000 ", "To enable the following instructions")


class Block(NamedTuple):
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*one) for one in re.findall(r"^```(\w+)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)]


def even(text: str, folder: Path) -> list[str]:
    text = text.replace(str(folder), "/home/you")
    text = re.sub(r"in \d+\.\d+ s", "in # s", text)
    text = re.sub(r"\b\d+m?s\b|\b\d\.\d{4}\b", "#", text)  # Keras' times and measures
    text = re.sub(r'(/jax/\d+" \()\d+\.\d', r"\1#", text)  # what tensorstore writes is not of one size
    return [re.sub(r"\d+%", "#%", line) for line in text.splitlines() if not line.startswith(NOISE)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path.resolve()


@pytest.fixture
def environment(folder: Path) -> dict[str, str]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MODEL_SIGNING_")}
    return outside | {"HOME": str(folder), "PATH": f"{Path(sys.executable).parent}:{outside['PATH']}"}


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    assert {block.language for block in blocks(RUN[0])} == {"console", "python", "mermaid", "sh", "yaml"}


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_console_and_python_blocks(page: Path, folder: Path, environment: dict[str, str]) -> None:
    for block in blocks(page):
        if block.language == "console":
            check_console(block.text, folder, environment)
        elif block.language == "python":
            script = [sys.executable, "-c", block.text]
            ran = subprocess.run(script, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stderr


def check_console(text: str, folder: Path, environment: dict[str, str]) -> None:
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    commands, outputs = parts[0::2], parts[1::2]
    script = "\n".join(f"{command}\necho '{MARK}'" for command in commands)
    # One stream, as on a terminal.
    shell = ["bash", "-c", f"exec 2>&1\n{script}\nexport -p > exported"]
    ran = subprocess.run(shell, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    for command, expected, actual in zip(commands, outputs, ran.stdout.split(f"{MARK}\n"), strict=False):
        expected_lines, actual_lines = even(expected, folder), even(actual, folder)
        if "train" in command:
            # How far the background has come when a checkpoint is removed is not the same in each run.
            signed = [line for line in expected_lines if line.startswith(SIGNED)]
            others = [line for line in expected_lines if not line.startswith(SIGNED)]
            assert [line for line in actual_lines if not line.startswith(SIGNED)] == others
            assert set(signed[-2:]) <= set(actual_lines)
        else:
            assert actual_lines == expected_lines, command
    for line in (folder / "exported").read_text().splitlines():
        if found := re.fullmatch(r'declare -x (MODEL_SIGNING_\w+)="(.*)"', line):
            environment[found[1]] = found[2]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target
