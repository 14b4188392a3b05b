#!/bin/sh
# Tests and measures flowrl-cuda on this machine's GPU. The exit status is 0 if everything passed.
# Arguments go to the tests: `run.sh attention` runs those with this word in their names.
cd "$(dirname "$0")" || exit 1
root=$PWD
failed=

section() { printf '\n=== %s\n' "$*"; }

# check NAME COMMAND...: runs the command, and remembers the name if it fails.
check() {
    name=$1
    shift
    section "$name"
    "$@" || failed="$failed
    $name"
}

check doctor bin/flowrl-cli doctor

# Tests find what they read from the crate's folder, which cargo would name.
export CARGO_MANIFEST_DIR="$root/cuda"
cd cuda || exit 1
for test in "$root"/bin/tests/*; do
    check "${test##*/}" "$test" "$@"
done

if command -v compute-sanitizer >/dev/null; then
    # Slow: only what runs on the GPU. A test program without such tests launches no kernel.
    for tool in memcheck racecheck; do
        for test in "$root"/bin/tests/*; do
            "$test" on_gpu --list | grep -q ': test$' || continue
            check "$tool ${test##*/}" compute-sanitizer --tool $tool --error-exitcode 1 "$test" on_gpu --test-threads 1
        done
    done
else
    section "memcheck and racecheck are skipped: no compute-sanitizer here, the CUDA toolkit brings it"
fi

for bench in "$root"/bin/benches/*; do
    [ ! -x "$bench" ] || check "${bench##*/}" "$bench" --bench
done

if [ -n "$failed" ]; then
    section "FAILED:$failed"
    exit 1
fi
section "everything passed"
