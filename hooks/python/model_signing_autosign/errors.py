# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as exceptions.

The classes live in Python, not in the Rust core, so that they are ordinary to catch, document and pickle. The core
imports them by name and raises them as ``Class(message, hint)``.
"""

from __future__ import annotations


class AutosignError(Exception):
    """Base of every error this package raises.

    Args:
        message: What happened, naming the path or setting concerned.
        hint: What to do next; may be empty.

    Attributes:
        hint: As given.

    Examples:
        >>> error = SigningError("cannot sign ckpt.pt", "set MODEL_SIGNING_PRIVATE_KEY")
        >>> error.hint
        'set MODEL_SIGNING_PRIVATE_KEY'
        >>> print(error)
        cannot sign ckpt.pt
        hint: set MODEL_SIGNING_PRIVATE_KEY
    """

    hint: str

    def __init__(self, message: str, hint: str = "") -> None:
        # `hint` stays out of `args`: pickle then restores it from __dict__, and args[0] is the bare message.
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}\nhint: {self.hint}" if self.hint else message


class ConfigError(AutosignError):
    """A setting has no usable value."""


class SigningError(AutosignError):
    """A model could not be hashed or signed, or its signature could not be written."""


class VerificationError(AutosignError, ValueError):
    """A model does not match its signature, or the signature is not to be trusted.

    It is a ``ValueError`` too, because the ``model_signing`` package raises that and code written for it must go on
    working.
    """


class UnsignedError(VerificationError):
    """There is no signature to verify."""
