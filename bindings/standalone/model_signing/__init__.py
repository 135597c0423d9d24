# SPDX-License-Identifier: Apache-2.0
"""The names of the ``model_signing`` package, for machines without it: all of it is ``model_signing_autosign``.

Examples:
    >>> import model_signing
    >>> config = model_signing.signing.Config().use_elliptic_key_signer(private_key="key.pem")
    >>> config.sign("model", "model.sig")
"""

import os
import warnings

import model_signing_autosign

from model_signing import hashing, manifest, signing, verifying

__version__ = "0.1.0"

__all__ = ["hashing", "manifest", "signing", "verifying"]

# The switch, `model_signing.autosign`, lies beside the package that it switches on, wherever that is installed.
_switch = os.path.join(os.path.dirname(os.path.dirname(model_signing_autosign.__file__)), "model_signing")
if _switch not in __path__:
    __path__.append(_switch)

# Of upstream's own, and nothing of ours overwrites it.
if any(os.path.isdir(os.path.join(folder, "_signing")) for folder in __path__):
    warnings.warn(
        "model-signing and model-signing-standalone are both installed, and share the folder model_signing: some "
        "of its files are of the one, some of the other. Uninstall both, then install the one that you want.",
        RuntimeWarning,
        stacklevel=2,
    )
