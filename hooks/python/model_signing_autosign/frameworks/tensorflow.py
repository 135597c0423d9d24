# SPDX-License-Identifier: Apache-2.0
"""SavedModels and checkpoints of TensorFlow, and what becomes of them.

Whatever is called, a SavedModel is written by ``save_and_return_nodes``, and a checkpoint by ``TrackableSaver.save``:
for an asynchronous one that is in its thread. A checkpoint ``P`` is a group of files, ``P.index`` and one or more
``P.data-*``; the index is written last, and the signature is ``P.index.sig``. The state file ``checkpoint`` beside them
changes with each save and is part of none. TensorFlow 1 has a saver and a builder of SavedModels of its own, which adds
a ``P.meta`` or saves a checkpoint inside its folder.

All files are written, renamed and removed in C++, so a rotation has to be told of by hand. The three functions hooked
for that are those that ``tf.io.gfile`` and all else end in.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, local, saves, tells

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_signing_autosign._saving import Where

FRAMEWORK: Final = Framework("tensorflow", versions=">=2.12,<3", tested="2.21.0")


def _index(prefix: str | None) -> str | None:
    return None if prefix is None else f"{prefix}.index"


def files(index: str) -> list[str]:
    """Return the files of a checkpoint: an earlier one of that name may have left others, in more or fewer shards."""
    prefix = index.removesuffix(".index")
    folder, name = os.path.split(prefix)
    shards = [os.path.join(folder, file) for file in os.listdir(folder) if file.startswith(f"{name}.data-")]
    newest = max(shards, key=os.path.getmtime)
    return [index, *(shard for shard in sorted(shards) if shard[-9:] == newest[-9:])]  # "-of-00003"


def _files_of_saver(index: str) -> list[str]:
    meta = f"{index.removesuffix('.index')}.meta"
    return [*files(index), *([meta] if os.path.isfile(meta) else ())]


def _written(call: Call) -> object:
    if sys.modules["tensorflow.python.framework.ops"].inside_function():
        return None  # traced now, and run later without Python
    prefix, number = call.argument("file_prefix", 1), call.argument("checkpoint_number", 2)
    if hasattr(prefix, "numpy"):
        prefix = prefix.numpy()
    prefix = local(prefix)
    return _index(f"{prefix}-{int(number)}" if prefix and number else prefix)


def _reports(_: Call) -> bool:
    """Whether this process is the chief: the other workers save, too, into folders that they then remove."""
    distribute: Any = sys.modules["tensorflow"].distribute
    if distribute.has_strategy():
        return bool(distribute.get_strategy().extended.should_checkpoint)
    util: Any = sys.modules["tensorflow.python.distribute.multi_worker_util"]
    with contextlib.suppress(ValueError):  # a TF_CONFIG that TensorFlow cannot make sense of
        resolver = distribute.cluster_resolver.TFConfigClusterResolver()
        cluster = resolver.cluster_spec().as_dict()
        return not cluster or bool(util.is_chief(cluster, resolver.task_type, resolver.task_id))
    return True


_SAVES: Final = saves(FRAMEWORK, _written, files=files, owned=_reports)


def _save(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    def completed(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        context: Any = sys.modules["tensorflow.python.eager.context"]
        if context.executing_eagerly():
            context.async_wait()  # as the caller does next, who would raise the same then
        return result

    return _SAVES(completed, *args, **kwargs)


def _named_in_advance(call: Call) -> object:
    step = call.argument("global_step", 3)
    return _index(local(call.argument("save_path", 2))) if step is None else None


def _saved(_: Call, prefix: Any) -> object:
    index = _index(local(prefix))
    # The format of version 1 has none.
    return index if index is not None and os.path.isfile(index) else None


def _builder(call: Call) -> object:
    return local(call.args[0]._export_dir)


def _argument(name: str, position: int) -> Where:
    return lambda call: local(call.argument(name, position))


_BUILDER: Final = "tensorflow.python.saved_model.builder_impl"
_GFILE: Final = "tensorflow.python.lib.io._pywrap_file_io"

PATCHES: Final = (
    # def save_and_return_nodes(obj, export_dir, signatures=None, options=None, experimental_skip_checkpoint=False)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, lambda call: local(call.argument("export_dir", 1)), owned=_reports),
        ("tensorflow.python.saved_model.save:save_and_return_nodes",),
        seen="`tf.saved_model.save`, and `export` of Keras",
        signed="the folder",
        complete="on return: `fingerprint.pb` is last",
    ),
    # def save(self, file_prefix, checkpoint_number=None, session=None, options=None)
    Patch(
        FRAMEWORK,
        _save,
        ("tensorflow.python.checkpoint.checkpoint:TrackableSaver.save",),
        seen="`tf.train.Checkpoint`, `CheckpointManager`, also asynchronous and in shards; not in a `tf.function`",
        signed="`P.index` with `P.data-*`, as `P.index.sig`, by the chief",
        complete="on return: the index is last",
    ),
    # def save(self, sess, save_path, global_step=None, ...)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _named_in_advance, after=_saved, files=_files_of_saver, owned=_reports),
        ("tensorflow.python.training.saver:Saver.save",),
        seen="`tf.compat.v1.train.Saver` in the format of version 2",
        signed="the same with `P.meta`",
        complete="on return: `P.meta` is last",
    ),
    *(
        Patch(
            FRAMEWORK,
            saves(FRAMEWORK, _builder, owned=lambda call: False),
            (f"{_BUILDER}:{builder}.add_meta_graph_and_variables",),
            seen="the checkpoint in a SavedModel of `tf.compat.v1`",
            signed="nothing by itself",
            complete="when built",
        )
        for builder in ("SavedModelBuilder", "_SavedModelBuilder")
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _builder, owned=_reports),
        (f"{_BUILDER}:_SavedModelBuilder.save",),
        seen="SavedModels of `tf.compat.v1`",
        signed="the folder",
        complete="on return: `saved_model.pb` is last",
    ),
    *(
        Patch(
            FRAMEWORK,
            tells(event, *paths),
            (f"{_GFILE}:{name}",),
            seen=f"`tf.io.gfile.{what}`, and the rotation of checkpoints",
            signed="nothing: the signature goes with what it is for",
            complete="-",
        )
        for name, what, event, paths in (
            ("DeleteFile", "remove", "os.remove", (_argument("filename", 0),)),
            ("DeleteRecursively", "rmtree", "shutil.rmtree", (_argument("dirname", 0),)),
            ("RenameFile", "rename", "os.rename", (_argument("src", 0), _argument("target", 1))),
        )
    ),
)
