# SPDX-License-Identifier: Apache-2.0
"""safetensors files, from whichever framework.

Every ``save_file`` and ``save_model`` ends in one Rust function, which writes a temporary file and renames it. The
modules for flax, mlx and tensorflow have no name of their own for it: they call ``safetensors.numpy``.
"""

from __future__ import annotations

from typing import Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import argument, saves

FRAMEWORK: Final = Framework("safetensors", versions=">=0.4,<1", tested="0.8.0")

PATCHES: Final = (
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("filename", 1)),
        (
            "safetensors:serialize_file",
            "safetensors._safetensors_rust:serialize_file",
            "safetensors.numpy:serialize_file",
            "safetensors.paddle:serialize_file",
            "safetensors.torch:serialize_file",
        ),
        seen="`save_file`, `save_model` of torch, numpy, flax, mlx, paddle and tensorflow",
        signed="the file",
        complete="on return: it is renamed into place",
    ),
)
