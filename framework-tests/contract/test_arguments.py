"""Arguments that are wrong are named, and nothing is done by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import model_signing_autosign as autosign
import pytest


@pytest.mark.parametrize("path", ["ca.pem", Path("ca.pem"), b"ca.pem"])
@pytest.mark.parametrize("name", ["certificate_chain", "timestamp_certificate_chain", "revocation_list"])
def test_one_path_is_no_list_of_them(name: str, path: Any) -> None:
    with pytest.raises(TypeError, match=f"^{name} is a list of paths, such as "):
        autosign.verify("model", **{name: path})


def test_nor_is_it_when_signing() -> None:
    with pytest.raises(TypeError, match=r"^certificate_chain is a list of paths"):
        autosign.sign("model", private_key="key.pem", signing_certificate="one.pem", certificate_chain="ca.pem")


@pytest.mark.parametrize("wrong", [-1, 1 << 64])
def test_a_step_is_a_number_from_0(wrong: int) -> None:
    with pytest.raises(ValueError, match=f"^step is {wrong}, not a number of steps"):
        autosign.set_step(wrong)
    with pytest.raises(ValueError, match=f"^min_step is {wrong}, not a number of steps"):
        autosign.verify("model", public_key="key.pem", min_step=wrong)
    one: Any = 1.5
    with pytest.raises(TypeError, match="integer"):
        autosign.set_step(one)
    with pytest.raises(TypeError, match="integer"):
        autosign.verify("model", public_key="key.pem", min_step=one)


def test_a_signature_says_which_argument_it_wants(tmp_path: Path, keys: Any) -> None:
    model = tmp_path / "last.pt"
    model.write_bytes(b"weights")
    with pytest.raises(TypeError, match=r"or policy$"):
        autosign.verify(model)
    signature = autosign.sign(model, private_key=keys.private)
    for given in ({}, {"signature": signature}, {"identity": "alice@example.com"}):
        with pytest.raises(TypeError, match=r"made with a key: .* `verify\(MODEL, public_key=KEY\)`$"):
            autosign.verify(model, **given)
