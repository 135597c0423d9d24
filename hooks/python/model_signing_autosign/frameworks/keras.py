# SPDX-License-Identifier: Apache-2.0
"""What Keras 3 writes, with each of its backends, and TF-Keras, which is Keras 2.

``Model.save``, ``save_weights``, ``keras.saving.save_model`` and ModelCheckpoint all end in three functions that are
looked up when they are called, whichever backend Keras is going to choose: that is not known, nor asked, here.
BackupAndRestore writes the epoch beside the weights, so its folder is one checkpoint; it removes the folder in the end.
``Model.export`` and ExportArchive write through the backend's own functions, which have no scope where that backend's
hook is off; LiteRT is made from a SavedModel in a folder that is gone by then.

Keras' guide to distributed training resumes from the newest file of a folder: signatures of files are hidden.

OrbaxCheckpoint saves with orbax, and TF-Keras's BackupAndRestore with tf.train: theirs are the hooks for those.
"""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import contained
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, local, paused, saves
from model_signing_autosign.frameworks import tensorflow

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_signing_autosign._patch import Wrapper
    from model_signing_autosign._saving import Where

FRAMEWORK: Final = Framework("keras", versions=">=3.0,<4", tested="3.15.1", hidden=True)
TF_KERAS: Final = Framework("tf_keras", versions=">=2.15,<3", tested="2.21.0", distribution="tf-keras", hidden=True)


def _file(call: Call) -> object:
    """Return where a call saves to that has the model as its first argument and the path as its second."""
    return local(call.argument("filepath", 1))


def _weights(position: int) -> Where:
    def where(call: Call) -> object:
        path, shard_size = _file(call), call.argument("max_shard_size", position)
        # Shards get an index, under the name that Keras gives it. Before there were any, another argument was here.
        if isinstance(path, (str, os.PathLike)) and isinstance(shard_size, (int, float)):
            return os.path.splitext(path)[0] + ".json"
        return path

    return where


def _names(file: str, name: str) -> bool:
    with open(file, "rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(os.fsencode(name)) >= 0


def _shards(root: str) -> list[str]:
    """Return the index and the shards that it names, where the weights are in several files."""
    if not root.endswith(".json"):
        return []
    folder, name = os.path.split(root)
    start = f"{name.removesuffix('.json').replace('.weights', '')}_"
    # With the quote before which a name ends; where it begins, JSON may have written it otherwise.
    numbers = [file.name.removeprefix(start) for file in os.scandir(folder) if file.name.startswith(start)]
    return [root, *(os.path.join(folder, start + number) for number in numbers if _names(root, f'_{number}"'))]


def _exported(root: str) -> list[str]:
    """Return the files of an export, where it has a file of weights beside it."""
    if not os.path.isfile(root):
        return []
    if root.endswith(".xml"):  # OpenVINO
        return [root, f"{root.removesuffix('.xml')}.bin"]
    weights = f"{root}.data"  # ONNX, if it is large; an earlier export may have left it there
    return [root, weights] if os.path.isfile(weights) and _names(root, os.path.basename(weights)) else []


def _tensorflow_format(call: Call) -> bool:
    # As TF-Keras does.
    given = call.argument("save_format", 3)
    if isinstance(given, str):
        return given.lower().strip() in {"tensorflow", "tf"}
    return not str(call.argument("filepath", 1)).endswith((".h5", ".keras", ".hdf5"))


def _tf_weights(call: Call) -> object:
    path = _file(call)
    return f"{path}.index" if isinstance(path, (str, os.PathLike)) and _tensorflow_format(call) else path


def _tf_shards(root: str) -> list[str]:
    return tensorflow.files(root) if root.endswith(".index") else []


class _Declined(Exception):  # noqa: N818 - it is no error
    """The user does not want a file to be overwritten."""


def _asking(save: Wrapper, where: Where) -> Wrapper:
    """Make the wrapper for a function that may ask whether to overwrite, and returns all the same after a "no".

    Args:
        save: The wrapper, were it not so.
        where: What a call saves to.
    """

    def wrapper(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        before = None
        with contained("follow a save of keras"):
            call = Call(args, kwargs)
            overwrite = call.argument("overwrite", 2)
            if overwrite is not None and not overwrite:
                before = _state(where(call))
        if before is None:
            return save(original, *args, **kwargs)

        def unless_declined(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if _state(where(Call(args, kwargs))) == before:
                raise _Declined
            return result

        try:
            return save(unless_declined, *args, **kwargs)
        except _Declined:
            return None

    return wrapper


def _state(path: Any) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except (OSError, TypeError, ValueError):  # None among them
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _in_passing(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Pickle a model by way of a temporary file, which nobody else gets to see."""
    with paused():
        return original(*args, **kwargs)


def _by_way_of_a_copy(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Save to a temporary folder what is copied to a remote path then."""
    remote = False
    with contained("follow a save of tf_keras"):
        call = Call(args, kwargs)
        remote = _file(call) is not call.argument("filepath", 1)
    if remote:
        return _in_passing(original, *args, **kwargs)
    return original(*args, **kwargs)


def _backup(call: Call) -> object:
    return local(call.args[0].backup_dir)


def _steps(call: Call) -> Any:
    return call.args[0].optimizer.iterations


SAVE: Final = _asking(saves(FRAMEWORK, _file, step=_steps), _file)
"""Wraps ``Model.save``, where that is not found by its own patches."""

SAVE_WEIGHTS: Final = _asking(saves(FRAMEWORK, _weights(3), files=_shards, step=_steps), _weights(3))
"""Wraps ``Model.save_weights``."""

EXPORT: Final = saves(FRAMEWORK, _file, files=_exported)
"""Wraps ``Model.export``."""

_RETURN: Final = "on return"

PATCHES: Final = (
    # def save_model(model, filepath, weights_format="h5", zipped=True)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _file, step=_steps),
        ("keras.src.saving.saving_lib:save_model",),
        seen="`Model.save`, `keras.saving.save_model` and `ModelCheckpoint`, to a `.keras` file or, with "
        "`zipped=False`, a folder",
        signed="the file, or the folder",
        complete=_RETURN,
    ),
    # def save_model_to_hdf5(model, filepath, overwrite=True, include_optimizer=True)
    Patch(
        FRAMEWORK,
        SAVE,
        ("keras.src.legacy.saving.legacy_h5_format:save_model_to_hdf5",),
        seen="the same to an `.h5` file",
        signed="the file",
        complete=_RETURN,
    ),
    # def save_weights_only(model, filepath, max_shard_size=None, objects_to_skip=None)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _weights(2), files=_shards, step=_steps),
        ("keras.src.saving.saving_lib:save_weights_only",),
        seen="`Model.save_weights`, `keras.saving.save_weights` and `ModelCheckpoint(save_weights_only=True)`",
        signed="the file; with `max_shard_size` the `.weights.json` file and the shards that it names",
        complete="on return: the index of shards is last",
    ),
    # def save(self, filepath)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _file),
        ("keras.src.saving.file_editor:KerasFileEditor.save",),
        seen="`KerasFileEditor.save`",
        signed="the file",
        complete=_RETURN,
        since="3.6",
    ),
    # def _save_model(self)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _backup, step=lambda call: call.args[0].model.optimizer.iterations),
        ("keras.src.callbacks.backup_and_restore:BackupAndRestore._save_model",),
        seen="`BackupAndRestore`",
        signed="its folder",
        complete="on return: `training_metadata.json` is last",
        since="3.1",  # before, it was in another module
    ),
    # def export(self, filepath, format="tf_saved_model", verbose=None, input_signature=None, **kwargs)
    Patch(
        FRAMEWORK,
        EXPORT,
        ("keras.src.models.model:Model.export",),
        seen="`Model.export` in every format",
        signed="the folder of a SavedModel; else the file, with that of its weights if there is one",
        complete=_RETURN,
    ),
    # def write_out(self, filepath, options=None, verbose=True)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _file),
        ("keras.src.export.saved_model_export_archive:SavedModelExportArchive.write_out",),
        seen="`ExportArchive.write_out`",
        signed="the folder",
        complete=_RETURN,
        since="3.14",  # before, in others, where the hook of TensorFlow sees it
    ),
    # All of them have the model, or the archive, and then the path.
    *(
        Patch(TF_KERAS, wrapper, (f"tf_keras.src.{name}",), seen=seen, signed=signed, complete=_RETURN)
        for name, wrapper, seen, signed in (
            (
                "saving.saving_lib:save_model",
                saves(TF_KERAS, _file, step=_steps),
                "`Model.save`, `save_model` and `ModelCheckpoint`, to a `.keras` file",
                "the file",
            ),
            (
                "saving.legacy.hdf5_format:save_model_to_hdf5",
                _asking(saves(TF_KERAS, _file, step=_steps), _file),
                "the same to an `.h5` file",
                "the file",
            ),
            (
                "saving.legacy.saved_model.save:save",
                _asking(saves(TF_KERAS, _file, step=_steps), _file),
                "the same as a SavedModel",
                "the folder",
            ),
            (
                "saving.saving_lib:save_weights_only",
                saves(TF_KERAS, _file, step=_steps),
                "`Model.save_weights` to a `.weights.h5` file",
                "the file",
            ),
            (
                "saving.legacy.save:save_weights",
                _asking(saves(TF_KERAS, _tf_weights, files=_tf_shards, step=_steps), _tf_weights),
                "the same to other names, as HDF5 or in the format of tf.train.Checkpoint",
                "the file, or `P.index` with `P.data-*`",
            ),
            (
                "export.export_lib:ExportArchive.write_out",
                saves(TF_KERAS, _file, step=_steps),
                "`Model.export` and `ExportArchive.write_out`",
                "the folder",
            ),
        )
    ),
    # def serialize_model_as_bytecode(model)
    Patch(
        TF_KERAS,
        _in_passing,
        ("tf_keras.src.saving.pickle_utils:serialize_model_as_bytecode",),
        seen="a model that is pickled, through a temporary file",
        signed="nothing",
        complete="-",
    ),
    # def save_model(model, filepath, overwrite=True, save_format=None, **kwargs)
    Patch(
        TF_KERAS,
        _by_way_of_a_copy,
        (
            "tf_keras.src.saving.saving_api:save_model",
            *(f"tf_keras.{module}:save_model" for module in ("saving", "models", "src.models")),
        ),
        seen="`.keras` and `.h5` files for a remote path, through a temporary file",
        signed="nothing",
        complete="-",
    ),
    # def save_weights(model, filepath, overwrite=True, **kwargs)
    Patch(
        TF_KERAS,
        _by_way_of_a_copy,
        ("tf_keras.src.saving.saving_api:save_weights",),
        seen="the same of weights",
        signed="nothing",
        complete="-",
    ),
)
