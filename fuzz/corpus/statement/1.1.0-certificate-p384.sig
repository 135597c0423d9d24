{
  "_type": "https://in-toto.io/Statement/v1",
  "subject": [
    {
      "name": "model",
      "digest": {
        "sha256": "53f84f137a7285f993ae9458c8d6b1f7bcad13001cc8f525ef24f4cb001aecc7"
      }
    }
  ],
  "predicateType": "https://model_signing/signature/v1.0",
  "predicate": {
    "serialization": {
      "method": "files",
      "hash_type": "sha256",
      "allow_symlinks": false,
      "ignore_paths": [
        ".gitattributes",
        ".git",
        ".gitignore",
        ".github"
      ]
    },
    "resources": [
      {
        "digest": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "algorithm": "sha256",
        "name": "config.json"
      },
      {
        "digest": "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865",
        "algorithm": "sha256",
        "name": "tokenizer/gr\u00f6\u00dfe's.txt"
      },
      {
        "digest": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",
        "algorithm": "sha256",
        "name": "weights.bin"
      }
    ]
  }
}