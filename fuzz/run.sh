#!/usr/bin/env bash
# Builds the fuzz targets and runs each for so many seconds, two at a time: fuzz/run.sh SECONDS.
# Or runs one on given inputs, to see an input fail again: fuzz/run.sh TARGET FILE...
# What is found goes below build/fuzz: inputs that fail, and those that reach new code, from which the next run goes on.
# Takes the latter into the committed corpus, and out of that what is not needed: fuzz/run.sh merge.
set -euo pipefail
cd "$(dirname "$0")/.."

# What cargo-fuzz passes, too, but for the sanitizer: that needs a nightly compiler, and there is no unsafe code of ours to
# look into. A target is named so that build scripts and macros are built without these flags.
host=$(rustc --print host-tuple)
pass() { printf -- '-Cllvm-args=-sanitizer-coverage-%s ' "$@"; }
RUSTFLAGS="-Cpasses=sancov-module $(pass level=4 inline-8bit-counters pc-table trace-compares)-Ccodegen-units=1" \
	cargo build --quiet --package autosign-fuzz --bins --profile fuzz --target "$host" --target-dir target/fuzz
programs=target/fuzz/$host/fuzz

# An input may take 25 seconds on a machine that is busy, and 2 GB.
run() {
	"$programs/$1" -timeout=25 -rss_limit_mb=2048 -artifact_prefix="build/fuzz/$1/" "${@:2}"
}

fuzz() {
	local target=$1 seconds=$2 found=build/fuzz/$1/corpus said=build/fuzz/$1/said
	mkdir -p "$found"
	if run "$target" -dict="fuzz/dictionaries/$target.dict" -max_total_time="$seconds" -print_final_stats=1 \
		"$found" "fuzz/corpus/$target" 2> "$said"; then
		echo "$target: $(awk '/number_of_executed_units/ { print $2 }' "$said") inputs in $seconds s"
		return
	fi
	tail -n 40 "$said"
	echo "$target failed; again: fuzz/run.sh $target $(grep -o "build/fuzz/$target/[a-z]*-[0-9a-f]*" "$said" | tail -n 1)"
	return 1
}

merge() {
	local target=$1 fewest=build/fuzz/$1/fewest
	rm -rf "$fewest"
	mkdir -p "build/fuzz/$target/corpus" "$fewest"
	run "$target" -set_cover_merge=1 -use_counters=0 "$fewest" "fuzz/corpus/$target" "build/fuzz/$target/corpus"
	rm -rf "fuzz/corpus/$target"
	mv "$fewest" "fuzz/corpus/$target"
}

targets=$(basename -s .rs fuzz/targets/*.rs)
case $1 in
merge)
	for target in $targets; do merge "$target"; done
	;;
*[!0-9]*)
	run "$@"
	;;
*)
	export programs
	export -f run fuzz
	xargs -P 2 -I TARGET bash -euo pipefail -c "fuzz TARGET $1" <<< "$targets"
	;;
esac
