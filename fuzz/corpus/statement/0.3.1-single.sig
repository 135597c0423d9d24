{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [
    {
      "name": "weights.bin",
      "digest": {
        "sha256": "59f3d85be3f9f90be09b43a08eb32a38a952135242e650039e4c4ccefd93d0a3"
      }
    }
  ],
  "predicateType": "https://model_signing/signature/v1.0",
  "predicate": {
    "resources": [
      {
        "algorithm": "sha256",
        "name": ".",
        "digest": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
      }
    ],
    "serialization": {
      "allow_symlinks": false,
      "method": "files",
      "hash_type": "sha256"
    }
  }
}