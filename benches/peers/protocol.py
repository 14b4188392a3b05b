"""The protocol between the driver of a comparison and the process of one case.

The process sets itself up, warms up and prints `ready`. Then each line `run` on standard input makes it do one timed
iteration and print its seconds, and `check` print numbers by which the driver sees that both sides compute the same. End of
input ends it. Between runs it sleeps on standard input, so the other side of the comparison has the machine for itself.
A case that cannot run here prints `absent` and why instead of `ready`.

`PEER_DEVICE` is where tensors are made: `cpu`, or `cuda`. `PEER_DTYPE` is the type of weights, activations and logits in scripts that
can do more than `float32`: that or `bfloat16`.
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
    """Waits for the GPU, which runs behind the program that asks it."""
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def serve(iteration, prepare=None, check=None, calls=1):
    """Times `calls` calls of `iteration()` for each line `run`, and gives the seconds of one.

    `prepare()` comes before each timed part and is not counted; `check()` gives the numbers that `check` asks for.
    """
    # As a mode it costs time in every call of PyTorch; what runs from here on makes its tensors where its inputs are.
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
    """Ends the process where its case cannot run, with the reason."""
    print(f"absent {why}", flush=True)
    sys.exit(0)


torch.set_num_threads(THREADS)
torch.manual_seed(0)
if DEVICE != "cpu":
    if not torch.cuda.is_available():
        absent("PyTorch finds no GPU")
    torch.set_default_device(DEVICE)
