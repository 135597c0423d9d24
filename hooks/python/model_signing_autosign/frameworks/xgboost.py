# SPDX-License-Identifier: Apache-2.0
"""Boosters saved by XGBoost. Off unless MODEL_SIGNING_HOOKS names it.

Scikit-learn's interface and the callback `TrainingCheckPoint` save with ``Booster.save_model``, which has C++ write the
file. With ``as_pickle`` the callback opens a file and pickles into it, which nobody else hears of, so it is hooked as
well. It keeps its own count of rounds, from which it is known whether a call is going to save, and where.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import local, saves

if TYPE_CHECKING:
    from model_signing_autosign._saving import Call

FRAMEWORK: Final = Framework("xgboost", versions=">=2.0,<4", tested="3.2.0")


def _model(call: Call) -> object:
    # Other schemes are there only in builds by hand; the C++ library opens them by itself.
    path = local(call.argument("fname", 1))
    return None if path is None else os.path.expanduser(path)


def _pickle(call: Call) -> object:
    callback, epoch = vars(call.argument("self", 0)), call.argument("epoch", 2)
    saves_now = callback["_as_pickle"] and callback["_epoch"] == callback["_iterations"]
    if not saves_now or sys.modules["xgboost.collective"].get_rank() != 0:
        return None
    return os.path.join(callback["_path"], f"{callback['_name']}_{epoch + callback.get('_start', 0)}.pkl")


PATCHES: Final = (
    # def save_model(self, fname)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _model),
        ("xgboost.core:Booster.save_model",),
        seen="`Booster.save_model`, `XGBModel.save_model`, `TrainingCheckPoint`",
        signed="the file",
        complete="on return",
    ),
    # def after_iteration(self, model, epoch, evals_log)
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, _pickle),
        ("xgboost.callback:TrainingCheckPoint.after_iteration",),
        seen="`TrainingCheckPoint` with `as_pickle`",
        signed="the file",
        complete="on return",
    ),
)
