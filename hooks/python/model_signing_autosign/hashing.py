# SPDX-License-Identifier: Apache-2.0
"""Hash a model, without signing it or before.

The functions, classes and methods are those of ``model_signing.hashing`` 1.1, and so is what they do, but for this:
a model that is one file has a resource of the file's own name, as OMS says, not ``.``; a model without files is
refused; a link to a folder is followed where links are, and a link out of the model never is; a file that changes
while it is hashed is an error.

Examples:
    >>> from model_signing_autosign import hashing, signing
    >>> without_readme = hashing.Config().set_ignored_paths(paths=["README.md"])
    >>> signer = signing.Config().use_elliptic_key_signer(private_key="key.pem")
    >>> signer.set_hashing_config(without_readme).sign("model", "model.sig")
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal

from model_signing_autosign import _core, manifest
from model_signing_autosign._paths import PathLike, as_path, existing

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Iterable
    from typing import TypeAlias

    from typing_extensions import Self

    Algorithm: TypeAlias = Literal["sha256", "blake2", "blake3"]

__all__ = ["Config", "PathLike", "hash"]

GIT_PATHS: Final = (".git", ".gitattributes", ".github", ".gitignore")
# What this interface calls a hash, and what a signature calls it.
HASHES: Final = {"sha256": "sha256", "blake2": "blake2b", "blake2b": "blake2b", "blake3": "blake3"}


def hash(model_path: PathLike) -> manifest.Manifest:  # noqa: A001 - upstream's name
    """Hash a model as a signature does by default: every file, with SHA-256.

    Args:
        model_path: The file or directory.

    Returns:
        Its resources and their digests.

    Raises:
        OSError: If a file cannot be read.
        ValueError: If there is no model, or none that can be signed.

    Examples:
        >>> from model_signing_autosign import hashing
        >>> [resource.identifier for resource in hashing.hash("model").resource_descriptors()]
        ['weights.bin']
    """
    return Config().hash(model_path)


class Config:
    """How a model is hashed, and what of it: by default every file, with SHA-256, but git's own.

    Examples:
        >>> from model_signing_autosign import hashing
        >>> shards = hashing.Config().use_shard_serialization(shard_size=4)
        >>> [resource.identifier for resource in shards.hash("model").resource_descriptors()]
        ['weights.bin:0:4', 'weights.bin:4:7']
    """

    def __init__(self) -> None:
        self._ignored_paths: frozenset[pathlib.Path] = frozenset()
        self._ignore_git_paths = True
        self._allow_symlinks = False
        self.use_file_serialization()

    def hash(self, model_path: PathLike, *, files_to_hash: Iterable[PathLike] | None = None) -> manifest.Manifest:
        """Hash a model.

        Args:
            model_path: The file or directory.
            files_to_hash: Paths of the only files to hash; None for all. They begin with that of the model.

        Returns:
            Its resources and their digests.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If there is no model, or none that can be signed, or a file lies outside it.

        Examples:
            >>> from model_signing_autosign import hashing
            >>> found = hashing.Config().hash("model", files_to_hash=["model/weights.bin"])
            >>> len(list(found.resource_descriptors()))
            1
        """
        model = existing(model_path)
        names = None
        if files_to_hash is not None and not model.is_file():
            files = [existing(file) for file in files_to_hash]
            names = [file.relative_to(model).as_posix() for file in files if file.is_file()]
        resources = self._core(model).hash(model, names)
        how = manifest.SerializationType.from_args(self._parameters(model))
        sharded = "" if self._shard_size is None else f"-sharded-{self._shard_size}"
        items = (
            how.new_item(name, manifest.Digest(self._algorithm + sharded, bytes.fromhex(digest)))
            for name, digest in resources
        )
        name = model.name if model.name not in ("", "..") else model.resolve().name
        return manifest.Manifest(name, items, how)

    def use_file_serialization(
        self,
        *,
        hashing_algorithm: Algorithm = "sha256",
        chunk_size: int = 1048576,
        max_workers: int | None = None,
        allow_symlinks: bool = False,
        ignore_paths: Iterable[PathLike] = frozenset(),
    ) -> Self:
        """Give every file a digest of its own.

        Args:
            hashing_algorithm: The hash. Other tools may verify ``sha256`` alone.
            chunk_size: For upstream's callers; files are read by 1 MiB.
            max_workers: Threads, at most one a file; None for as many as this process may use cores.
            allow_symlinks: Follow links that do not lead out of the model; False leaves it to `set_allow_symlinks`.
            ignore_paths: Paths to leave out, beside those of `set_ignored_paths`.

        Returns:
            This configuration.

        Raises:
            ValueError: If there is no such hash, or no such number of threads.

        Examples:
            >>> from model_signing_autosign import hashing
            >>> config = hashing.Config().use_file_serialization(hashing_algorithm="blake3")
            >>> config.hash("model").serialization_type["hash_type"]
            'blake3'
        """
        del chunk_size
        return self._use(hashing_algorithm, None, max_workers, allow_symlinks, ignore_paths)

    def use_shard_serialization(  # noqa: PLR0913 - upstream's arguments
        self,
        *,
        hashing_algorithm: Algorithm = "sha256",
        chunk_size: int = 1048576,
        shard_size: int = 1_000_000_000,
        max_workers: int | None = None,
        allow_symlinks: bool = False,
        ignore_paths: Iterable[PathLike] = frozenset(),
    ) -> Self:
        """Give every shard of a file a digest of its own, which is faster for few large files.

        Other tools may verify files alone. BLAKE3 hashes files, as with upstream.

        Args:
            hashing_algorithm: The hash.
            chunk_size: For upstream's callers; files are read by 1 MiB.
            shard_size: Size of a shard in bytes.
            max_workers: Threads, at most one a shard; None for as many as this process may use cores.
            allow_symlinks: Follow links that do not lead out of the model; False leaves it to `set_allow_symlinks`.
            ignore_paths: Paths to leave out, beside those of `set_ignored_paths`.

        Returns:
            This configuration.

        Raises:
            ValueError: If there is no such hash, size or number of threads.

        Examples:
            >>> from model_signing_autosign import hashing
            >>> config = hashing.Config().use_shard_serialization(shard_size=1_000)
            >>> [resource.identifier for resource in config.hash("model").resource_descriptors()]
            ['weights.bin:0:7']
        """
        del chunk_size
        size = None if hashing_algorithm == "blake3" else shard_size
        return self._use(hashing_algorithm, size, max_workers, allow_symlinks, ignore_paths)

    def set_ignored_paths(self, *, paths: Iterable[PathLike], ignore_git_paths: bool = True) -> Self:
        """Leave out these paths, and no others, each with all below it.

        Args:
            paths: The paths, relative to the model; one that lies outside it matches nothing.
            ignore_git_paths: Leave out git's own files, too, which is the default.

        Returns:
            This configuration.

        Examples:
            >>> from model_signing_autosign import hashing
            >>> config = hashing.Config().set_ignored_paths(paths=["README.md"], ignore_git_paths=False)
            >>> config.hash("model").serialization_type["ignore_paths"]
            ['README.md']
        """
        self._ignored_paths = frozenset(map(as_path, paths))
        self._ignore_git_paths = ignore_git_paths
        return self

    def add_ignored_paths(self, *, model_path: PathLike, paths: Iterable[PathLike]) -> None:
        """Leave out these paths, too.

        Args:
            model_path: The model.
            paths: The paths, relative to the model; one that lies outside it is passed over.

        Examples:
            >>> from model_signing_autosign import hashing
            >>> config = hashing.Config().set_ignored_paths(paths=["README.md"], ignore_git_paths=False)
            >>> config.add_ignored_paths(model_path="model", paths=["LICENSE"])
            >>> config.hash("model").serialization_type["ignore_paths"]
            ['LICENSE', 'README.md']
        """
        model = as_path(model_path)
        self._ignored_paths |= {path for path in map(as_path, paths) if (model / path).is_relative_to(model)}

    def set_allow_symlinks(self, allow_symlinks: bool) -> Self:
        """Say whether links are followed; one that leads out of the model never is.

        Args:
            allow_symlinks: Follow them; False refuses a model that has one.

        Returns:
            This configuration.

        Examples:
            >>> from model_signing_autosign import hashing
            >>> hashing.Config().set_allow_symlinks(True).hash("model").serialization_type["allow_symlinks"]
            True
        """
        self._allow_symlinks = allow_symlinks
        return self

    def _use(
        self,
        algorithm: str,
        shard_size: int | None,
        max_workers: int | None,
        allow_symlinks: bool,
        ignore_paths: Iterable[PathLike],
    ) -> Self:
        if algorithm not in HASHES:
            message = f"Unsupported hashing method {algorithm}"
            raise ValueError(_core.without_secrets(message))
        for what, number in (("Shard size", shard_size), ("Number of workers", max_workers)):
            if number is not None and number < 1:
                message = f"{what} must be at least 1, got {number}"
                raise ValueError(message)
        self._algorithm = HASHES[algorithm]
        self._shard_size = shard_size
        self._max_workers = max_workers
        self._also_ignored = frozenset(map(as_path, ignore_paths))
        self._allow_symlinks = self._allow_symlinks or allow_symlinks
        return self

    def _core(self, model: pathlib.Path) -> _core.Hashing:
        return _core.Hashing(
            self._algorithm,
            shard_size=self._shard_size,
            max_workers=self._max_workers,
            allow_symlinks=self._allow_symlinks,
            # The core takes relative paths from the working directory, as the command line does.
            ignored=sorted(model / path for path in self._ignored_paths | self._also_ignored),
            ignore_git=self._ignore_git_paths,
        )

    def _parameters(self, model: pathlib.Path) -> dict[str, object]:
        paths = [os.path.relpath(model / path, model) for path in self._ignored_paths | self._also_ignored]
        inside = {path for path in paths if path.split(os.sep)[0] != ".."}
        return {
            "method": "files" if self._shard_size is None else "shards",
            "hash_type": self._algorithm,
            "shard_size": self._shard_size,
            "allow_symlinks": self._allow_symlinks,
            "ignore_paths": sorted(inside.union(GIT_PATHS if self._ignore_git_paths else ())),
        }
