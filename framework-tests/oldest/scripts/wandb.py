from pathlib import Path

import wandb

Path("model.bin").write_bytes(b"weights")
autosign.sign("model.bin")  # noqa: F821 - our package is there
artifact = wandb.Artifact("model", type="model")
artifact.add_file("model.bin")
artifact.add_dir(".", name="all")
assert set(artifact.manifest.entries) == {"model.bin", "model.bin.sig", "all/model.bin", "all/model.bin.sig"}
