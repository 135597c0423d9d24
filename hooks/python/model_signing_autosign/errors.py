# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as exceptions.

The classes live in Python, not in the Rust core, so that they are ordinary to catch, document and pickle. The core
imports them by name and raises them as ``Class(message, hint)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


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


class ConfigError(AutosignError, ValueError):
    """A setting has no usable value."""


class SigningError(AutosignError, ValueError):
    """A model could not be hashed or signed, or its signature could not be written."""


class VerificationError(AutosignError, ValueError):
    """A model does not match its signature, or the signature is not to be trusted.

    It is a ``ValueError`` too, because the ``model_signing`` package raises that and code written for it must go on
    working.
    """


class MismatchError(VerificationError):
    """The signature is good, and the model is not the one that was signed.

    Args:
        message: What happened.
        hint: What to do next; may be empty.
        missing: Files that were signed and are not there.
        changed: Files with other content than was signed.
        added: Files that are there and were not signed.

    Attributes:
        missing: As given; names relative to the model.
        changed: As given.
        added: As given.

    Examples:
        >>> MismatchError("the model is not the one that was signed", changed=["weights.bin"]).changed
        ['weights.bin']
    """

    missing: list[str]
    changed: list[str]
    added: list[str]

    def __init__(
        self,
        message: str,
        hint: str = "",
        missing: Sequence[str] = (),
        changed: Sequence[str] = (),
        added: Sequence[str] = (),
    ) -> None:
        super().__init__(message, hint)
        self.missing, self.changed, self.added = list(missing), list(changed), list(added)


class UnsignedError(VerificationError):
    """There is no signature to verify."""
