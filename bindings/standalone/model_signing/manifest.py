# SPDX-License-Identifier: Apache-2.0
"""The resources of a model and their digests. See ``model_signing_autosign.manifest``."""

from model_signing_autosign.manifest import (
    Digest,
    FileManifestItem,
    Manifest,
    ManifestItem,
    ResourceDescriptor,
    SerializationType,
    ShardedFileManifestItem,
)

__all__ = [
    "Digest",
    "FileManifestItem",
    "Manifest",
    "ManifestItem",
    "ResourceDescriptor",
    "SerializationType",
    "ShardedFileManifestItem",
]
