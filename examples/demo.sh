#!/usr/bin/env bash
# The main job: train, sign, verify, have a stranger verify, tamper, see it caught; all with a Sigstore of this
# machine's own, so that no public log hears of it. Started by `make demo`.
set -euo pipefail
train=$1 upstream=$2                   # two Python environments: ours, and one with upstream's package
here=$(realpath "$(dirname "$0")")
cd "$(mktemp -d)"
export PATH="$train/bin:$PATH"

say() { printf '\n# %s\n' "$1"; }
run() { printf '$ %s\n' "$*"; "$@"; }
setting() { printf '$ export %s\n' "$1"; export "${1?}"; }

say 'A local Sigstore; building it takes minutes the first time'
coproc sigstore { exec python "$here/../framework-tests/sigstore/start.py"; }
trap 'rm -rf "$PWD"; exec {sigstore[1]}>&-; wait' EXIT      # it ends when its standard input does
read -r started <&"${sigstore[0]}"
of() { python -c 'import json, sys; print(json.loads(sys.argv[1])[sys.argv[2]])' "$started" "$1"; }
trust=$(of trust_config) token=$(of token_file) provider=$(of issuer)/kubernetes
identity=https://kubernetes.io/namespaces/ml/serviceaccounts/trainer

say 'Train; the environment alone says where to sign, and with whose token'
cp "$here/train_digits.py" .
setting "MODEL_SIGNING_TRUST_CONFIG=$trust"
setting "MODEL_SIGNING_IDENTITY_TOKEN_FILE=$token"
setting MODEL_SIGNING_SPOOL=spool
run python train_digits.py runs

say 'Best and last are kept, each with its signature; those of removed checkpoints went with them'
run ls runs

say 'Verify each: who must have signed it, and who vouches for that'
by=(--identity "$identity" --identity-provider "$provider" --trust-config "$trust")
for model in runs/*.pt runs/*.safetensors; do
    run model-signing verify "$model" "${by[@]}"
done

say "The same by upstream's package, which wants the folder of a file that stands for itself"
by_upstream=(--identity "$identity" --identity_provider "$provider" --trust_config "$trust")
for model in runs/*.pt runs/*.safetensors; do
    mkdir -p alone && rm -f alone/* && cp "$model" alone/
    printf '$ model_signing verify sigstore (%s alone in a folder)\n' "$model"
    "$upstream/bin/python" -m model_signing verify sigstore alone --signature "$model.sig" "${by_upstream[@]}"
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
run model-signing verify "$model" "${by[@]}" || status=$?
printf 'exit code %s\n' "$status"
test "$status" = 1
