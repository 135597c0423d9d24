#!/usr/bin/env bash
# The main job with a key instead of Sigstore: train, sign, verify, have a stranger verify, tamper, see it caught.
# Started by `make demo-key`.
set -euo pipefail
train=$1 upstream=$2                   # two Python environments: ours, and one with upstream's package
digits=$(realpath "$(dirname "$0")/train_digits.py")
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
export PATH="$train/bin:$PATH"

say() { printf '\n# %s\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }

say 'A P-256 key'
run model-signing keygen key

say 'Train; the environment alone says how to sign'
cp "$digits" .
export MODEL_SIGNING_PRIVATE_KEY=key.pem MODEL_SIGNING_SPOOL=spool
run python train_digits.py runs

say 'Best and last are kept, each with its signature; those of removed checkpoints went with them'
run ls runs

say 'Verify each'
for model in runs/*.pt runs/*.safetensors; do
    run model-signing verify key "$model" --public-key key.pub.pem
done

say "The same by upstream's package, which wants the folder of a file that stands for itself"
for model in runs/*.pt runs/*.safetensors; do
    mkdir -p alone && rm -f alone/* && cp "$model" alone/
    printf '$ model_signing verify key (%s alone in a folder)\n' "$model"
    "$upstream/bin/python" -m model_signing verify key alone --signature "$model.sig" --public_key key.pub.pem
done

say 'Flip one bit of one byte'
model=$(ls runs/*.safetensors | tail -n 1)
python - "$model" <<'PYTHON'
import sys
with open(sys.argv[1], "r+b") as file:
    file.seek(-1, 2)
    byte = file.read(1)[0]
    file.seek(-1, 2)
    file.write(bytes([byte ^ 1]))
PYTHON
status=0
run model-signing verify key "$model" --public-key key.pub.pem || status=$?
printf 'exit code %s\n' "$status"
test "$status" = 1
