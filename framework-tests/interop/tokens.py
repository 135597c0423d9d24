"""Puts onto a token what softhsm2-util cannot: arguments are module, token, PIN, and then what to do.

Run by upstream's Python, which has PyKCS11 and cryptography.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import PyKCS11
from cryptography import x509
from cryptography.hazmat.primitives import serialization

P256 = bytes.fromhex("06082a8648ce3d030107")


def certificate(session: Any, number: str, file: str) -> None:
    """Put the certificate of the PEM `file` beside the private key of that id."""
    parsed = x509.load_pem_x509_certificate(Path(file).read_bytes())
    template = [
        (PyKCS11.CKA_CLASS, PyKCS11.CKO_CERTIFICATE),
        (PyKCS11.CKA_CERTIFICATE_TYPE, PyKCS11.CKC_X_509),
        (PyKCS11.CKA_TOKEN, PyKCS11.CK_TRUE),
        (PyKCS11.CKA_ID, bytes.fromhex(number)),
        (PyKCS11.CKA_SUBJECT, parsed.subject.public_bytes()),
        (PyKCS11.CKA_VALUE, parsed.public_bytes(serialization.Encoding.DER)),
    ]
    session.createObject(template)


def always_authenticates(session: Any, number: str) -> None:
    """Make a key that wants the PIN for every signature."""
    name = [(PyKCS11.CKA_ID, bytes.fromhex(number)), (PyKCS11.CKA_TOKEN, PyKCS11.CK_TRUE)]
    public = [*name, (PyKCS11.CKA_EC_PARAMS, P256), (PyKCS11.CKA_VERIFY, PyKCS11.CK_TRUE)]
    private = [*name, (PyKCS11.CKA_SIGN, PyKCS11.CK_TRUE), (PyKCS11.CKA_ALWAYS_AUTHENTICATE, PyKCS11.CK_TRUE)]
    session.generateKeyPair(public, private, mecha=PyKCS11.Mechanism(PyKCS11.CKM_EC_KEY_PAIR_GEN, None))


def main(module: str, label: str, pin: str, what: str, *arguments: str) -> None:
    library = PyKCS11.PyKCS11Lib()
    library.load(module)
    [slot] = [slot for slot in library.getSlotList() if library.getTokenInfo(slot).label.strip() == label]
    session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
    session.login(pin)
    {"certificate": certificate, "always authenticates": always_authenticates}[what](session, *arguments)
    session.closeSession()


if __name__ == "__main__":
    main(*sys.argv[1:])
