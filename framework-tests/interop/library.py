"""What a library does, as JSON: the same calls through upstream's package or ours, which are told apart by name alone.

Run by the Python of either, with the name of the package, an empty folder, one of keys and one of certificates.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = sys.argv[1]
FOLDER, KEYS, CERTIFICATES = map(Path, sys.argv[2:])
MODULES = {
    name: importlib.import_module(f"{PACKAGE}.{name}") for name in ("hashing", "manifest", "signing", "verifying")
}
hashing, manifest, signing, verifying = MODULES.values()
CALLS: dict[str, Callable[[Path], Any]] = {}


def call(function: Callable[[Path], Any]) -> Callable[[Path], Any]:
    CALLS[function.__name__] = function
    return function


def make(folder: Path, name: str = "model") -> Path:
    files = {
        "a-b.bin": b"1",
        "a/b/c.bin": b"22",
        "a/z": b"",
        "größe 1": bytes(range(256)),
        "logs/1": b"l",
        ".git/x": b"g",
    }
    for file, content in files.items():
        path = folder / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / name


def told(found: Any) -> Any:
    resources = [(one.identifier, one.digest.algorithm, one.digest.digest_hex) for one in found.resource_descriptors()]
    serialization = found.serialization_type
    if "ignore_paths" in serialization:
        serialization["ignore_paths"] = sorted(serialization["ignore_paths"])
    return found.model_name, resources, serialization


def failure(function: Callable[[], Any], *, message: bool = False) -> Any:
    try:
        function()
    except (OSError, ValueError) as error:
        kind = "OSError" if isinstance(error, OSError) else "ValueError"
        return (kind, getattr(error, "errno", None), str(error.args[0]) if message else None)
    return "good"


def signer(key: str = "p256") -> Any:
    return signing.Config().use_elliptic_key_signer(private_key=KEYS / f"{key}.pem")


def verifier(key: str = "p256") -> Any:
    return verifying.Config().use_elliptic_key_verifier(public_key=str(KEYS / f"{key}.pub.pem"))


@call
def signatures_of_the_interface(_folder: Path) -> Any:
    found = {}
    for module, content in MODULES.items():
        for name, thing in vars(content).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != content.__name__:
                continue
            members = {f"{name}.{member}": value for member, value in vars(thing).items() if not member.startswith("_")}
            if not inspect.isclass(thing):
                members = {name: thing}
            for member, value in members.items():
                value = getattr(value, "__func__", value)  # noqa: PLW2901 - of a class method
                if inspect.isfunction(value):
                    given = inspect.signature(value).parameters.values()
                    found[f"{module}.{member}"] = [(one.name, one.kind.name, repr(one.default)) for one in given]
                elif isinstance(value, property):
                    found[f"{module}.{member}"] = "property"
    return found


@call
def hash_by_default(folder: Path) -> Any:
    return told(hashing.hash(make(folder))), told(hashing.Config().hash(str(make(folder))))


@call
def hash_a_relative_path(folder: Path) -> Any:
    os.chdir(make(folder))
    return told(hashing.hash(".")), told(hashing.hash("a")), told(hashing.hash("a/.."))


@call
def hash_files(folder: Path) -> Any:
    configs = [{"hashing_algorithm": name} for name in ("sha256", "blake2", "blake3")]
    configs += [{"chunk_size": 0}, {"chunk_size": 7}, {"max_workers": 1}, {"max_workers": 3}]
    return [told(hashing.Config().use_file_serialization(**config).hash(make(folder))) for config in configs]


@call
def hash_shards(folder: Path) -> Any:
    configs: list[dict[str, Any]] = [{"shard_size": size} for size in (1, 100, 256, 1000)]
    configs += [
        {},
        {"hashing_algorithm": "blake2", "shard_size": 100},
        {"hashing_algorithm": "blake3", "shard_size": 1},
    ]
    return [told(hashing.Config().use_shard_serialization(**config).hash(make(folder))) for config in configs]


@call
def hash_without_ignored_paths(folder: Path) -> Any:
    model = make(folder)
    configs = [
        hashing.Config().set_ignored_paths(paths=["logs"]),
        hashing.Config().set_ignored_paths(paths=[Path("a/b"), "a-b.bin"], ignore_git_paths=False),
        hashing.Config().set_ignored_paths(paths=["nowhere", "../model2", folder / "other", model / "logs", "lo"]),
        hashing.Config().set_ignored_paths(paths=["logs"]).set_ignored_paths(paths=["a"]),
        hashing.Config().set_ignored_paths(paths=["logs"]).use_shard_serialization(shard_size=100),
    ]
    added = hashing.Config().set_ignored_paths(paths=["logs"])
    added.add_ignored_paths(model_path=model, paths=["a", folder / "other"])
    return [told(config.hash(model)) for config in [*configs, added]]


@call
def hash_chosen_files(folder: Path) -> Any:
    model = make(folder)
    chosen = [model / "a-b.bin", model / "a/z", model / "a", model / ".git/x", model / "logs/1"]
    config = hashing.Config().set_ignored_paths(paths=["logs"])
    missing = failure(lambda: config.hash(model, files_to_hash=[model / "nowhere"]))
    outside = failure(lambda: config.hash(model, files_to_hash=[Path(__file__)]))
    return told(config.hash(model, files_to_hash=chosen)), missing, outside


@call
def hash_linked_files(folder: Path) -> Any:
    model = make(folder)
    (model / "link").symlink_to("a-b.bin")
    followed = hashing.Config().set_allow_symlinks(True).hash(model)
    return told(followed), failure(lambda: hashing.hash(model)), failure(lambda: signer().sign(model, folder / "sig"))


@call
def sort_resources(folder: Path) -> Any:
    return [one.identifier for one in sorted(hashing.hash(make(folder)).resource_descriptors(), reverse=True)]


@call
def compare_manifests(folder: Path) -> Any:
    one, same, other = (make(folder, name) for name in ("one", "same", "other"))
    (other / "logs/1").write_bytes(b"L")
    first = hashing.hash(one)
    shards = hashing.Config().use_shard_serialization().hash(one)
    return first == hashing.hash(same), first == hashing.hash(other), first != hashing.hash(other), first == shards


@call
def build_a_manifest(folder: Path) -> Any:
    found = hashing.hash(make(folder))
    how = manifest.SerializationType.from_args(found.serialization_type | {"ignore_paths": ["x"]})
    items = [how.new_item(one.identifier, one.digest) for one in found.resource_descriptors()]
    built = manifest.Manifest("model", items, how)
    shards = {"method": "shards", "hash_type": "sha256", "shard_size": 10, "allow_symlinks": True}
    sharded = manifest.SerializationType.from_args(shards)
    digest = items[0].digest
    by_hand = manifest.ShardedFileManifestItem(path=Path("a"), start=10, end=20, digest=digest)
    items = [by_hand, sharded.new_item("a:0:10", digest), sharded.new_item("a-b:0:10", digest)]
    file = manifest.FileManifestItem(path=Path("a") / "b", digest=digest)
    return (
        built == found,
        told(built),
        told(manifest.Manifest("shards", items, sharded)),
        (str(file.key), file.digest == digest, digest.digest_size, digest.digest_value.hex()),
        failure(lambda: sharded.new_item("a", digest), message=True),
        failure(lambda: manifest.SerializationType.from_args({"method": "tensors"}), message=True),
    )


@call
def refuse_what_cannot_be_hashed(folder: Path) -> Any:
    return (
        failure(lambda: hashing.Config().use_file_serialization(hashing_algorithm="md5"), message=True),
        failure(lambda: hashing.Config().use_shard_serialization(hashing_algorithm="md5"), message=True),
        failure(lambda: hashing.Config().use_shard_serialization(shard_size=0).hash(make(folder))),
        failure(lambda: hashing.Config().use_shard_serialization(shard_size=-1).hash(make(folder))),
        failure(lambda: hashing.Config().use_file_serialization(max_workers=0).hash(make(folder))),
        failure(lambda: hashing.hash(folder / "nowhere")),
        failure(lambda: hashing.hash("/dev/null")),
    )


@call
def sign_and_verify_with_keys(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    results = []
    for key in ("p256", "p384", "p521"):
        results += [signer(key).sign(model, signature), verifier(key).verify(str(model), str(signature))]
    encrypted = signing.Config().use_elliptic_key_signer(
        private_key=KEYS / "p256.encrypted.pem", password=b"checkpoint"
    )
    return results, encrypted.sign(model, signature), verifier().verify(model, signature)


@call
def sign_and_verify_with_certificates(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    results = []
    for leaf, chain in (("leaf0", ["root"]), ("leaf1", ["one"]), ("leaf2", ["two", "one"])):
        files = [CERTIFICATES / f"{name}.pem" for name in chain]
        key, certificate = CERTIFICATES / f"{leaf}.key.pem", CERTIFICATES / f"{leaf}.pem"
        config = signing.Config().use_certificate_signer(
            private_key=key, signing_certificate=certificate, certificate_chain=iter(files)
        )
        config.sign(model, signature)
        check = verifying.Config().use_certificate_verifier(
            certificate_chain=[CERTIFICATES / "root.pem"], log_fingerprints=True
        )
        results.append(failure(lambda check=check: check.verify(model, signature)))
    another = failure(
        lambda: signing.Config().use_certificate_signer(
            private_key=KEYS / "p256.pem", signing_certificate=CERTIFICATES / "leaf0.pem", certificate_chain=[]
        )
    )
    return results, another


@call
def one_configuration_for_many_models(folder: Path) -> Any:
    sign, verify, results = signer(), verifier(), []
    for name in ("one", "two"):
        model = make(folder, name)
        sign.sign(model, folder / f"{name}.sig")
        results.append(failure(lambda model=model, name=name: verify.verify(model, folder / f"{name}.sig")))
    return results


@call
def copy_configurations(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    copy.deepcopy(signer()).sign(model, signature)
    return failure(lambda: copy.deepcopy(verifier()).verify(model, signature))


@call
def methods_give_their_configuration(_folder: Path) -> Any:
    hashed, sign, verify = hashing.Config(), signing.Config(), verifying.Config()
    return (
        hashed.use_file_serialization() is hashed,
        hashed.use_shard_serialization() is hashed,
        hashed.set_ignored_paths(paths=[]) is hashed,
        hashed.add_ignored_paths(model_path="m", paths=[]),
        hashed.set_allow_symlinks(False) is hashed,
        sign.use_elliptic_key_signer(private_key=str(KEYS / "p256.pem")) is sign,
        sign.set_hashing_config(hashed) is sign,
        verify.use_elliptic_key_verifier(public_key=KEYS / "p256.pub.pem") is verify,
        verify.set_hashing_config(hashed) is verify,
        verify.set_ignore_unsigned_files(True) is verify,
    )


@call
def name_what_differs(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    signer().sign(model, signature)
    results = []
    (model / "more").write_bytes(b"")
    (model / "a/more").write_bytes(b"")
    results.append(failure(lambda: verifier().verify(model, signature), message=True))
    (model / "a-b.bin").unlink()
    (model / "logs/1").unlink()
    results.append(failure(lambda: verifier().verify(model, signature), message=True))
    (model / "größe 1").write_bytes(b"changed")
    kind, errno, message = failure(lambda: verifier().verify(model, signature), message=True)
    return results, kind, errno, message.split(": Expected")[0].rstrip("\"']")


@call
def refuse_what_cannot_be_verified(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    signer().sign(model, signature)
    (folder / "none.sig").write_text("no signature")
    return (
        failure(lambda: verifying.Config().verify(model, signature), message=True),
        failure(lambda: verifier("p384").verify(model, signature)),
        failure(lambda: verifier().verify(model, folder / "nowhere.sig")),
        failure(lambda: verifier().verify(model, folder / "none.sig")),
        failure(lambda: verifier().verify(folder / "nowhere", signature)),
        failure(lambda: verifying.Config().use_elliptic_key_verifier(public_key=folder / "nowhere.pem")),
        failure(lambda: signing.Config().use_elliptic_key_signer(private_key=folder / "nowhere.pem")),
        failure(lambda: signing.Config().use_elliptic_key_signer(private_key=KEYS / "p256.pub.pem")),
    )


@call
def refuse_files_as_python_does(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    signer().sign(model, signature)
    results = []
    for function in (
        lambda: signing.Config().use_elliptic_key_signer(private_key=folder / "nowhere.pem"),
        lambda: verifying.Config().use_elliptic_key_verifier(public_key=model),
        lambda: verifier().verify(model, model),
        lambda: verifier().verify(model, folder / "nowhere.sig"),
        lambda: signer().sign(model, folder / "nowhere" / "model.sig"),
    ):
        try:
            function()
        except OSError as error:
            told = type(error).__name__, error.errno, repr(error.filename), str(error)
            results.append([str(one).replace(str(folder), "") for one in told])
    return results


@call
def ignore_unsigned_files(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    signer().sign(model, signature)
    (model / "more").write_bytes(b"")
    config = verifier()
    results = []
    for choice in (True, False, 1):
        config.set_ignore_unsigned_files(choice)
        results.append(failure(lambda: config.verify(model, signature)))
    (model / "a-b.bin").write_bytes(b"changed")
    return results, failure(lambda: config.verify(model, signature))


@call
def ignore_paths(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    without = hashing.Config().set_ignored_paths(paths=["logs"])
    signer().set_hashing_config(without).sign(model, signature)
    (model / "logs/1").write_bytes(b"changed")
    (model / "logs/2").write_bytes(b"added")
    results = [
        failure(lambda: verifier().verify(model, signature)),
        failure(lambda: verifier().set_hashing_config(without).verify(model, signature)),
    ]
    (model / "more").write_bytes(b"added")
    also = hashing.Config().set_ignored_paths(paths=["logs", "more"])
    results.append(failure(lambda: verifier().verify(model, signature)))
    results.append(failure(lambda: verifier().set_hashing_config(also).verify(model, signature)))
    (model / "a-b.bin").write_bytes(b"changed")
    return results, failure(lambda: verifier().set_hashing_config(also).verify(model, signature))


@call
def verify_as_configured(folder: Path) -> Any:
    model, signature = make(folder), folder / "model.sig"
    configs = {
        "files": hashing.Config(),
        "blake3": hashing.Config().use_file_serialization(hashing_algorithm="blake3"),
        "shards": hashing.Config().use_shard_serialization(shard_size=100),
        "other shards": hashing.Config().use_shard_serialization(shard_size=200),
    }
    results = {}
    for signed, config in configs.items():
        signer().set_hashing_config(config).sign(model, signature)
        for name, expected in configs.items():
            check = verifier().set_hashing_config(expected)
            results[f"{signed} as {name}"] = failure(lambda check=check: check.verify(model, signature))
    return results


def main() -> None:
    results = {}
    for name, function in CALLS.items():
        folder = FOLDER / name
        folder.mkdir()
        results[name] = function(folder)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
