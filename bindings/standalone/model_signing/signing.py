# SPDX-License-Identifier: Apache-2.0
"""Sign models. See ``model_signing_autosign.signing``."""

from model_signing_autosign.signing import Config, sign

__all__ = ["Config", "sign"]
