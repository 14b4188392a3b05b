"""The protocol between `cargo xtask bench --peers` and the process of one case.

The process sets itself up, warms up and prints `ready`. Then each line `run` on standard input makes it do one timed
iteration and print its seconds. End of input ends it. Between runs it sleeps on standard input, so the other side of the
comparison has the machine for itself.
"""

import os
import sys
import time

import torch

THREADS = int(os.environ.get("PEER_THREADS", "2"))
WARM_UP = 2


def serve(iteration):
    """Times `iteration()`, which takes nothing, once per line `run`."""
    for _ in range(WARM_UP):
        iteration()
    print("ready", flush=True)
    for line in sys.stdin:
        command = line.strip()
        if command != "run":
            sys.exit(f"{sys.argv[0]}: got {command!r} on standard input, wanted 'run'")
        start = time.perf_counter()
        iteration()
        print(f"{time.perf_counter() - start:.9f}", flush=True)


torch.set_num_threads(THREADS)
torch.manual_seed(0)
