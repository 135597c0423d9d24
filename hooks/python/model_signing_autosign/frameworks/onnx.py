# SPDX-License-Identifier: Apache-2.0
"""Models saved by onnx, with the files of their external data. Off unless MODEL_SIGNING_HOOKS names it.

``save_model``, also known as ``save``, writes external data first and the model last, through ``_save_bytes``, which is
looked up at each call: whoever bound ``save`` earlier comes there, too. Both are hooked, because a signature must go
before the data that it is for are overwritten, by C++, which nobody hears of.

Which files belong to it the model itself says: a file of data may be named after the model, the tensor or nothing at
all, and an earlier save may have left others.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import argument, saves

if TYPE_CHECKING:
    from model_signing_autosign._saving import Call

FRAMEWORK: Final = Framework("onnx", versions=">=1.15,<2", tested="1.23.2")


def _files(model: str) -> list[str]:
    """Return the model and the files of external data that it names, missing ones too: then it is not complete."""
    with open(model, "rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return [model]
        # The key that leads to such a file, in every format; a model of gigabytes without one is not read again.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if content.find(b"location") < 0:
                return [model]
    onnx: Any = sys.modules["onnx"]
    helper = onnx.external_data_helper
    tensors = helper._get_all_tensors(_read(onnx, model))
    entries = [entry for tensor in tensors if helper.uses_external_data(tensor) for entry in tensor.external_data]
    places = dict.fromkeys(entry.value for entry in entries if entry.key == "location")
    return [model, *(os.path.join(os.path.dirname(model), place) for place in places)]


def _read(onnx: Any, model: str) -> Any:
    """Return the model: as its name says, or else in the format that the save was asked for."""
    for form in (None, "protobuf", "textproto", "json"):
        with contextlib.suppress(Exception):
            return onnx.load_model(model, form, load_external_data=False)
    return onnx.ModelProto()  # a single tensor


def _inferred(call: Call) -> object:
    return call.argument("output_path", 1) or call.argument("model_path", 0)


PATCHES: Final = (
    # def save_model(proto, f, format=None, *, save_as_external_data=False, ...)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("f", 1), files=_files),
        ("onnx:save_model", "onnx:save"),
        seen="`onnx.save`, `onnx.save_model` to a path",
        signed="the file, with the files of external data that it names",
        complete="on return",
    ),
    # def _save_bytes(content, f)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("f", 1), files=_files),
        ("onnx:_save_bytes",),
        seen="the same however it was imported, and `onnx.save_tensor`",
        signed="the same",
        complete="on return: the external data are there before",
    ),
    # def infer_shapes_path(model_path, output_path='', check_type=False, strict_mode=False, data_prop=False)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _inferred, files=_files),
        ("onnx.shape_inference:infer_shapes_path",),
        seen="`onnx.shape_inference.infer_shapes_path`",
        signed="the same",
        complete="on return",
    ),
)
