# SPDX-License-Identifier: Apache-2.0
"""torch.distributed.checkpoint: folders that all ranks write together.

``save``, ``save_state_dict`` and ``async_save`` in a thread all look up ``_save_state_dict`` when they are called, and
it returns on each rank only when the coordinator has written ``.metadata``, after all others are done. Without
collectives each rank writes a metadata file of its own, and a barrier follows. So the folder is complete when the
coordinator returns, which alone reports it.

``async_save`` in a process hands the work to a spawned one. There the import of the user's main module, or
``model-signing run``, may enable signing once more, and it is ended without notice; so it only covers what it saves,
and its parent reports it, in the thread that waits for it, before the future is done.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import local, saves

if TYPE_CHECKING:
    from model_signing_autosign._saving import Call

FRAMEWORK: Final = Framework("torch", versions=">=2.2,<3", tested="2.15.0", part="torch.distributed.checkpoint")

_COMPLETE: Final = "when the coordinator returns: all ranks have written theirs by then"


def _folder(writer: Any, checkpoint_id: Any = None) -> object:
    """Return where a storage writer writes, or None where that is no folder on a file system.

    Args:
        writer: The storage writer, or None where torch is to choose one by ``checkpoint_id``.
        checkpoint_id: Where the writer will be pointed to, or None.
    """
    if writer is None:
        return local(checkpoint_id)
    filesystem: Any = sys.modules["torch.distributed.checkpoint.filesystem"]
    if not isinstance(writer, getattr(filesystem, "_FileSystemWriter", filesystem.FileSystemWriter)):
        return None
    # The HF writer's shards lie in a folder of the one that it puts them together in.
    path = getattr(writer, "consolidated_output_path", None) or checkpoint_id or writer.path
    system = getattr(writer, "fs", None)  # torch 2.2 has but one kind
    if system is None or isinstance(system, filesystem.FileSystem):
        return path
    fsspec = getattr(system, "fs", None)
    protocol = getattr(fsspec, "protocol", ())
    is_local = "file" in ((protocol,) if isinstance(protocol, str) else protocol)
    return fsspec._strip_protocol(path) if fsspec is not None and is_local else None


def _coordinates(group: Any, rank: int, *, alone: bool) -> bool:
    distributed: Any = sys.modules["torch.distributed"]
    # Not initialised, it is torch that has to say so.
    if alone or not distributed.is_available() or not distributed.is_initialized():
        return True
    return bool(distributed.get_rank(group) == rank)


def _written(call: Call) -> object:
    return _folder(call.argument("storage_writer", 1))


def _coordinates_writing(call: Call) -> bool:
    return _coordinates(
        call.argument("process_group", 2),
        call.argument("coordinator_rank", 3) or 0,
        alone=bool(call.argument("no_dist", 4)),
    )


def _handed_over(call: Call) -> object:
    return _folder(call.kwargs.get("storage_writer"), call.kwargs.get("checkpoint_id"))


def _requested(call: Call) -> object:
    return _folder(call.kwargs.get("storage_writer"), call.kwargs["checkpoint_request_id"].checkpoint_id)


# The rank of the process that writes for this one, which it keeps from the first save on: told with that one only.
_writing: dict[str, int] = {}


def _coordinates_waiting(call: Call) -> bool:
    started = call.kwargs.get("pg_init_info")
    if started is not None:
        _writing["rank"] = started.global_rank
    alone = bool(call.kwargs.get("no_dist"))
    return alone or _writing["rank"] == 0 if "rank" in _writing else _coordinates(None, 0, alone=alone)


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _written, owned=_coordinates_writing),
        (
            "torch.distributed.checkpoint.state_dict_saver:_save_state_dict",
            "torch.distributed.checkpoint.format_utils:_save_state_dict",
        ),
        seen="`torch.distributed.checkpoint`: `save`, `save_state_dict`, `async_save` in a thread, with writers to "
        "folders, fsspec's and HF's among them",
        signed="the folder",
        complete=_COMPLETE,
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _handed_over, owned=_coordinates_waiting),
        (
            "torch.distributed.checkpoint._async_process_executor:_ProcessBasedAsyncCheckpointExecutor._execute_save_impl",
        ),
        seen="`async_save` in a process",
        signed="the folder",
        complete="before its future is done",
        since="2.7",
    ),
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _requested, owned=lambda call: False),
        ("torch.distributed.checkpoint._async_process_executor:_AsyncCheckpointProcess._execute_save",),
        seen="the same in that process",
        signed="nothing: the parent does",
        complete="before the parent is told",
        since="2.7",
    ),
)
