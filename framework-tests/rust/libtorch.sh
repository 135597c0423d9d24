#!/usr/bin/env bash
# Lays out in the folder $1 what the crate tch builds with, from the wheels of PyPI: $1/libtorch. Where libtorch_cuda.so
# is not linked no GPU library is needed but the two that libtorch_cpu.so names, so the other 3 GB stay away.
# $2 is the program uv, $3 the Python.
set -euo pipefail
rm -rf "$1/torch" "$1/libtorch"
"$2" pip install --quiet --python "$3" --target "$1/torch" --no-deps --group libtorch
mkdir -p "$1/libtorch/lib"
torch=$(cd "$1/torch/torch" && pwd)
ln -s "$torch/include" "$1/libtorch/include"
for library in libtorch.so libtorch_cpu.so libc10.so "$(basename "$torch"/lib/libgomp*)"; do
    ln -s "$torch/lib/$library" "$1/libtorch/lib/$library"
done
sed -n "s/^__version__ = '\\(.*\\)'/\\1/p" "$torch/version.py" > "$1/libtorch/build-version"
