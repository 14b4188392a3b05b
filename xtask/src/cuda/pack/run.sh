#!/bin/sh
# Tests and measures flowrl-cuda on this machine's GPU.
#
#   run.sh                          everything below, in this order
#   run.sh first                    the quick check of a new GPU, within 8 minutes: golden numbers, every test on the GPU,
#                                   a training step compared with the CPU, then timings as long as time is left. This
#                                   needs only the packed programs
#   run.sh doctor                   what is installed, and whether a GPU can be used. This also runs before every other
#                                   section
#   run.sh tests [MODULE [NAME...]] the tests on the GPU: those in modules whose names contain MODULE, and of these the
#                                   tests whose names contain a NAME
#   run.sh memcheck [MODULE [NAME...]], run.sh racecheck ..., run.sh sanitizer ... for both: the same tests under
#                                   compute-sanitizer
#   run.sh bench [GROUP...]         the benchmark of the kernels, compared with PyTorch if it is installed
#   run.sh train                    the default training run, compared with PyTorch
#
# All output is kept in $OUT, by default results/ in the current folder, with the benchmark's results in bench.json. A
# program may take $LIMIT seconds, by default 1800, or 90 with `first`. All of `first` may take $BUDGET seconds, by
# default 480. $PYTHON, by default python3, is the interpreter that has PyTorch. The exit status is 0 if everything
# passed.
root=$(cd "$(dirname "$0")" && pwd) || exit 1
out=${OUT:-results}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 1
python=${PYTHON:-python3}
failed=
skipped=
# The time at which everything must have ended, in seconds as of `date`. Empty if there is none.
deadline=

section() { printf '\n=== %s\n' "$*"; }

skip() {
    section "skipped: $*"
    skipped="$skipped
    $*"
}

# Prints how many seconds the next program may take.
seconds() {
    most=${LIMIT:-1800}
    left=$most
    [ -z "$deadline" ] || left=$((deadline - $(date +%s)))
    [ "$left" -lt "$most" ] || left=$most
    echo "$left"
}

# Runs a program with its time limit, if the system has `timeout`. A program that ignores the signal is killed, if this
# `timeout` can do that.
hurry=
if timeout -k 1 1 true 2>/dev/null; then hurry='-k 5'; fi
bounded() {
    if command -v timeout >/dev/null; then timeout $hurry "$(seconds)" "$@"; else "$@"; fi
}

# check NAME COMMAND...: runs the command, keeps its output, and remembers the name if it fails.
check() {
    name=$1
    shift
    if [ "$(seconds)" -le 0 ]; then
        skip "$name: no time is left"
        return
    fi
    section "$name"
    began=$(date +%s)
    { bounded "$@" && echo 0 >"$out/.status" || echo $? >"$out/.status"; } 2>&1 | tee "$out/$name.log"
    status=$(cat "$out/.status")
    rm -f "$out/.status"
    printf -- '--- %s: exit status %s after %s s\n' "$name" "$status" $(($(date +%s) - began))
    [ "$status" = 0 ] || failed="$failed
    $name (exit status $status)"
}

# Changes to a crate's folder and names it as cargo does, since tests and scripts find their data relative to it.
enter() {
    mkdir -p "$root/$1" && cd "$root/$1" || exit 1
    export CARGO_MANIFEST_DIR="$root/$1"
}

# each_module PREFIX [MODULE [NAME...]]: runs the GPU tests of each module by the command $run, with a log named after
# PREFIX and the module. Each module has its own process, because a CUDA error persists until its process ends.
each_module() {
    prefix=$1 wanted=${2:-}
    shift
    [ $# -eq 0 ] || shift
    for test in "$root"/bin/tests/cuda/*; do
        tests=$("$test" --list | sed -n '/on_gpu/s/: test$//p')
        for module in $(printf '%s\n' "$tests" | sed 's/::.*//' | sort -u); do
            case $module in *"$wanted"*) ;; *) continue ;; esac
            chosen=
            for name in $(printf '%s\n' "$tests" | grep "^$module::"); do
                for part in "${@:-::}"; do
                    case $name in *"$part"*) chosen="$chosen $name" && break ;; esac
                done
            done
            [ -z "$chosen" ] || check "$prefix$module" $run "$test" --exact $chosen $threads
        done
    done
}

doctor() { check doctor "$root/bin/flowrl-cli" doctor; }

tests() {
    enter cuda
    run= threads=
    if [ $# -eq 0 ]; then
        # The likeliest failures come first: cuBLASLt's products, then our own on tensor cores.
        for test in "$root"/bin/tests/cuda/integration-*; do check first-products "$test" body::on_gpu::linear; done
        for test in "$root"/bin/tests/cuda/flowrl_cuda-*; do check first-tiles "$test" on_gpu; done
    fi
    each_module tests- "$@"
    [ $# -eq 0 ] || return
    golden tests-golden ''
}

# golden LOG TEST: compares with the numbers of an independent implementation, by the tests with TEST in their names.
golden() {
    enter tests
    for test in "$root"/bin/tests/tests/*; do check "$1" "$test" "hf_golden::on_gpu::$2"; done
}

# The likeliest failures come first, and the slow parts last. A test that hangs takes only $LIMIT seconds.
first() {
    golden first-log-probs log_probs
    enter cuda
    run= threads=
    each_module first-
    golden first-step a_training_step
    golden first-gradients gradient_norms
    golden first-greedy greedy
    cd "$root" || exit 1
    for device in cuda cpu; do
        rm -rf "$out/first-train-$device"
        check "first-train-on-$device" "$root/bin/flowrl-cli" train --device $device --steps 2 --out "$out/first-train-$device"
    done
    enter cuda
    for bench in "$root"/bin/benches/*; do
        [ -x "$bench" ] || continue
        for group in head log-prob update generate balance partition; do
            check "first-bench-$group" "$bench" --bench --json "$out/first-bench-$group.json" "$group"
        done
    done
}

# sanitizer TOOL [MODULE [NAME...]]
sanitizer() {
    tool=$1
    shift
    if ! command -v compute-sanitizer >/dev/null; then
        skip "$tool: compute-sanitizer is not installed; it comes with the CUDA toolkit"
        return
    fi
    enter cuda
    run="compute-sanitizer --tool $tool --error-exitcode 1"
    threads="--test-threads 1"
    each_module "$tool-" "$@"
}

# Succeeds if the Python interpreter has PyTorch. Liger is packed.
peers() {
    PYTHONPATH="$root/python${PYTHONPATH:+:$PYTHONPATH}"
    export PYTHONPATH
    "$python" -c 'import torch' 2>/dev/null && return
    skip "PyTorch's rows: $python has no torch; set PYTHON to an interpreter that has it"
    return 1
}

bench() {
    enter cuda
    found=
    for bench in "$root"/bin/benches/*; do
        [ -x "$bench" ] || continue
        found=1
        if peers; then
            check bench "$bench" --bench --json "$out/bench.json" --peers "$python" "$@"
        else
            check bench "$bench" --bench --json "$out/bench.json" "$@"
        fi
    done
    [ "$found" ] || skip "the benchmark: it was not packed"
}

train() {
    cd "$root" || exit 1
    ours=
    for device in cuda cpu; do
        rm -rf "$out/train-$device"
        check "train-on-$device" "$root/bin/flowrl-cli" train --device $device --steps 60 --out "$out/train-$device"
        [ ! -s "$out/train-$device/metrics.jsonl" ] || ours="$ours $device"
    done
    peers || return
    set --
    for device in $ours; do set -- "$@" --ours "flowrl, $device=$out/train-$device/metrics.jsonl"; done
    if [ $# -eq 0 ]; then
        skip "the training run compared with PyTorch: neither of our runs left its metrics"
        return
    fi
    check train "$python" "$root/benches/peers/gpu/train.py" "$@" --device cuda --rates "$out/bench.json"
}

what=${1:-everything}
[ $# -eq 0 ] || shift
case $what in
    everything | first | doctor | tests | memcheck | racecheck | sanitizer | bench | train) ;;
    *)
        echo "run.sh: got $what, wanted first, doctor, tests, memcheck, racecheck, sanitizer, bench, train, or nothing" >&2
        exit 2
        ;;
esac
if [ "$what" = first ]; then
    deadline=$(($(date +%s) + ${BUDGET:-480}))
    : "${LIMIT:=90}"
fi
# This fails if no GPU can be used. The tests alone would pass, because they skip without a GPU.
doctor
case $what in
    first) first ;;
    tests) tests "$@" ;;
    memcheck | racecheck) sanitizer "$what" "$@" ;;
    sanitizer)
        sanitizer memcheck "$@"
        sanitizer racecheck "$@"
        ;;
    bench) bench "$@" ;;
    train) train ;;
    everything)
        tests
        sanitizer memcheck
        sanitizer racecheck
        bench
        train
        ;;
esac

[ -z "$skipped" ] || section "skipped:$skipped"
if [ -n "$failed" ]; then
    section "FAILED:$failed"
    exit 1
fi
section "everything passed; the logs are in $out"
