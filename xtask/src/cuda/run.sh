#!/bin/sh
# Tests and measures flowrl-cuda on this machine's GPU. The exit status is 0 if everything passed.
# Arguments go to the tests: `run.sh attention` runs those with this word in their names.
root=$(cd "$(dirname "$0")" && pwd) || exit 1
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

# Tests find what they read from their crate's folder, which cargo would name.
enter() {
    mkdir -p "$root/$1" && cd "$root/$1" || exit 1
    export CARGO_MANIFEST_DIR="$root/$1"
}

# Fails where no GPU can be used: the tests would pass, and run nothing on one.
check doctor "$root/bin/flowrl-cli" doctor

[ $# -gt 0 ] || set -- on_gpu
enter cuda
for test in "$root"/bin/tests/cuda/*; do
    check "${test##*/}" "$test" "$@"
done

if command -v "${CXX:-c++}" >/dev/null; then
    enter tests
    for test in "$root"/bin/tests/tests/*; do
        check "${test##*/}" "$test"
    done
else
    section "the golden numbers are skipped: they run in the emulator too, which needs a C++ compiler"
fi

enter cuda
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        for test in "$root"/bin/tests/cuda/*; do
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
