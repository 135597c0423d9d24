"""`repository.py FOLDER TRUSTED_ROOT SIGNING_CONFIG SECOND_CONFIG` makes TUF repositories.

It uses the reference implementation. FOLDER then holds, each as a web server would have it:
- `first`: root version 1, with TRUSTED_ROOT and SIGNING_CONFIG;
- `second`: what became of it, with another root key, and with SECOND_CONFIG for SIGNING_CONFIG;
- `expired`: `second`, with a timestamp whose time is over;
- `altered`: `second`, with a signing config that nobody signed;
- `unsigned`: `second`, with a new root that the holders of the old one did not sign;
- `stranger`: as `first`, by somebody else.
`FOLDER/NAME/root.json` is the root to begin with.
"""

from __future__ import annotations

import copy
import shutil
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Metadata, MetaFile, Root, Snapshot, TargetFile, Targets, Timestamp

NOW = datetime.now(timezone.utc).replace(microsecond=0)
NEXT_MONTH = NOW + timedelta(days=30)
ROLES = ["root", "timestamp", "snapshot", "targets"]


class Repository:
    """The keys of one operator, and the versions of what they signed."""

    def __init__(self) -> None:
        self.keys = {role: CryptoSigner.generate_ecdsa() for role in ROLES}
        self.old_root: CryptoSigner | None = None
        self.root = Metadata(Root(version=1, expires=NEXT_MONTH, consistent_snapshot=True))
        for role, key in self.keys.items():
            self.root.signed.add_key(key.public_key, role)
        self.version = 1

    def rotate(self) -> None:
        """Replace the key of the root, in a new version of everything."""
        self.root, self.version = copy.deepcopy(self.root), self.version + 1
        self.old_root, self.keys["root"] = self.keys["root"], CryptoSigner.generate_ecdsa()
        root = self.root.signed
        root.version = self.version
        root.revoke_key(self.old_root.public_key.keyid, "root")
        root.add_key(self.keys["root"].public_key, "root")

    def sign_root(self, *, by_the_old: bool = True) -> None:
        self.root.sign(self.keys["root"])
        if self.old_root and by_the_old:
            self.root.sign(self.old_root, append=True)

    def write(self, folder: Path, files: dict[str, Path], expires: datetime = NEXT_MONTH) -> None:
        (folder / "targets").mkdir(parents=True, exist_ok=True)
        self.root.to_file(str(folder / f"{self.version}.root.json"))
        if self.version == 1:
            self.root.to_file(str(folder / "root.json"))
        targets = Targets(version=self.version, expires=NEXT_MONTH)
        for name, path in files.items():
            info = TargetFile.from_file(name, str(path))
            targets.targets[name] = info
            shutil.copy(path, folder / "targets" / f"{info.hashes['sha256']}.{name}")
        snapshot = Snapshot(version=self.version, expires=NEXT_MONTH, meta={"targets.json": MetaFile(self.version)})
        timestamp = Timestamp(version=self.version, expires=expires, snapshot_meta=MetaFile(self.version))
        for role, signed in (("targets", targets), ("snapshot", snapshot), ("timestamp", timestamp)):
            metadata = Metadata(signed)
            metadata.sign(self.keys[role])
            name = f"{role}.json" if role == "timestamp" else f"{self.version}.{role}.json"
            metadata.to_file(str(folder / name))


def main(folder: Path, trusted_root: Path, signing_config: Path, second_config: Path) -> None:
    files = {"trusted_root.json": trusted_root, "signing_config.v0.2.json": signing_config}
    for name in ("stranger", "first"):
        repository = Repository()
        repository.sign_root()
        repository.write(folder / name, files)

    second = folder / "second"
    shutil.copytree(folder / "first", second)
    repository.rotate()
    changed = files | {"signing_config.v0.2.json": second_config}
    repository.sign_root(by_the_old=False)
    repository.write(second, changed)
    shutil.copytree(second, folder / "unsigned")
    repository.sign_root()
    repository.write(second, changed)

    shutil.copytree(second, folder / "altered")
    for path in (folder / "altered/targets").glob("*.signing_config.*"):
        path.write_bytes(path.read_bytes().replace(b"0", b"1"))

    shutil.copytree(second, folder / "expired")
    repository.write(folder / "expired", changed, expires=NOW - timedelta(minutes=1))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
