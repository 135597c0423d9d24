"""The exceptions: what they say, what they are, and that they travel between processes."""

from __future__ import annotations

import pickle

import pytest
from model_signing_autosign import errors

CLASSES = [
    errors.AutosignError,
    errors.ConfigError,
    errors.MismatchError,
    errors.SigningError,
    errors.UnsignedError,
    errors.VerificationError,
]


@pytest.mark.parametrize("error_class", CLASSES)
def test_message_and_hint(error_class: type[errors.AutosignError]) -> None:
    error = error_class("what happened", "what to do")
    assert isinstance(error, errors.AutosignError)
    assert (error.args, error.hint) == (("what happened",), "what to do")
    assert str(error) == "what happened\nhint: what to do"
    assert str(error_class("what happened")) == "what happened"
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.args, again.hint) == (error_class, error.args, error.hint)


def test_errors_are_what_upstream_raises() -> None:
    for error_class in (errors.ConfigError, errors.SigningError, errors.VerificationError):
        assert issubclass(error_class, ValueError)
    for error_class in (errors.MismatchError, errors.UnsignedError):
        assert issubclass(error_class, errors.VerificationError)


def test_a_mismatch_names_files_and_travels() -> None:
    error = errors.MismatchError("what", "do", ["gone"], ["altered"], ["new"])
    again = pickle.loads(pickle.dumps(error))
    assert (again.missing, again.changed, again.added, again.hint) == (["gone"], ["altered"], ["new"], "do")
