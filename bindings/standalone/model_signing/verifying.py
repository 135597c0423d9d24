# SPDX-License-Identifier: Apache-2.0
"""Verify models. See ``model_signing_autosign.verifying``."""

from model_signing_autosign.verifying import Config

__all__ = ["Config"]
