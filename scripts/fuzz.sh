#!/bin/sh
# Builds the libFuzzer targets with clang in build-fuzz, runs each over its corpus, and then for
# some seconds more. What makes a target crash is left in build-fuzz/crashes.
#
# usage: scripts/fuzz.sh [SECONDS [TARGET]...]
set -u

root=$(cd "$(dirname "$0")/.." && pwd) || exit 4
build=$root/build-fuzz
seconds=${1:-10}
[ $# -gt 0 ] && shift

if [ ! -e "$build/build.ninja" ]; then
    # The libraries are to be instrumented too, or the fuzzer is blind to what it fuzzes.
    CC=clang meson setup "$build" "$root" --buildtype=debugoptimized -Db_ndebug=false \
        -Dfuzz=enabled -Db_sanitize=address,undefined -Db_lundef=false \
        -Dc_args='-fsanitize=fuzzer-no-link -fno-sanitize-recover=undefined' || exit
fi
[ $# -gt 0 ] || set -- $(cd "$root/tests/fuzz" && ls fuzz_*.c | sed 's/\.c$//')
ninja -C "$build" $(for name; do echo "tests/fuzz/$name"; done) || exit

mkdir -p "$build/crashes"
failed=0
for name; do
    # New inputs go beside the corpus, not into the tree.
    found=$build/found/$name
    mkdir -p "$found"
    log=$build/$name.log
    if "$build/tests/fuzz/$name" -runs=0 "$root/tests/fuzz/corpus/$name" >"$log" 2>&1 &&
        "$build/tests/fuzz/$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 \
            -artifact_prefix="$build/crashes/$name-" "$found" "$root/tests/fuzz/corpus/$name" \
            >>"$log" 2>&1; then
        echo "$name: $(sed -n 's/^Done \(.*\)/\1/p' "$log" | tail -n 1)"
    else
        tail -n 60 "$log"
        echo "$name: failed; what it was given is in build-fuzz/crashes"
        failed=$((failed + 1))
    fi
done
echo "$(($# - failed)) passed, $failed failed"
[ $failed = 0 ]
