# SPDX-License-Identifier: Apache-2.0
"""What is logged to MLflow: artifacts take their signatures along, and a logged model is signed as a whole.

``mlflow``, ``MlflowClient`` and the loggers of other frameworks all end in the client hooked here, which gives each
upload to one of many stores. ``log_model`` of every flavor ends in ``Model.log``: that has the flavor save into a
temporary folder, adds to it, rewrites ``MLmodel``, uploads it through the same client and removes it. So the folder is
complete when its upload begins; what torch and others save into it is part of it. A download by a ``models:/`` URI gets
one more file from MLflow, ``registered_model_meta``, wherever it was logged from.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import Call, argument
from model_signing_autosign._uploads import fills_and_uploads, signature_of, uploads

if TYPE_CHECKING:
    from collections.abc import Callable

# All versions from 2.15 on have it, the whole of MLflow too.
FRAMEWORK: Final = Framework("mlflow", versions=">=2.0,<4", tested="3.17.2", distribution="mlflow-skinny")

_CLIENT: Final = "mlflow.tracking._tracking_service.client:TrackingServiceClient"


def _beside(original: Callable[..., Any], call: Call, _: Any, path: str) -> None:
    # self, run_id or model_id, local_path, artifact_path
    owner = call.argument("run_id", 1) or call.argument("model_id", 1)
    original(call.args[0], owner, signature_of(path), call.argument("artifact_path", 3))


def _is_model(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "MLmodel"))


PATCHES: Final = (
    *(
        Patch(
            FRAMEWORK,
            uploads(FRAMEWORK, argument("local_path", 2), beside=_beside),
            (f"{_CLIENT}.{name}",),
            seen=f"`{name}` of a file or folder, by whomever",
            signed="nothing: the signature of a file is uploaded to the same place",
            complete="-",
            since=since,
        )
        for name, since in (("log_artifact", ""), ("log_model_artifact", "3.0"))
    ),
    *(
        Patch(
            FRAMEWORK,
            uploads(FRAMEWORK, argument("local_dir", 2), filled=_is_model),
            (f"{_CLIENT}.{name}",),
            seen=f"`{name}`, which waits for the signatures in the folder",
            signed="nothing",
            complete="-",
            since=since,
        )
        for name, since in (("log_artifacts", ""), ("log_model_artifacts", "3.0"))
    ),
    Patch(
        FRAMEWORK,
        fills_and_uploads(FRAMEWORK),
        ("mlflow.models.model:Model.log",),
        seen="`log_model` of every flavor, also by autologging",
        signed="the folder that is uploaded",
        complete="when its upload begins",
    ),
    Patch(
        FRAMEWORK,
        fills_and_uploads(FRAMEWORK),
        ("mlflow.models.model:Model._log_v2",),
        seen="`mlflow.spark.log_model`",
        signed="the folder that is uploaded",
        complete="when its upload begins",
        since="3.0",
    ),
)
