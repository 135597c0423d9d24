"""
The Rust core of `model_signing_autosign`.
"""

from _typeshed import SupportsGetItem
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, SupportsFloat, SupportsIndex, final

__all__ = ["Hashing", "Rules", "Session", "Signer", "Status", "Verifier", "doctor", "fingerprints", "run", "sign_certificate", "sign_key", "sign_sigstore", "standard_streams", "verify_certificate", "verify_key", "verify_policy", "verify_sigstore", "warn", "way_to_verify", "without_secrets"]

@final
class Hashing:
    """
    How a model is hashed, and what of it.
    """
    def __new__(cls, /, algorithm: str, *, shard_size: SupportsIndex | None, max_workers: SupportsIndex | None, allow_symlinks: bool, ignored: SupportsGetItem[int, str | PathLike[str]], ignore_git: bool) -> Hashing:
        """
        Shards are of `shard_size` bytes; without it, it is files that are hashed. Relative paths of `ignored` are taken from
        the working directory.

        Raises:
            ValueError: There is no such algorithm, or a number is 0.
        """
    def hash(self, /, model: str | PathLike[str], names: SupportsGetItem[int, str] | None = None) -> list[tuple[str, str]]:
        """
        Hash `model`, or those of its files that `names` names, and return the name and the digest, as hex, of each resource.

        Raises:
            OSError: A file cannot be read.
            SigningError: The model is not as it must be.
        """

@final
class Rules:
    """
    What a verifier asks for beside the right signer.
    """
    def __new__(cls, /, *, expect_name: str | None, run: str | None, min_step: SupportsIndex | None, max_age: SupportsFloat | SupportsIndex | None, last_seen: str | PathLike[str] | None, strict: bool, portable: bool) -> Rules:
        """
        `max_age` is in seconds.
        """

@final
class Session:
    """
    Signs what it is told was saved. One for a process, and none across a fork.
    """
    def begins(self, /, path: str | PathLike[str], hidden: bool = False) -> None:
        """
        Note that a checkpoint is about to be written to `path`; `hidden` as for `saved`.
        """
    def broken_off(self, /, path: str | PathLike[str]) -> None:
        """
        Note that the save that began at `path` has failed.
        """
    def copying(self, /, path: str | PathLike[str], to: str | PathLike[str]) -> None:
        """
        Note that the file `path` is about to be copied to `to`.
        """
    def drain(self, /) -> Status:
        """
        At the end of the program: wait at most `MODEL_SIGNING_DRAIN_TIMEOUT`, and say what is left unsigned.
        """
    @property
    def enabled(self, /) -> bool:
        """
        False where `MODEL_SIGNING_MODE` is `disabled`.
        """
    def flush(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> Status:
        """
        Try failed checkpoints again and wait for all, at most `timeout` seconds.
        """
    @staticmethod
    def from_environment() -> Session:
        """
        Read the settings and start no thread.

        Raises:
            ConfigError: A setting is wrong and `MODEL_SIGNING_ON_ERROR` is `raise`; else it is a line on stderr.
        """
    @property
    def hooks(self, /) -> list[str]:
        """
        `MODEL_SIGNING_HOOKS`: names of hooks, or `auto`, or `none`.
        """
    def moving(self, /, path: str | PathLike[str], to: str | PathLike[str], linked: bool) -> None:
        """
        Note that `path` is about to be renamed to `to`, or `linked` there.
        """
    @property
    def plugins(self, /) -> list[str]:
        """
        `MODEL_SIGNING_PLUGINS`: names of plugins that frameworks are to load by themselves.
        """
    def removing(self, /, path: str | PathLike[str]) -> None:
        """
        Note that `path` is about to be removed, with all below it.
        """
    def removing_folder(self, /, path: str | PathLike[str]) -> None:
        """
        Note that the folder at `path` is about to be removed, for which it must be empty.
        """
    def removing_folder_in_child(self, /, path: str | PathLike[str]) -> None:
        """
        Note that a child, forked from the process of this session, is about to remove the folder at `path`.
        """
    def saved(self, /, path: str | PathLike[str], framework: str, files: SupportsGetItem[int, str | PathLike[str]] = ..., step: SupportsIndex | None = None, apart: SupportsGetItem[int, str | PathLike[str]] = ..., hidden: bool = False) -> None:
        """
        Note that `framework` has saved a checkpoint at `path`; wait for its signature only where the settings say so. With
        `files` it is these, `path` among them, and not a folder. Without `step` it was saved at that of `set_step`. What is
        `apart` lies in the folder and is a checkpoint of its own, whoever saved it. The signature of a file is `hidden` unless
        a setting says otherwise.

        Raises:
            AutosignError: There is no signature, and `MODEL_SIGNING_ON_ERROR` is `raise`.
        """
    def set_step(self, /, step: SupportsIndex | None) -> None:
        """
        Note that the training is at `step`, or that it is not known.
        """
    def sign(self, /, path: str | PathLike[str]) -> Path:
        """
        Sign what is at `path` now, and return the path of the signature.

        Raises:
            SigningError: There is no signature, or not of what was there.
        """
    def status(self, /) -> Status:
        """
        How many checkpoints stand where.
        """
    def touched(self, /, path: str | PathLike[str]) -> None:
        """
        Note that this process is about to write to the file at `path`.
        """
    def wait_for(self, /, path: str | PathLike[str], timeout: SupportsFloat | SupportsIndex | None = None) -> Path:
        """
        Wait at most `timeout` seconds for what was saved at `path`, and return the path of its signature.

        Raises:
            AutosignError: There is no signature.
            TimeoutError: It takes longer.
        """
    @property
    def waits(self, /) -> bool:
        """
        Whether a save returns only when its signature is there.
        """

@final
class Signer:
    """
    In whose name models are signed.
    """
    def __deepcopy__(self, /, _memo: Any) -> Signer:
        """
        Itself: nothing of it changes.
        """
    @staticmethod
    def certificate(private_key: str | PathLike[str], *, password: SupportsGetItem[int, SupportsIndex] | None, signing_certificate: str | PathLike[str], certificate_chain: SupportsGetItem[int, str | PathLike[str]]) -> Signer:
        """
        That of the PEM certificate `signing_certificate` for the key `private_key`.
        """
    @staticmethod
    def key(private_key: str | PathLike[str], *, password: SupportsGetItem[int, SupportsIndex] | None) -> Signer:
        """
        That of the PEM key `private_key`.
        """
    @staticmethod
    def pkcs11(uri: str, *, module_paths: SupportsGetItem[int, str | PathLike[str]]) -> Signer:
        """
        That of the key on a PKCS #11 token that `uri` names, whose module may be in one of the folders `module_paths`.
        """
    @staticmethod
    def pkcs11_certificate(uri: str, *, module_paths: SupportsGetItem[int, str | PathLike[str]], signing_certificate: str | PathLike[str], certificate_chain: SupportsGetItem[int, str | PathLike[str]]) -> Signer:
        """
        The same with the PEM certificate `signing_certificate` for it.
        """
    def sign(self, /, model: str | PathLike[str], signature: str | PathLike[str], hashing: Hashing, *, compat: str | None) -> None:
        """
        Hash and sign `model`, and put the signature at `signature`, which is left out of the model. `compat` is the tool in
        whose words it is signed.

        Raises:
            ValueError: There is no such tool.
            OSError: A file cannot be read, or the signature cannot be written.
            SigningError: The model is not as it must be, or a service fails.
        """
    @staticmethod
    def sigstore(*, identity_token: str | None, ambient: bool, staging: bool, trust_config: str | PathLike[str] | None, oidc_issuer: str | None, force_oob: bool, client_id: str | None, client_secret: str | None) -> Signer:
        """
        That of an identity token: the given one, else that of the settings, else that of a person who logs in, unless
        `ambient`.
        """

@final
class Status:
    """
    How many checkpoints stand where.
    """
    def __eq__(self, value: object, /) -> bool: ...
    def __ne__(self, value: object, /) -> bool: ...
    def __repr__(self, /) -> str: ...
    @property
    def failed(self, /) -> int:
        """
        Not signed so far; tried again by a flush.
        """
    @property
    def pending(self, /) -> int:
        """
        Waiting, or being hashed or signed.
        """
    @property
    def signed(self, /) -> int:
        """
        Signed by this process.
        """
    @property
    def spooled(self, /) -> int:
        """
        Hashed, and in the spool for a flush by another process: mode `offline`.
        """
    @property
    def superseded(self, /) -> int:
        """
        Replaced or removed before they were signed.
        """

@final
class Verifier:
    """
    Who is believed.
    """
    def __deepcopy__(self, /, _memo: Any) -> Verifier:
        """
        Itself: nothing of it changes.
        """
    @staticmethod
    def certificate(certificate_chain: SupportsGetItem[int, str | PathLike[str]]) -> Verifier:
        """
        Those for whom a root of the PEM files `certificate_chain` stands.
        """
    @property
    def fingerprints(self, /) -> list[str]:
        """
        Of the certificates that were given, as hex.
        """
    @staticmethod
    def key(public_key: str | PathLike[str]) -> Verifier:
        """
        Whoever has the private key to the PEM key `public_key`.
        """
    @staticmethod
    def sigstore(*, identity: str, oidc_issuer: str, staging: bool, trust_config: str | PathLike[str] | None) -> Verifier:
        """
        `identity`, for which `oidc_issuer` vouches.
        """
    def verify(self, /, model: str | PathLike[str], signature: str | PathLike[str], *, hashing: Hashing | None, ignore_unsigned: bool) -> tuple[str, int | None]:
        """
        Verify the signature, then every file of `model`. `hashing` says what is ignored, by how many threads it is hashed, and
        whether links are followed; the rest, and all without it, the signature does. Returns the algorithm and, of shards,
        the size that the signature says.

        Raises:
            OSError: A file cannot be read.
            MismatchError: The model is not what was signed.
            VerificationError: The signature is not theirs, or not as it must be.
        """

def doctor(installed: SupportsGetItem[int, tuple[str, str, SupportsGetItem[int, str]]], *, fetch: bool = False, sign_test: bool = False) -> str:
    """
    Say whether this process can sign, as JSON. `installed` are frameworks with a hook, by name, version and the hooks to choose.
    """

def fingerprints(path: str | PathLike[str]) -> list[str]:
    """
    The SHA-256 of every certificate that the signature at `path` carries, as hex.
    """

def run(args: SupportsGetItem[int, str], installed: SupportsGetItem[int, tuple[str, str, SupportsGetItem[int, str]]] = ..., startup: str | PathLike[str] | None = None) -> int:
    """
    Run the `model-signing` command line `args`, of which the first is the program's name; return its exit code.
    `installed` are frameworks with a hook, by name, version and the hooks to choose; `startup` is the folder that switches signing on.
    """

def sign_certificate(model: str | PathLike[str], *, private_key: str | PathLike[str], signing_certificate: str | PathLike[str], certificate_chain: SupportsGetItem[int, str | PathLike[str]] = ..., password: str | None = None, signature: str | PathLike[str] | None = None) -> Path:
    """
    Sign `model` with the PEM key `private_key`, whose certificate is `signing_certificate`, and return the path of the
    signature, which carries the certificates of `certificate_chain` along.

    Raises:
        SigningError: The key, a certificate, the model or the signature's place is not as it must be.
    """

def sign_key(model: str | PathLike[str], *, private_key: str | PathLike[str], password: str | None = None, signature: str | PathLike[str] | None = None) -> Path:
    """
    Sign `model` with the PEM key `private_key` and return the path of the signature.

    Raises:
        SigningError: The key, the model or the signature's place is not as it must be.
    """

def sign_sigstore(model: str | PathLike[str], *, identity_token: str | None = None, trust_config: str | PathLike[str] | None = None, signature: str | PathLike[str] | None = None) -> Path:
    """
    Sign `model` in the name that an identity token gives, and return the path of the signature. What is not given is
    taken from the environment.

    Raises:
        ConfigError: There is no token, or the public instances are not to be used, or a setting is wrong, or locked.
        SigningError: The token, a service, the model or the signature's place is not as it must be.
    """

def standard_streams(stdout: bool, stderr: bool) -> None:
    """
    Tell which standard streams this process was started with.
    """

def verify_certificate(model: str | PathLike[str], *, certificate_chain: SupportsGetItem[int, str | PathLike[str]], rules: Rules, certificate_identity: str | None = None, timestamp_certificate_chain: SupportsGetItem[int, str | PathLike[str]] = ..., revocation_list: SupportsGetItem[int, str | PathLike[str]] = ..., at: datetime | None = None, signature: str | PathLike[str] | None = None) -> list[str]:
    """
    Verify that the certificate of whoever signed `model` leads to a root of the PEM files `certificate_chain`, and that it
    names `certificate_identity` if that is given; return the names of its verified files. Each of
    `timestamp_certificate_chain` is a timestamp authority that is believed, a PEM file from its certificate to its root.

    Raises:
        UnsignedError: There is no signature.
        VerificationError: Somebody else signed, or the certificate breaks a rule, or the model is not what was signed.
    """

def verify_key(model: str | PathLike[str], *, public_key: str | PathLike[str], rules: Rules, timestamp_certificate_chain: SupportsGetItem[int, str | PathLike[str]] = ..., signature: str | PathLike[str] | None = None) -> list[str]:
    """
    Verify `model` with the PEM key `public_key` and return the names of its verified files. Each of
    `timestamp_certificate_chain` is a timestamp authority that is believed, a PEM file from its certificate to its root: a
    timestamp must then be right.

    Raises:
        UnsignedError: There is no signature.
        VerificationError: The signature is not by this key, or the model is not what was signed.
    """

def verify_policy(model: str | PathLike[str], *, policy: str | PathLike[str], signature: str | PathLike[str] | None = None) -> list[str]:
    """
    Verify `model` as the TOML file `policy` says, and return the names of its verified files.

    Raises:
        ConfigError: A setting is wrong.
        UnsignedError: There is no signature.
        VerificationError: The policy does not say who may sign it, or somebody else did, or the model is not what was signed.
    """

def verify_sigstore(model: str | PathLike[str], *, identity: str, identity_provider: str, rules: Rules, trust_config: str | PathLike[str] | None = None, signature: str | PathLike[str] | None = None) -> list[str]:
    """
    Verify that `identity`, for which `identity_provider` vouches, signed `model`, and return the names of its verified
    files. Without `trust_config` the environment says which Sigstore instance is believed.

    Raises:
        ConfigError: A setting is wrong, or locked.
        UnsignedError: There is no signature.
        VerificationError: Somebody else signed, or not so that it could be believed, or the model is not what was signed.
    """

def warn(line: str) -> None:
    """
    Write a line to stderr, if the settings of this process want warnings.
    """

def way_to_verify(model: str | PathLike[str], *, signature: str | PathLike[str] | None = None) -> str | None:
    """
    Say how the signature of `model` is verified, as it says of itself; nothing where none can be read.
    """

def without_secrets(text: str) -> str:
    """
    `text` without private keys and tokens, to be repeated in a message.
    """
