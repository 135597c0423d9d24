# SPDX-License-Identifier: Apache-2.0
"""Lightning checkpoints, of ``lightning`` and of its older double, ``pytorch_lightning`` with ``lightning_fabric``.

Lightning pickles into memory and moves a temporary file into place, so the hooks of torch see no path. Trainer, Fabric
and callbacks all end in the checkpoint plugin's ``save_checkpoint``, on the rank that writes and, for
AsyncCheckpointIO, in the thread that writes: ``Trainer.save_checkpoint`` returns before. Strategies that shard bypass
the plugin and write a folder with all ranks; it is complete when rank 0 returns, which adds ``meta.pt`` or ``latest``
as the last file. Where they gather all on rank 0 they end in the plugin or in ``torch.save``.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import contained
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, local, saves
from model_signing_autosign._uploads import signatures_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from model_signing_autosign._saving import Where

# Before, every Trainer says that it adds 0 callbacks, where this package is installed: it asks plugins/lightning.py.
_VERSIONS: Final = ">=2.0.5,<3"
FRAMEWORK: Final = Framework("lightning", versions=_VERSIONS, tested="2.6.6")
PYTORCH: Final = Framework("pytorch_lightning", versions=_VERSIONS, tested="2.6.6", distribution="pytorch-lightning")
# Comes with pytorch-lightning, or alone as lightning-fabric.
FABRIC: Final = Framework("lightning_fabric", versions=_VERSIONS, tested="2.6.6", distribution="lightning-fabric")


def _local(path: object) -> str | None:
    """Return the local path that Lightning, through fsspec, writes to; None for a URL of anything else."""
    found = local(path)
    return None if found is None or "::" in found else os.path.expanduser(found)


def file(path: object) -> str | None:
    """Return the same where a file is written: over a folder, Lightning leaves one with a random name in there."""
    where = _local(path)
    return None if where is None or os.path.isdir(where) else where


def _folder(position: int, name: str, sharded: Callable[[Any], bool]) -> Where:
    """Make the same for a strategy that writes a folder only where it is set up to shard."""
    return lambda call: _local(call.argument(name, position)) if sharded(call.args[0]) else None


def step(call: Call) -> Any:
    """Return the step that a Trainer writes into its checkpoint; Fabric saves what it is given, and tells of none."""
    return call.argument("checkpoint", 1)["global_step"]


def _reports(call: Call) -> bool:
    return bool(call.args[0].is_global_zero)


def _link(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Link ``last.ckpt`` to a checkpoint, which has a signature of its own; a link is never signed."""
    result = original(*args, **kwargs)
    with contained("take back the signature of a checkpoint that is a link now"):
        link = _local(Call(args, kwargs).argument("linkpath", 2))
        if link is not None and os.path.islink(link):
            for signature in signatures_of(link):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(signature)
    return result


def _patches(fabric: tuple[Framework, str], trainer: tuple[Framework, str]) -> Iterator[Patch]:
    """Yield the patches of one code tree: its part for Fabric and its part for the Trainer."""
    yield Patch(
        fabric[0],
        saves(fabric[0], lambda call: file(call.argument("path", 2)), step=step),
        (f"{fabric[1]}.plugins.io.torch_io:TorchCheckpointIO.save_checkpoint",),
        seen="`Trainer.save_checkpoint`, `ModelCheckpoint`, `AsyncCheckpointIO`, `Fabric.save`",
        signed="the file",
        complete="on return: it is moved into place",
    )
    strategies: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
        ("fsdp:FSDPStrategy", lambda strategy: strategy._state_dict_type == "sharded", "2.1"),
        ("model_parallel:ModelParallelStrategy", lambda strategy: strategy._save_distributed_checkpoint, "2.3"),
        ("deepspeed:DeepSpeedStrategy", lambda _: True, ""),
    )
    for (framework, package), position, name in ((fabric, 1, "path"), (trainer, 2, "filepath")):
        for strategy, sharded, since in strategies:
            yield Patch(
                framework,
                saves(framework, _folder(position, name, sharded), owned=_reports, step=step),
                (f"{package}.strategies.{strategy}.save_checkpoint",),
                seen=f"the same with {strategy.partition(':')[2]} where it shards",
                signed="the folder",
                complete="on return on global rank 0",
                since=since,
            )
    yield Patch(
        trainer[0],
        _link,
        (f"{trainer[1]}.callbacks.model_checkpoint:ModelCheckpoint._link_checkpoint",),
        seen='`last.ckpt` of `ModelCheckpoint(save_last="link")`',
        signed="nothing: the signature of a file that was there before is removed",
        complete="-",
        since="2.1",
    )


PATCHES: Final = (
    *_patches((FRAMEWORK, "lightning.fabric"), (FRAMEWORK, "lightning.pytorch")),
    *_patches((FABRIC, "lightning_fabric"), (PYTORCH, "pytorch_lightning")),
)
