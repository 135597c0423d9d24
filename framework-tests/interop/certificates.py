"""Writes the certificates and keys of these tests into a folder.

Run by upstream's Python, which has cryptography.

`leaf0`, `leaf1` and `leaf2` have as many authorities between them and `root`: none, `one`, and `one` and `two`.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
SIGNS_CODE = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
SERVES = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])


class Issued(NamedTuple):
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    certificate: x509.Certificate


def usage(*, signs: bool = False, certifies: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certifies,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def issue(
    name: str,
    by: Issued | None,
    *extensions: x509.ExtensionType,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | None = None,
    begins: datetime.datetime = NOW - DAY,
    ends: datetime.datetime = NOW + DAY,
) -> Issued:
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return Issued(key, builder.sign(by.key if by else key, hashes.SHA256()))


def authority(name: str, by: Issued | None = None, key: rsa.RSAPrivateKey | None = None) -> Issued:
    # Its validity is longer than that of any leaf.
    basic = x509.BasicConstraints(ca=True, path_length=None)
    return issue(name, by, basic, usage(certifies=True), key=key, begins=NOW - 900 * DAY, ends=NOW + 900 * DAY)


def main(folder: Path) -> None:
    root, other = authority("Root"), authority("Other")
    one = authority("One", root)
    two = authority("Two", one)
    old = authority("RSA", None, rsa.generate_private_key(public_exponent=65537, key_size=2048))
    leaf = (usage(signs=True), SIGNS_CODE, x509.SubjectAlternativeName([x509.RFC822Name("alice@example.com")]))
    as_authority = x509.BasicConstraints(ca=True, path_length=None)
    issued = {
        "root": root,
        "other": other,
        "rsa": old,
        "one": one,
        "two": two,
        "leaf0": issue("Leaf", root, *leaf),
        "leaf1": issue("Leaf", one, *leaf),
        "leaf2": issue("Leaf", two, *leaf),
        "p384": issue("Leaf", root, *leaf, key=ec.generate_private_key(ec.SECP384R1())),
        "p521": issue("Leaf", root, *leaf, key=ec.generate_private_key(ec.SECP521R1())),
        "by rsa": issue("Leaf", old, *leaf),
        "authority": issue("Leaf", one, as_authority, *leaf),
        "alone": issue("Alone", None, *leaf),
        "expired": issue("Leaf", root, *leaf, begins=NOW - 300 * DAY, ends=NOW - 200 * DAY),
        "server": issue("Server", root, usage(signs=True), SERVES),
    }
    for name, (key, certificate) in issued.items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{name}.key.pem").write_bytes(secret)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
