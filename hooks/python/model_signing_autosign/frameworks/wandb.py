# SPDX-License-Identifier: Apache-2.0
"""What is put into an artifact of Weights & Biases takes its signature along.

``add_file`` and ``add_dir`` copy at once, and upload later. ``Run.log_artifact`` and ``log_model`` of a path, and
the loggers of other frameworks, call these two. ``wandb.save`` does not: it links files into the run's folder.

A file may get another name in the artifact: Lightning's logger calls each checkpoint ``model.ckpt``. A signature says
the name, so such a file is signed under the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import say
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, argument
from model_signing_autosign._uploads import signature_as, uploads

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMEWORK: Final = Framework("wandb", versions=">=0.16,<1", tested="0.31.0")


def _beside(original: Callable[..., Any], call: Call, entry: Any, path: str) -> None:
    name = str(entry.path)
    with signature_as(path, name.rpartition("/")[2]) as signature:
        if signature is None:
            say(f"{path} is put into an artifact as {name}: its signature, for another name, is left out")
            return
        # Copied, whatever the file's own policy is: the signature may be gone before the upload.
        again = {"overwrite": True} if call.argument("overwrite", 6) else {}
        original(call.args[0], signature, f"{name}.sig", **again)


PATCHES: Final = (
    Patch(
        FRAMEWORK,
        uploads(FRAMEWORK, argument("local_path", 1), beside=_beside),
        ("wandb.sdk.artifacts.artifact:Artifact.add_file",),
        seen="`Artifact.add_file`, `Run.log_model` and `Run.log_artifact` of a file; not `wandb.save`, nor references",
        signed="nothing: the signature is added beside the file; under another name, the file",
        complete="-",
    ),
    Patch(
        FRAMEWORK,
        uploads(FRAMEWORK, argument("local_path", 1)),
        ("wandb.sdk.artifacts.artifact:Artifact.add_dir",),
        seen="the same of a folder, once the signatures in it are there",
        signed="nothing",
        complete="-",
    ),
)
