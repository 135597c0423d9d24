"""Every command and option of upstream's `model_signing` is one of ours: upstream is asked for them.

An option counts as taken when our command line with it is understood, which `--help` at its end shows without doing
anything: what stands before it is parsed first.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from model_signing_autosign import _core

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "core/signing/tests/keys"
PYTHON = ROOT / "build/upstream/bin/python"
SIDES = ("ours", "upstream")

ASK = """
import json, click
from model_signing._cli import main

def ask(command, path):
    options = [param for param in command.params if isinstance(param, click.Option)]
    yield {"path": path, "options": [{
        "names": option.opts, "negated": option.secondary_opts, "is_flag": option.is_flag,
        "required": option.required, "values": list(getattr(option.type, "choices", ())),
    } for option in options]}
    if isinstance(command, click.Group):
        for name in command.list_commands(None):
            yield from ask(command.get_command(None, name), [*path, name])

print(json.dumps(list(ask(main, []))))
"""


class Option(NamedTuple):
    command: tuple[str, ...]
    name: str
    is_flag: bool
    required: bool
    values: tuple[str, ...]


def commands() -> list[dict[str, Any]]:
    asked = subprocess.run([PYTHON, "-c", ASK], capture_output=True, text=True, check=True)
    told: list[dict[str, Any]] = json.loads(asked.stdout)
    return told


def options() -> Iterator[Option]:
    for command in COMMANDS:
        for told in command["options"]:
            for name in [*told["names"], *told["negated"]]:
                path, values = tuple(command["path"]), tuple(told["values"])
                yield Option(path, name, told["is_flag"], told["required"], values)


COMMANDS = commands()
OPTIONS = list(options())
METHODS = [tuple(command["path"]) for command in COMMANDS if len(command["path"]) == 2]
# Ours looks where its own `sign` and the hooks put it.
OPTIONAL = {"--signature"}


def understood(*args: str) -> bool:
    code = _core.run(["model-signing", *args])
    assert code in {0, 2}
    return code == 0


def test_upstream_was_asked() -> None:
    assert {("sign", "sigstore"), ("sign", "key"), ("verify", "certificate")} <= set(METHODS)
    names = {option.name for option in OPTIONS}
    assert {"--private_key", "--no-ignore-git-paths", "--log-level", "--oauth_force_oob"} <= names
    assert len(OPTIONS) > 50


@pytest.mark.parametrize("method", METHODS, ids=" ".join)
def test_options_are_taken(method: tuple[str, ...]) -> None:
    assert not understood(*method, "model", "--no-such-option", "--help")
    taken = [option for option in OPTIONS if option.command == method]
    assert taken
    for option in taken:
        for name in {option.name, "--" + option.name[2:].replace("_", "-"), "--" + option.name[2:].replace("-", "_")}:
            if option.is_flag:
                # Were a value wanted, there would be none; and the last of several counts, as with upstream.
                assert understood(*method, "model", name, name, "--help"), name
                continue
            # Were no value wanted, it would be another model.
            assert understood(*method, "model", name, "one", name, "two", "--help"), name
            assert understood(*method, f"{name}=one", "model", "--help"), name


@pytest.mark.parametrize("method", METHODS, ids=" ".join)
def test_what_is_required_there_is_required_here(sides: Any, method: tuple[str, ...]) -> None:
    required = [option.name for option in OPTIONS if option.command == method and option.required]
    for name in required:
        if name in OPTIONAL:
            continue
        others = [word for other in required if other != name for word in (other, "value")]
        ran = sides.command("ours", *method, "model", *others)
        assert ran.returncode == 2, ran.stdout + ran.stderr
        assert name.replace("_", "-") in ran.stderr
    assert _core.run(["model-signing", *method]) == 2


@pytest.mark.parametrize("command", ["sign", "verify"])
def test_sigstore_is_the_default_method(sides: Any, command: str) -> None:
    for args in (["model"], ["--use_staging", "model"], ["./model", "--trust_config", "x"]):
        shown = sides.command("ours", command, *args, "--help")
        assert shown.returncode == 0
        assert shown.stdout == sides.command("ours", command, "sigstore", "--help").stdout


def test_options_of_the_whole(sides: Any) -> None:
    (level,) = (option for option in OPTIONS if option.command == () and option.values)
    for value in level.values:
        for spelled in (value, value.lower()):
            assert understood(level.name, spelled, "sign", "key", "model", "--help")
            assert understood(f"{level.name}={spelled}", "verify", "model", "--help")
    assert sides.command("ours", level.name, "LOUD", "env").returncode == 2
    assert [option.name for option in OPTIONS if option.command == ()] == ["--version", "--log-level"]
    for side in SIDES:
        shown = sides.command(side, "--version")
        assert (shown.returncode, shown.stderr) == (0, "")


@pytest.mark.parametrize("side", SIDES)
def test_messages_and_exit_codes(sides: Any, tmp_path: Path, side: str) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/a").write_bytes(b"1")
    sign = ("sign", "key", "model", "--private_key", KEYS / "p256.pem")
    signed = sides.command(side, *sign, cwd=tmp_path)
    assert (signed.returncode, signed.stdout, signed.stderr) == (0, "Signing succeeded\n", "")
    assert (tmp_path / "model.sig").is_file()
    verify = ("verify", "key", "model", "--signature", "model.sig", "--public_key", KEYS / "p256.pub.pem")
    verified = sides.command(side, *verify, cwd=tmp_path)
    assert (verified.returncode, verified.stdout) == (0, "Verification succeeded\n")
    (tmp_path / "model/a").write_bytes(b"2")
    refused = sides.command(side, *verify, cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("Verification failed with error: ")
    failed = sides.command(side, *sign[:2], "none", *sign[3:], cwd=tmp_path)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Signing failed with error: ")


IGNORED = {
    "none": [],
    "relative": ["--ignore-paths", "model/log"],
    "with a slash": ["--ignore-paths", "model/log/"],
    "with dots": ["--ignore-paths", "model/../model/./log"],
    "several": ["--ignore-paths", "model/log", "--ignore-paths", "model/sub/b"],
    "absolute": ["--ignore-paths", "{}/model/sub"],
    "of the model's folder, not the working directory": ["--ignore-paths", "log"],
    "outside": ["--ignore-paths", "/elsewhere"],
    "not there": ["--ignore-paths", "model/none"],
    "the last counts": ["--ignore-git-paths", "--no-ignore-git-paths"],
    "the last counts, the other way": ["--no-ignore-git-paths", "--ignore-git-paths"],
    "another signature": ["--signature", "model/sub/first.sig", "--signature", "model/sub/other.sig"],
}


@pytest.mark.parametrize("form", IGNORED)
def test_the_same_files_are_left_out(sides: Any, tmp_path: Path, form: str) -> None:
    said = []
    for name in SIDES:
        for path in ("a", "log/x", "sub/b", "sub/c", ".gitignore"):
            (tmp_path / name / "model" / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / "model" / path).write_bytes(b"1")
        args = [arg.format(tmp_path / name) for arg in IGNORED[form]]
        sides.run(name, "sign", "key", "model", "--private_key", KEYS / "p256.pem", *args, cwd=tmp_path / name)
        (signature,) = (tmp_path / name).rglob("*.sig")
        shown = sides.command("ours", "show", "--json", signature)
        statement = json.loads(shown.stdout)["statement"]
        files = {file["name"] for file in statement["files"]}
        said.append((signature.relative_to(tmp_path / name), files, set(statement["ignored_paths"])))
    assert said[0] == said[1]
