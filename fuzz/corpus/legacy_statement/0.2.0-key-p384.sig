{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [
    {
      "name": "config.json",
      "digest": {
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
      },
      "annotations": {
        "actual_hash_algorithm": "file-sha256"
      }
    },
    {
      "name": "tokenizer/gr\u00f6\u00dfe's.txt",
      "digest": {
        "sha256": "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"
      },
      "annotations": {
        "actual_hash_algorithm": "file-sha256"
      }
    },
    {
      "name": "weights.bin",
      "digest": {
        "sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c"
      },
      "annotations": {
        "actual_hash_algorithm": "file-sha256"
      }
    }
  ],
  "predicateType": "https://model_signing/Digests/v0.1",
  "predicate": {
    "unused": "Unused, just passed due to API requirements"
  }
}