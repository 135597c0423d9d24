"""A secret in the place of something else is nowhere to be read: not in an exception, a line or a file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from subprocess import CompletedProcess

    from conftest import Keys

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ0cmFpbmVyIn0.c2lnbmF0dXJlLW9mLXRoYXQ"  # noqa: S105 - of nobody

# Calls everything that is public with the secret for one argument after the other, and prints what came of it.
SCRIPT = """
import inspect, json, sys, traceback
import model_signing_autosign as autosign
from model_signing_autosign import hashing, signing, verifying

secret, key, model = json.load(open(sys.argv[1]))
calls = {name: getattr(autosign, name) for name in ("sign", "verify", "wait", "doctor", "flush")}
for module in (hashing, signing, verifying):
    for name in module.__all__:
        owner = getattr(module, name)
        if inspect.isclass(owner):
            for method, function in inspect.getmembers(owner, inspect.isfunction):
                if not method.startswith("_"):
                    calls[f"{module.__name__}.{name}.{method}"] = (owner, method)
        elif inspect.isfunction(owner):
            calls[f"{module.__name__}.{name}"] = owner

def bound(call):
    if not isinstance(call, tuple):
        return call
    owner, method = call
    made = owner()
    if owner is not hashing.Config:
        made = made.use_elliptic_key_signer(private_key=key) if owner is signing.Config else made
        if owner is verifying.Config:
            made.use_elliptic_key_verifier(public_key=key.replace(".pem", ".pub.pem"))
    return getattr(made, method)

seen = 0
for name, call in calls.items():
    for parameter in inspect.signature(bound(call)).parameters.values():
        for value in (secret, [secret]):
            others = {
                other.name: model if "model" in other.name else key
                for other in inspect.signature(bound(call)).parameters.values()
                if other.default is other.empty and other.name != parameter.name
            }
            for more in ({}, {"private_key": key}, {"identity": "a", "identity_provider": "b"}):
                if name in ("sign", "verify") and parameter.name not in more:
                    others = others | more
                elif more:
                    continue
                seen += 1
                try:
                    result = bound(call)(**(others | {parameter.name: value}))
                except BaseException as error:
                    print(name, parameter.name, repr(error), getattr(error, "filename", ""), traceback.format_exc())
                else:
                    print(name, parameter.name, result)
print("calls:", seen)
"""


@pytest.mark.parametrize("kind", ["key", "base64", "token"])
def test_no_call_repeats_a_secret(
    kind: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    keys: Keys,
    run_script: Callable[..., CompletedProcess[str]],
) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    pem = keys.private.read_text()
    lines = [line for line in pem.splitlines() if "---" not in line]
    secret, parts = {
        "key": (pem, lines),
        "base64": ("".join(lines), lines),
        "token": (TOKEN, TOKEN.split(".")),
    }[kind]
    given = tmp_path_factory.mktemp("given") / "given.json"
    given.write_text(json.dumps([secret, str(keys.private), str(tmp_path / "model.pt")]))
    done = run_script(SCRIPT, str(given), INSTANCE="http://127.0.0.1:9")  # an instance that nobody asks
    said = done.stdout + done.stderr
    assert "calls: " in done.stdout, said
    assert int(said.split("calls: ")[1].split()[0]) > 100
    files = " ".join(str(path) for path in tmp_path.rglob("*"))
    for part in parts:
        assert part not in said, said[max(0, said.index(part) - 300) :][:600]
        assert part not in files, files


def test_a_key_in_the_place_of_its_path_signs(
    tmp_path: Path, keys: Keys, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    done = run_script(f"""
        import model_signing_autosign as autosign
        from model_signing_autosign import signing
        key = open({str(keys.private)!r}).read()
        print(autosign.sign("model.pt", private_key=key).name)
        print(autosign.verify("model.pt", public_key={str(keys.public)!r}))
        signing.Config().use_elliptic_key_signer(private_key=key).sign("model.pt", "other.sig")
    """)
    assert done.stdout.split() == ["model.pt.sig", "['model.pt']"], done.stderr
    assert (tmp_path / "other.sig").exists()


def test_a_key_in_the_environment_signs_what_is_saved(
    tmp_path: Path, keys: Keys, run_script: Callable[..., CompletedProcess[str]]
) -> None:
    pem = keys.private.read_text()
    script = """
        import model_signing_autosign as autosign
        open("model.pt", "wb").write(b"weights")
        print(autosign.sign("model.pt").name)
        print(autosign.doctor()["ready"])
    """
    done = run_script(script, PRIVATE_KEY=pem, EVENTS=str(tmp_path / "events"))
    assert done.stdout.split() == ["model.pt.sig", "True"], done.stderr
    assert done.stderr.count("which child processes inherit") == 1
    said = done.stdout + done.stderr + (tmp_path / "events").read_text()
    assert not any(line in said for line in pem.splitlines())
