# SPDX-License-Identifier: Apache-2.0
"""Hash a model, without signing it or before. See ``model_signing_autosign.hashing``."""

from model_signing_autosign.hashing import Config, PathLike, hash  # noqa: A004 - upstream's name

__all__ = ["Config", "PathLike", "hash"]
