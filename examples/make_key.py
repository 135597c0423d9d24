"""Write a new P-256 private key to KEY.pem and its public key to KEY.pub.pem, like OpenSSL would.

openssl ecparam -name prime256v1 -genkey -noout -out KEY.pem && openssl pkey -in KEY.pem -pubout -out KEY.pub.pem
"""

import os
import sys
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

PEM = serialization.Encoding.PEM

private, public = Path(f"{sys.argv[1]}.pem"), Path(f"{sys.argv[1]}.pub.pem")
key = ec.generate_private_key(ec.SECP256R1())
with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
    file.write(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
public.write_bytes(key.public_key().public_bytes(PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
