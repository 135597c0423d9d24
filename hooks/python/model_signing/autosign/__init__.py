# SPDX-License-Identifier: Apache-2.0
"""The switch: ``import model_signing.autosign`` turns signing on, then stands for ``model_signing_autosign``."""

import sys

import model_signing_autosign

model_signing_autosign.enable()
sys.modules[__name__] = model_signing_autosign
