# SPDX-License-Identifier: Apache-2.0
"""Objects dumped by joblib, as scikit-learn's models are. Off unless MODEL_SIGNING_HOOKS names it.

A dump is one file, compressed or not, and is complete when ``dump`` returns the list of that one name. It is hooked
under the names that are looked up when they are called and those that pickling goes by: a worker of ``Parallel`` may be
sent to dump. The workers of loky, which is its default, are Pythons that import nothing of the program: they get the
folder that switches signing on, as under ``model-signing run``.

``Parallel`` itself dumps large arrays to pass them to its workers. These are no models, live in a folder of joblib's
own, and are removed by another process, so nothing is signed where it does.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from model_signing_autosign._faults import contained
from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import argument, paused, saves
from model_signing_autosign._startup import pythonpath

if TYPE_CHECKING:
    from collections.abc import Callable

FRAMEWORK: Final = Framework("joblib", versions=">=1.2,<2", tested="1.6.0")


def _pass_to_worker(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    with paused():
        return original(*args, **kwargs)


def _sign_in_worker(original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    environment = original(*args, **kwargs)
    with contained("sign in the workers of joblib"):
        before = environment.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
        environment["PYTHONPATH"] = pythonpath(before)
    return environment


PATCHES: Final = (
    # def dump(value, filename, compress=0, protocol=None)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("filename", 1)),
        ("joblib.numpy_pickle:dump", "joblib:dump", "joblib._memmapping_reducer:dump"),
        seen="`joblib.dump` to a path, compressed or not; not bound by `from joblib import dump` before us",
        signed="the file",
        complete="on return",
    ),
    # def __call__(self, a)
    Patch(
        FRAMEWORK,
        _pass_to_worker,
        ("joblib._memmapping_reducer:ArrayMemmapForwardReducer.__call__",),
        seen="arrays that `Parallel` passes to its workers",
        signed="nothing",
        complete="-",
    ),
    # def _prepare_worker_env(self, n_jobs)
    Patch(
        FRAMEWORK,
        _sign_in_worker,
        ("joblib._parallel_backends:ParallelBackendBase._prepare_worker_env",),
        seen="workers of `Parallel` that are processes of their own (loky): signing is switched on there",
        signed="nothing here",
        complete="-",
    ),
)
