"""`model-signing-standalone`: upstream's names on a machine without upstream's package, and what is said beside it."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "bindings/standalone"
KEYS = ROOT / "core/signing/tests/keys"
UV = ROOT / "build/tools/bin/uv"
UPSTREAM = ["model-signing==1.1.1", "pyOpenSSL==26.4.0", "sigstore==4.5.1"]
WARNING = "RuntimeWarning: model-signing and model-signing-standalone are both installed"


def run(*command: str | Path, code: int = 0, **settings: str | Path) -> str:
    environment = {"PATH": "/usr/bin:/bin"} | {name: str(value) for name, value in settings.items()}
    words = list(map(str, command))
    result = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def uv(*command: str | Path) -> None:
    subprocess.run([UV, *map(str, command)], capture_output=True, check=True)


@pytest.fixture(scope="module")
def wheel() -> Path:
    (wheel,) = (ROOT / "build/wheel").glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder, SOURCE)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A fresh environment with what is named, installed in this order."""

    def make(*steps: list[str | Path]) -> Path:
        python = tmp_path_factory.mktemp("environment") / "env/bin/python"
        uv("venv", "--python", sys.executable, python.parents[1])
        for step in steps:
            uv("pip", "install", "--python", python, *step)
        return python

    return make


@pytest.fixture(scope="module")
def python(make: Callable[..., Path], wheel: Path, standalone: Path) -> Path:
    return make([wheel, standalone])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.bin").write_bytes(b"weights")
    return tmp_path / "model"


def test_it_is_pure_and_small(standalone: Path) -> None:
    names = [name for name in zipfile.ZipFile(standalone).namelist() if name.endswith(".py")]
    files = ["__init__", "__main__", "hashing", "manifest", "signing", "verifying"]
    assert sorted(names) == [f"model_signing/{name}.py" for name in files]


def test_versions_agree() -> None:
    (version,) = re.findall(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    project = (SOURCE / "pyproject.toml").read_text()
    assert f'version = "{version}"\n' in project
    assert f'"model-signing-autosign=={version}"' in project
    assert f'__version__ = "{version}"\n' in (SOURCE / "model_signing/__init__.py").read_text()


def test_the_commands(python: Path, model: Path, tmp_path: Path) -> None:
    command, signature = python.with_name("model_signing"), tmp_path / "model.sig"
    sign = ["sign", "key", model, "--signature", signature, "--private_key", KEYS / "p256.pem"]
    verify = ["verify", "key", model, "--signature", signature, "--public_key", KEYS / "p256.pub.pem"]
    for prefix in ([command], [python, "-m", "model_signing"]):
        assert run(*prefix, *sign) == "Signing succeeded\n"
        assert run(*prefix, *verify) == "Verification succeeded\n"
    (model / "weights.bin").write_bytes(b"other")
    assert "changed" in run(python, "-m", "model_signing", *verify, code=1)


def test_the_library(python: Path, model: Path, tmp_path: Path) -> None:
    script = """
        import sys, warnings
        from pathlib import Path
        warnings.simplefilter("error")
        import model_signing
        model, signature, private, public = map(Path, sys.argv[1:])
        model_signing.signing.Config().use_elliptic_key_signer(private_key=private).sign(model, signature)
        verifier = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=public)
        verifier.set_hashing_config(model_signing.hashing.Config()).verify(model, signature)
        assert isinstance(model_signing.hashing.hash(model), model_signing.manifest.Manifest)
        (model / "more").touch()
        try:
            verifier.verify(model, signature)
        except ValueError as error:
            print(error)
    """
    arguments = [model, tmp_path / "sig", KEYS / "p256.pem", KEYS / "p256.pub.pem"]
    assert "Extra files found in model 'model': more" in run(python, "-c", textwrap.dedent(script), *arguments)


@pytest.mark.parametrize("elsewhere", ["the package", "the names", "neither"])
def test_the_switch_is_found_from_any_folder(
    make: Callable[..., Path], wheel: Path, standalone: Path, tmp_path: Path, elsewhere: str
) -> None:
    folder, switch = tmp_path / "elsewhere", "import model_signing.autosign as a; print(a.__name__, a.flush().pending)"
    steps = {"the package": [standalone, wheel], "the names": [wheel, standalone], "neither": [standalone, wheel]}
    here, there = steps[elsewhere]
    python = make(["--no-deps", here])
    where = ["--target", folder] if elsewhere != "neither" else ["--python", python]
    uv("pip", "install", "--no-deps", *where, there)
    settings = {"PYTHONPATH": folder, "HOME": tmp_path, "MODEL_SIGNING_PRIVATE_KEY": KEYS / "p256.pem"}
    assert run(python, "-W", "error", "-c", switch, **settings) == "model_signing_autosign 0\n"
    assert run(python, "-c", "import model_signing.signing as s; print(s.Config.__module__)", **settings) == (
        "model_signing_autosign.signing\n"
    )


def test_beside_upstream_it_is_said(make: Callable[..., Path], wheel: Path, standalone: Path) -> None:
    python = make(UPSTREAM, [wheel, standalone])
    said = run(python, "-c", "import model_signing; print(model_signing.signing.Config.__module__)")
    assert WARNING in said
    assert "Uninstall both" in said
    assert "model_signing_autosign.signing" in said
    assert WARNING in run(python, "-c", "import model_signing.autosign")
    # What it says helps.
    uv("pip", "uninstall", "--python", python, "model-signing", "model-signing-standalone")
    uv("pip", "install", "--python", python, standalone)
    run(python, "-W", "error", "-c", "import model_signing.autosign; import model_signing.signing")


def test_upstream_that_is_installed_later_is_upstream(make: Callable[..., Path], wheel: Path, standalone: Path) -> None:
    python = make([wheel, standalone], UPSTREAM)
    script = "import model_signing.autosign; import model_signing.signing as s; print(s.Config.__module__, s.__file__)"
    said = run(python, "-c", script, MODEL_SIGNING_PRIVATE_KEY=KEYS / "p256.pem", HOME=python.parent)
    assert said.startswith("model_signing.signing ")
    run(python, "-c", "from model_signing._signing import sign_sigstore")


def test_it_is_typed(python: Path, tmp_path: Path) -> None:
    script = tmp_path / "use.py"
    script.write_text(
        "import model_signing\nimport model_signing.autosign\n"
        "reveal_type(model_signing.hashing.hash('m').model_name)\n"
        "reveal_type(model_signing.autosign.flush(timeout=1.0).signed)\n"
        "model_signing.signing.Config().use_elliptic_key_signer(private_key=1)\n"
    )
    mypy = [Path(sys.executable).with_name("mypy"), "--strict", "--python-executable", python, "--config-file", ""]
    said = run(*mypy, script, code=1)
    assert re.findall(r'Revealed type is "(?:builtins\.)?(\w+)"', said) == ["str", "int"]
    assert said.count("error:") == 1, said
    assert 'Argument "private_key"' in said
    run(*mypy, "--package", "model_signing")
