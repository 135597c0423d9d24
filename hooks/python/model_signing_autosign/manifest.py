# SPDX-License-Identifier: Apache-2.0
"""The resources of a model and their digests: what hashing gives, and what a signature is over.

The classes and methods are those of ``model_signing.manifest`` 1.1.

Examples:
    >>> from model_signing_autosign import hashing
    >>> for resource in hashing.hash("model").resource_descriptors():
    ...     print(resource.identifier, resource.digest.algorithm, resource.digest.digest_hex[:8])
    weights.bin sha256 9a129038
"""

from __future__ import annotations

import abc
import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from typing_extensions import Self

__all__ = [
    "Digest",
    "FileManifestItem",
    "Manifest",
    "ManifestItem",
    "ResourceDescriptor",
    "SerializationType",
    "ShardedFileManifestItem",
]

METHODS: Final = ("files", "shards")


@dataclasses.dataclass(frozen=True)
class Digest:
    """The digest of a resource.

    Attributes:
        algorithm: ``sha256``, ``blake2b`` or ``blake3``; of a shard, followed by its size, ``sha256-sharded-1000``.
        digest_value: The raw bytes.

    Examples:
        >>> Digest("sha256", bytes(32)).digest_size
        32
    """

    algorithm: str
    digest_value: bytes

    @property
    def digest_hex(self) -> str:
        """The digest as lower-case hex."""
        return self.digest_value.hex()

    @property
    def digest_size(self) -> int:
        """The length of the digest in bytes."""
        return len(self.digest_value)


@dataclasses.dataclass(frozen=True, order=True)
class ResourceDescriptor:
    """A resource of a manifest.

    Attributes:
        identifier: Its name relative to the model; that of a shard ends with ``:START:END``.
        digest: Its digest.

    Examples:
        >>> ResourceDescriptor("weights.bin", Digest("sha256", bytes(32))).identifier
        'weights.bin'
    """

    identifier: str
    digest: Digest


@dataclasses.dataclass(frozen=True, order=True)
class _File:
    path: pathlib.PurePath

    def __str__(self) -> str:
        return str(self.path)


@dataclasses.dataclass(frozen=True, order=True)
class _Shard:
    path: pathlib.PurePath
    start: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}:{self.start}:{self.end}"


class ManifestItem(abc.ABC):
    """A resource before it is in a manifest.

    Attributes:
        digest: Its digest.
    """

    digest: Digest

    @property
    @abc.abstractmethod
    def key(self) -> Any:
        """What no two resources of one manifest share; as text, the identifier."""


class FileManifestItem(ManifestItem):
    """A file.

    Args:
        path: Its path relative to the model.
        digest: Its digest.

    Examples:
        >>> item = FileManifestItem(path=pathlib.PurePath("a/b.bin"), digest=Digest("sha256", bytes(32)))
        >>> str(item.key)
        'a/b.bin'
    """

    def __init__(self, *, path: pathlib.PurePath, digest: Digest) -> None:
        self._path = pathlib.PurePosixPath(path)
        self.digest = digest

    @property
    def key(self) -> _File:
        """Its path."""
        return _File(self._path)


class ShardedFileManifestItem(ManifestItem):
    """A shard of a file.

    Args:
        path: The path of the file relative to the model.
        start: Where the shard begins in the file, in bytes.
        end: Where it ends; the byte there is no more of it.
        digest: Its digest.

    Examples:
        >>> digest = Digest("sha256-sharded-10", bytes(32))
        >>> str(ShardedFileManifestItem(path=pathlib.PurePath("a.bin"), start=0, end=10, digest=digest).key)
        'a.bin:0:10'
    """

    def __init__(self, *, path: pathlib.PurePath, start: int, end: int, digest: Digest) -> None:
        self._path = pathlib.PurePosixPath(path)
        self._start = start
        self._end = end
        self.digest = digest

    @property
    def key(self) -> _Shard:
        """The path of the file, and what of it."""
        return _Shard(self._path, self._start, self._end)


class SerializationType:
    """How the resources of a manifest came to be. `from_args` makes one.

    Examples:
        >>> arguments = {"method": "files", "hash_type": "sha256", "allow_symlinks": False}
        >>> SerializationType.from_args(arguments).serialization_parameters["hash_type"]
        'sha256'
    """

    _parameters: dict[str, Any]

    @property
    def serialization_parameters(self) -> dict[str, Any]:
        """``method``, ``hash_type``, ``allow_symlinks``, of shards ``shard_size``; ``ignore_paths`` if there are."""
        return dict(self._parameters)

    @classmethod
    def from_args(cls, args: dict[str, Any]) -> Self:
        """Make one of `serialization_parameters`.

        Args:
            args: The parameters, as they stand in a signature.

        Returns:
            One with these parameters.

        Raises:
            ValueError: If there is no such method.
            KeyError: If a parameter is missing.

        Examples:
            >>> SerializationType.from_args({"method": "tensors"})
            Traceback (most recent call last):
            ...
            ValueError: Unknown serialization type tensors
        """
        if args["method"] not in METHODS:
            message = f"Unknown serialization type {args['method']}"
            raise ValueError(message)
        sized = ["shard_size"] if args["method"] == "shards" else []
        made = cls()
        made._parameters = {name: args[name] for name in ["method", "hash_type", *sized, "allow_symlinks"]}
        if ignored := [str(path) for path in args.get("ignore_paths", ())]:
            made._parameters["ignore_paths"] = ignored
        return made

    def new_item(self, name: str, digest: Digest) -> ManifestItem:
        """Make a resource of its name.

        Args:
            name: The name, as it stands in a signature.
            digest: The digest.

        Returns:
            A file or a shard, as the method is.

        Raises:
            ValueError: If the name is not that of a shard and should be.

        Examples:
            >>> shards = {"method": "shards", "hash_type": "sha256", "shard_size": 10, "allow_symlinks": False}
            >>> item = SerializationType.from_args(shards).new_item("a:b:0:10", Digest("sha256-sharded-10", bytes(32)))
            >>> item.key.path.name
            'a:b'
        """
        if self._parameters["method"] == "files":
            return FileManifestItem(path=pathlib.PurePosixPath(name), digest=digest)
        path, *numbers = name.rsplit(":", 2)
        try:
            start, end = map(int, numbers)
        except ValueError:
            message = f"Invalid resource name: expected 3 components separated by `:`, got {name}"
            raise ValueError(message) from None
        return ShardedFileManifestItem(path=pathlib.PurePosixPath(path), start=start, end=end, digest=digest)


class Manifest:
    """The resources of a model. Equal to another one where names and digests are.

    Args:
        model_name: Last component of the path of the model.
        items: The resources.
        serialization_type: How they came to be.

    Examples:
        >>> from model_signing_autosign import hashing
        >>> hashing.hash("model") == hashing.Config().hash("model")
        True
    """

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, model_name: str, items: Iterable[ManifestItem], serialization_type: SerializationType) -> None:
        self._name = model_name
        self._digests = {item.key: item.digest for item in items}
        self._serialization_type = serialization_type

    def __eq__(self, other: object) -> bool:
        return self._digests == other._digests if isinstance(other, Manifest) else NotImplemented

    def resource_descriptors(self) -> Iterator[ResourceDescriptor]:
        """Give the resources, sorted by the components of their paths.

        A signature lists them by the whole name instead, as OMS has it, and its root digest is over that order.

        Examples:
            >>> from model_signing_autosign import hashing
            >>> [resource.identifier for resource in hashing.hash("model").resource_descriptors()]
            ['weights.bin']
        """
        for key, digest in sorted(self._digests.items(), key=lambda item: item[0]):
            yield ResourceDescriptor(str(key), digest)

    @property
    def model_name(self) -> str:
        """Last component of the path of the model. It says nothing about the content."""
        return self._name

    @property
    def serialization_type(self) -> dict[str, Any]:
        """How the resources came to be: the parameters of `SerializationType`."""
        return self._serialization_type.serialization_parameters
