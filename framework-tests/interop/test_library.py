"""The library: upstream's interface, call by call, gives with our package what it gives with upstream's 1.1.1.

`library.py` makes the calls, once with each. Where the two part, a test here says how.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import inspect
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from model_signing_autosign import errors, hashing, manifest, signing, verifying

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
KEYS = ROOT / "core/signing/tests/keys"
MODULES = [hashing, manifest, signing, verifying]

SCRIPT = Path(__file__).with_name("library.py")
CALLS = [
    function.name
    for function in ast.parse(SCRIPT.read_text(encoding="utf-8")).body
    if isinstance(function, ast.FunctionDef) and function.decorator_list
]
INTERFACE = CALLS.pop(0)


@pytest.fixture(scope="module")
def results(upstream: Any, certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What every call gives, by side and name."""

    def words(package: str) -> list[str]:
        return [str(SCRIPT), package, str(tmp_path_factory.mktemp(package)), str(KEYS), str(certificates)]

    command = [sys.executable, *words("model_signing_autosign")]
    ours = subprocess.run(command, capture_output=True, text=True, check=False)
    told = {"ours": ours, "upstream": upstream.python(*words("model_signing"))}
    for ran in told.values():
        assert ran.returncode == 0, ran.stderr
    return {side: json.loads(ran.stdout) for side, ran in told.items()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.bin").write_bytes(b"weights")
    return tmp_path / "model"


def key_signer() -> signing.Config:
    return signing.Config().use_elliptic_key_signer(private_key=KEYS / "p256.pem")


def key_verifier() -> verifying.Config:
    return verifying.Config().use_elliptic_key_verifier(public_key=KEYS / "p256.pub.pem")


def names(found: manifest.Manifest) -> list[str]:
    return [one.identifier for one in found.resource_descriptors()]


@pytest.mark.parametrize("call", CALLS)
def test_the_same_call_gives_the_same(results: dict[str, dict[str, Any]], call: str) -> None:
    assert results["ours"][call] == results["upstream"][call]


def test_the_interface_is_the_same(results: dict[str, dict[str, Any]]) -> None:
    ours, upstream = (results[side][INTERFACE] for side in ("ours", "upstream"))
    assert len(upstream) > 20
    assert {name: ours.get(name) for name in upstream} == upstream
    # Upstream keeps the class of digests in a private module.
    digest = {"manifest.Digest.digest_hex", "manifest.Digest.digest_size"}
    assert ours.keys() - upstream.keys() == {*digest, "signing.Config.set_compat"}


def test_what_is_signed_and_verified_is_good(results: dict[str, dict[str, Any]]) -> None:
    """Two failures would be the same, too."""
    ours = results["ours"]
    assert ours["sign_and_verify_with_certificates"][0] == ["good"] * 3
    assert ours["one_configuration_for_many_models"] == ["good"] * 2
    assert ours["copy_configurations"] == "good"
    assert len(ours["refuse_files_as_python_does"]) == 5
    assert ours["ignore_paths"][0][:2] == ["good"] * 2
    good = {name for name, result in ours["verify_as_configured"].items() if result == "good"}
    assert good == {"files as files", "blake3 as blake3", "shards as shards", "other shards as other shards"}


def test_upstream_takes_its_own_words(upstream: Any, model: Path, tmp_path: Path) -> None:
    weights = model / "weights.bin"
    shards = hashing.Config().use_shard_serialization(shard_size=4)
    for tool in ("model-signing-1", None):
        signer = key_signer().set_compat(tool)
        signer.sign(weights, tmp_path / f"file-{tool}")
        signer.set_hashing_config(shards).sign(model, tmp_path / f"shards-{tool}")
        for signed, signature in ((weights, f"file-{tool}"), (model, f"shards-{tool}")):
            key_verifier().verify(signed, tmp_path / signature)
    task = """
        import sys
        from pathlib import Path
        from model_signing import hashing, verifying
        folder, public = map(Path, sys.argv[1:])
        shards = hashing.Config().use_shard_serialization(shard_size=4)
        for tool in ("model-signing-1", None):
            for signature, model, config in (
                ("file", "model/weights.bin", None), ("shards", "model", shards),
            ):
                verifier = verifying.Config().use_elliptic_key_verifier(public_key=public)
                if config:
                    verifier.set_hashing_config(config)
                try:
                    verifier.verify(folder / model, folder / f"{signature}-{tool}")
                except ValueError:
                    print("bad")
                else:
                    print("good")
    """
    ran = upstream.python("-c", textwrap.dedent(task), tmp_path, KEYS / "p256.pub.pem")
    assert ran.stdout.split() == ["good", "good", "bad", "bad"], ran.stderr
    with pytest.raises(ValueError, match="model-signing-1"):
        key_signer().set_compat("model-signing-2")  # type: ignore[arg-type]


class TestOursDiffers:
    def test_a_single_file_has_its_own_name(self, model: Path) -> None:
        assert names(hashing.hash(model / "weights.bin")) == ["weights.bin"]

    def test_no_file_is_no_model(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match="no file to sign"):
            hashing.hash(tmp_path / "empty")

    def test_nothing_leaves_out_everything(self, model: Path) -> None:
        with pytest.raises(ValueError, match="covers the whole model"):
            hashing.Config().set_ignored_paths(paths=["."]).hash(model)

    def test_a_link_out_of_the_model_is_never_followed(self, model: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"secret")
        (model / "link").symlink_to("../secret")
        with pytest.raises(ValueError, match="symbolic link"):
            hashing.Config().set_allow_symlinks(True).hash(model)

    @pytest.mark.parametrize("method", ["use_file_serialization", "use_shard_serialization"])
    def test_arguments_of_a_method_count(self, model: Path, method: str) -> None:
        """Upstream takes no notice of these two."""
        (model / "link").symlink_to("weights.bin")
        (model / "notes").write_bytes(b"n")
        config = getattr(hashing.Config(), method)(allow_symlinks=True, ignore_paths=[Path("notes")])
        found = config.hash(model)
        assert [name.split(":")[0] for name in names(found)] == ["link", "weights.bin"]
        assert found.serialization_type["allow_symlinks"] is True
        assert "notes" in found.serialization_type["ignore_paths"]

    def test_the_signature_is_no_part_of_the_model(self, sides: Any, model: Path) -> None:
        signature = model / ".kaggle/signing.json"
        signature.parent.mkdir()
        for _ in range(2):
            key_signer().sign(model, signature)
            key_verifier().verify(model, signature)
        sides.verify("upstream", model, signature)

    def test_paths_may_be_bytes(self, model: Path, tmp_path: Path) -> None:
        signature = os.fsencode(tmp_path / "sig")
        key_signer().sign(os.fsencode(model), signature)
        key_verifier().verify(os.fsencode(model), signature)

    def test_passwords_may_be_text(self, model: Path, tmp_path: Path) -> None:
        key, signature = KEYS / "p256.encrypted.pem", tmp_path / "sig"
        signing.Config().use_elliptic_key_signer(private_key=key, password="checkpoint").sign(model, signature)  # noqa: S106
        key_verifier().verify(model, signature)
        for wrong in (None, "other"):
            with pytest.raises(ValueError, match="password"):
                signing.Config().use_elliptic_key_signer(private_key=key, password=wrong)

    def test_no_root_is_believed_by_default(self) -> None:
        with pytest.raises(ValueError, match="root"):
            verifying.Config().use_certificate_verifier()

    def test_a_root_in_the_model_is_not_believed(self, model: Path, certificates: Path, tmp_path: Path) -> None:
        shutil.copy(certificates / "root.pem", model / "root.pem")
        config = verifying.Config().use_certificate_verifier(certificate_chain=[model / "root.pem"])
        key_signer().sign(model, tmp_path / "sig")
        with pytest.raises(ValueError, match="lies in the model"):
            config.verify(model, tmp_path / "sig")

    def test_a_certificate_that_ended(self, model: Path, certificates: Path, tmp_path: Path) -> None:
        key, certificate = certificates / "expired.key.pem", certificates / "expired.pem"
        with pytest.raises(ValueError, match="ended at"):
            signing.Config().use_certificate_signer(
                private_key=key, signing_certificate=certificate, certificate_chain=[]
            ).sign(model, tmp_path / "sig")

    def test_paths_of_the_verifier_go_before_those_of_the_signer(self, model: Path, tmp_path: Path) -> None:
        (model / "logs").write_bytes(b"l")
        (model / "cache").write_bytes(b"c")
        without_logs = hashing.Config().set_ignored_paths(paths=["logs"])
        key_signer().set_hashing_config(without_logs).sign(model, tmp_path / "sig")
        with pytest.raises(errors.MismatchError) as refused:
            key_verifier().set_hashing_config(hashing.Config().set_ignored_paths(paths=["cache"])).verify(
                model, tmp_path / "sig"
            )
        assert refused.value.added == ["logs"]

    def test_an_error_names_files_and_says_what_to_do(self, model: Path, tmp_path: Path) -> None:
        key_signer().sign(model, tmp_path / "sig")
        (model / "weights.bin").write_bytes(b"other")
        (model / "new").write_bytes(b"")
        with pytest.raises(errors.MismatchError) as refused:
            key_verifier().verify(model, tmp_path / "sig")
        assert (refused.value.added, refused.value.missing, refused.value.changed) == (["new"], [], ["weights.bin"])
        assert "do not load this model" in refused.value.hint

    def test_a_public_instance_can_be_forbidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MODEL_SIGNING_PUBLIC_LOG", "deny")
        monkeypatch.setenv("MODEL_SIGNING_RETRIES", "0")
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        with pytest.raises(errors.ConfigError, match="PUBLIC_LOG"):
            signing.Config().use_sigstore_signer(identity_token="e30.e30.e30")  # noqa: S106 - no token


def test_the_root_digest_is_over_the_names_in_the_signature(model: Path, tmp_path: Path) -> None:
    """Not over the order of `resource_descriptors`, which is upstream's."""
    for name in ("a/b", "a-b"):
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(name.encode())
    key_signer().sign(model, tmp_path / "sig")
    payload = json.loads((tmp_path / "sig").read_text())["dsseEnvelope"]["payload"]
    (subject,) = json.loads(base64.b64decode(payload))["subject"]
    found = {one.identifier: one.digest.digest_value for one in hashing.hash(model).resource_descriptors()}
    assert list(found) == ["a/b", "a-b", "weights.bin"]
    digest = hashlib.sha256(b"".join(found[name] for name in sorted(found))).hexdigest()
    assert subject["digest"]["sha256"] == digest


def test_fingerprints_are_logged_as_upstream_does(
    upstream: Any, model: Path, certificates: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def pem(name: str) -> Path:
        return certificates / f"{name}.pem"

    signer = signing.Config().use_certificate_signer(
        private_key=pem("leaf1.key"), signing_certificate=pem("leaf1"), certificate_chain=[pem("one")]
    )
    signer.sign(model, tmp_path / "sig")
    with caplog.at_level(logging.INFO, logger="model_signing_autosign.verifying"):
        config = verifying.Config().use_certificate_verifier(certificate_chain=[pem("root")], log_fingerprints=True)
        config.verify(model, tmp_path / "sig")
    lines = [line.split(" Fingerprint: ") for line in caplog.messages]
    assert [what for what, _ in lines] == ["[  init  ] sha256", "[ verify ] sha256", "[ verify ] sha256"]
    task = """
        import logging, sys
        from pathlib import Path
        from model_signing import verifying
        logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
        root, model, signature = map(Path, sys.argv[1:])
        verifying.Config().use_certificate_verifier(certificate_chain=[root], log_fingerprints=True).verify(
            model, signature)
    """
    ran = upstream.python("-c", textwrap.dedent(task), pem("root"), model, tmp_path / "sig")
    assert ran.returncode == 0, ran.stderr
    assert sorted(ran.stdout.splitlines()) == sorted(caplog.messages)


@pytest.mark.parametrize("task", ["hash", "sign", "verify"])
def test_ctrl_c_ends_the_hashing_of_a_large_file(tmp_path: Path, task: str) -> None:
    key_signer().sign(__file__, tmp_path / "sig")
    statements = {
        "hash": "hashing.hash(model)",
        "sign": f"signing.Config().use_elliptic_key_signer(private_key={str(KEYS / 'p256.pem')!r}).sign(model, 'new')",
        "verify": f"verifying.Config().use_elliptic_key_verifier(public_key={str(KEYS / 'p256.pub.pem')!r})"
        ".set_ignore_unsigned_files(True).verify(model, 'large.sig')",
    }
    large = tmp_path / "large.bin"
    large.write_bytes(b"")
    if task == "verify":
        key_signer().sign(large, tmp_path / "large.sig")
    os.truncate(large, 1 << 40)
    script = f"""
        import signal
        from model_signing_autosign import hashing, signing, verifying
        # Python leaves it ignored where a shell in the background has made it so.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        model = "large.bin"
        print("begins", flush=True)
        {statements[task]}
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=10)
        finally:
            process.kill()
    assert err.splitlines()[-1].startswith("KeyboardInterrupt")
    assert not (tmp_path / "new").exists()


@pytest.fixture
def newcomer(model: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that the examples are run in."""
    folder = model.parent
    for name, source in {
        "key.pem": KEYS / "p256.pem",
        "public.pem": KEYS / "p256.pub.pem",
        "leaf.key.pem": certificates / "leaf0.key.pem",
        "leaf.pem": certificates / "leaf0.pem",
        "authority.pem": certificates / "root.pem",
    }.items():
        shutil.copy(source, folder / name)
    monkeypatch.chdir(folder)


@pytest.mark.usefixtures("newcomer")
@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_examples(module: Any) -> None:
    import doctest

    tried = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert len(tried) > 5 or module is signing
    for test in tried:
        assert doctest.DocTestRunner().run(test).failed == 0, test.name


def test_every_function_has_an_example() -> None:
    def functions(thing: Any) -> list[Callable[..., Any]]:
        members = [thing] if inspect.isfunction(thing) else [thing, *vars(thing).values()]
        members = [getattr(member, "__func__", member) for member in members]
        return [one for one in members if inspect.isclass(one) or inspect.isfunction(one)]

    for module in MODULES:
        for name in module.__all__:
            for function in functions(getattr(module, name)) if name != "PathLike" else []:
                if not function.__name__.startswith("_") and not inspect.isabstract(function):
                    assert ">>> " in (function.__doc__ or ""), function


def test_users_are_type_checked(tmp_path: Path) -> None:
    script = tmp_path / "use.py"
    script.write_text(
        textwrap.dedent("""
        from pathlib import Path
        from model_signing_autosign import hashing, signing, verifying

        config = hashing.Config().use_file_serialization(hashing_algorithm="blake2")
        config.set_ignored_paths(paths=["a", Path("b")])
        signer = signing.Config().use_elliptic_key_signer(private_key="k", password="p")
        signer.set_hashing_config(config).sign("m", Path("s"))
        verifying.Config().use_elliptic_key_verifier(public_key=b"k").verify("m", "s")
        for resource in config.hash("m").resource_descriptors():
            reveal_type(resource.digest.digest_hex)
        wrong = signing.Config().use_sigstore_signer(identity_token=1)
        """)
    )
    mypy = Path(sys.executable).with_name("mypy")
    command = [mypy, "--strict", "--python-executable", sys.executable, "--config-file", "", script]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    assert 'Revealed type is "str"' in said or 'Revealed type is "builtins.str"' in said
    assert said.count("error:") == 1, said
    assert 'Argument "identity_token"' in said


@pytest.mark.usefixtures("newcomer")
def test_the_guide(model: Path) -> None:
    (model / "logs").mkdir()
    (model / "logs/1").touch()
    page = (ROOT / "docs/guide/library.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "library.md", "exec"), {})  # noqa: S102 - our own page
    assert Path("model.sig").exists()
