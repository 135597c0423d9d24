# SPDX-License-Identifier: Apache-2.0
"""Boosters saved by LightGBM. Off unless MODEL_SIGNING_HOOKS names it.

What scikit-learn's interface has trained is saved by its ``booster_``, so that one method is all. C++ writes the file,
then Python appends the categories of pandas to it. `CVBooster` writes JSON by itself.
"""

from __future__ import annotations

from typing import Final

from model_signing_autosign._patch import Framework, Patch
from model_signing_autosign._saving import argument, saves

FRAMEWORK: Final = Framework("lightgbm", versions=">=4.0,<5", tested="4.7.0")

PATCHES: Final = (
    # def save_model(self, filename, num_iteration=None, start_iteration=0, importance_type='split')
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("filename", 1)),
        ("lightgbm.basic:Booster.save_model",),
        seen="`Booster.save_model`, of `booster_` of `LGBMModel` too",
        signed="the file",
        complete="on return: the categories are last",
    ),
    # def save_model(self, filename, num_iteration=None, start_iteration=0, importance_type='split')
    Patch(
        FRAMEWORK,
        saves(FRAMEWORK, argument("filename", 1)),
        ("lightgbm.engine:CVBooster.save_model",),
        seen="`CVBooster.save_model`",
        signed="the file",
        complete="on return",
    ),
)
