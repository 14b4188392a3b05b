"""The protocol between the driver of a comparison and the process of one case.

The process sets itself up, warms up and prints `ready`. For each line `run` on standard input it then runs one timed
iteration and prints its seconds. For `check` it prints numbers with which the driver verifies that both sides compute
the same. It exits at the end of its input. Between runs it sleeps on standard input, so that the other side of the
comparison has the machine to itself. If a case cannot run here, it prints `absent` and the reason instead of `ready`.

`PEER_DEVICE` is the device of the tensors, `cpu` or `cuda`. `PEER_DTYPE` is the type of weights, activations and logits,
`float32` or, in scripts that support it, `bfloat16`.
"""

import os
import sys
import time

import torch

THREADS = int(os.environ.get("PEER_THREADS", "2"))
DEVICE = os.environ.get("PEER_DEVICE", "cpu")
DTYPE = getattr(torch, os.environ.get("PEER_DTYPE", "float32"))
WARM_UP = 2


def synchronise():
    """Waits for the GPU, which runs asynchronously."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def serve(iteration, prepare=None, check=None, calls=1):
    """Times `calls` calls of `iteration()` for each line `run`, and prints the seconds per call.

    `prepare()` runs before each timed part and is not counted. `check()` returns the numbers for a line `check`.
    """
    # A default device costs time in every call of PyTorch, and from here on new tensors follow the device of the inputs.
    torch.set_default_device(None)

    def timed():
        if prepare is not None:
            prepare()
        synchronise()
        start = time.perf_counter()
        for _ in range(calls):
            iteration()
        synchronise()
        return (time.perf_counter() - start) / calls

    for _ in range(WARM_UP):
        timed()
    print("ready", flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command == "run":
            print(f"{timed():.9f}", flush=True)
        elif command == "check" and check is not None:
            print(*(f"{number:.9e}" for number in check()), flush=True)
        else:
            sys.exit(f"{sys.argv[0]}: got {command!r} on standard input, wanted 'run'")


def absent(why):
    """Exits with the reason why the case cannot run."""
    print(f"absent {why}", flush=True)
    sys.exit(0)


torch.set_num_threads(THREADS)
torch.manual_seed(0)
if DEVICE != "cpu":
    if not torch.cuda.is_available():
        absent("PyTorch finds no GPU")
    torch.set_default_device(DEVICE)
