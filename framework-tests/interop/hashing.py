"""Signs, verifies or hashes a model by upstream's API, which guesses how where it is not told.

Run by upstream's Python, with one argument, JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys

from model_signing import hashing, signing, verifying

task, model, signature, key, config = json.loads(sys.argv[1])
hashed = None
if method := config.pop("method", None):
    hashed = hashing.Config().set_ignored_paths(paths=[signature], ignore_git_paths=True)
    hashed = getattr(hashed, f"use_{method}_serialization")(**config)
if task == "sign":
    signing.Config().use_elliptic_key_signer(private_key=key).set_hashing_config(hashed).sign(model, signature)
elif task == "verify":
    verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    verifier.set_hashing_config(hashed).verify(model, signature)
else:
    digests = [one.digest.digest_value for one in hashed.hash(model).resource_descriptors()]
    print("sha256:" + hashlib.sha256(b"".join(digests)).hexdigest())
