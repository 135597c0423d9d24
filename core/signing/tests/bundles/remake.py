"""Makes the signatures of this folder again: one release of upstream's `model-signing`, run by the Python that has it.

    python remake.py [FOLDER]

`make bundles` runs it with every release. The certificates are made once and kept, their authority's key is not.
"""

from __future__ import annotations

import datetime
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

KEYS = Path(__file__).parents[1] / "keys"
# Python's repr escapes the apostrophe and the backslash of JSON's \u00f6: both stand in what v0.2 signs.
MODEL = {"config.json": b"{}", "tokenizer/größe's.txt": b"1\n", "weights.bin": b"weights"}
CURVES = ["p256", "p384"]
FIRST = "0.2.0"
BROKEN = "0.3.1"  # stops at any certificate: it misspells `raw_bytes`


def key(curve: str) -> ec.EllipticCurvePrivateKey:
    loaded = load_pem_private_key((KEYS / f"{curve}.pem").read_bytes(), password=None)
    assert isinstance(loaded, ec.EllipticCurvePrivateKey)
    return loaded


def certify(folder: Path) -> None:
    """A root, and a certificate of each key, for a hundred years."""
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    holders = {"root": authority, **{curve: key(curve) for curve in CURVES}}
    for name, holder in holders.items():
        root = name == "root"
        usage = dict.fromkeys(
            [
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "crl_sign",
                "encipher_only",
                "decipher_only",
            ],
            False,
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer)
            .public_key(holder.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.datetime(2025, 1, 1))  # naive: older releases of cryptography want it so
            .not_valid_after(datetime.datetime(2125, 1, 1))
            .add_extension(x509.BasicConstraints(ca=root, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(digital_signature=not root, key_cert_sign=root, **usage), critical=True)
        )
        if not root:
            purpose = x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CODE_SIGNING])
            builder = builder.add_extension(purpose, critical=False)
        certificate = builder.sign(authority, hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))


def sign_first(model: Path, signature: Path, curve: str, folder: Path | None) -> None:
    """Release 0.2.0 has its command line in its repository alone."""
    from model_signing import api
    from model_signing.signature import key as keys
    from model_signing.signature import pki
    from model_signing.signing import in_toto, in_toto_signature

    private = str(KEYS / f"{curve}.pem")
    if folder:
        signer = pki.PKISigner.from_path(private, str(folder / f"{curve}.pem"), [str(folder / "root.pem")])
    else:
        signer = keys.ECKeySigner.from_path(private)
    payload = in_toto.DigestsIntotoPayload.from_manifest(api.HashingConfig().hash(model))
    in_toto_signature.IntotoSigner(signer).sign(payload).write(signature)


def sign(model: Path, signature: Path, curve: str, folder: Path | None) -> None:
    from model_signing import signing

    # Until 1.1.0 a new configuration fetches Sigstore's trust at once.
    signing.Config.use_sigstore_signer = lambda config, **_: config
    private = KEYS / f"{curve}.pem"
    config = signing.Config()
    if folder:
        config.use_certificate_signer(
            private_key=private,
            signing_certificate=folder / f"{curve}.pem",
            certificate_chain=[folder / "root.pem"],
        )
    else:
        config.use_elliptic_key_signer(private_key=private)
    config.sign(model, signature)


def main(folder: Path) -> None:
    release = version("model-signing")
    if not (folder / "root.pem").exists():
        certify(folder)
    make = sign_first if release == FIRST else sign
    with tempfile.TemporaryDirectory() as place:
        model = Path(place, "model")
        for name, content in MODEL.items():
            (model / name).parent.mkdir(parents=True, exist_ok=True)
            (model / name).write_bytes(content)
        for curve in CURVES:
            make(model, folder / f"{release}-key-{curve}.sig", curve, None)
            if release != BROKEN:
                make(model, folder / f"{release}-certificate-{curve}.sig", curve, folder)
        make(model / "weights.bin", folder / f"{release}-single.sig", "p256", None)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
