"""FlowRL loss of the preset `paper` and its gradient over [sequences × tokens]: tb.py MODE --sequences N --tokens N --batches N.

Advantages, reference and old log-probabilities and log Z are given. Iterations take the batches in turn, so that no
cache holds their inputs. `graph` is `compile` with the whole iteration as one CUDA graph.
"""

from itertools import cycle

import torch

from case import arguments, graphed
from flowrl import loss
from inputs import fingerprints, numbers, table, tiled
from protocol import serve

args = arguments(["eager", "compile", "graph"], "sequences", "tokens", "batches")
shape = (args.sequences, args.tokens)
value = loss if args.mode == "eager" else torch.compile(loss, dynamic=False)


class Batch:
    """The tensors of batch i, and one iteration over them."""

    def __init__(self, i):
        log_probs = table(f"log_probs {i}", 2.0, -1.0)
        near = lambda name, distance: tiled(log_probs + table(f"{name} {i}", distance), shape)
        self.log_probs = tiled(log_probs, shape).requires_grad_()
        self.given = near("reference", 2.0**-5), near("old", 2.0**-9)
        self.advantages = numbers(f"advantages {i}", shape[:1], 2.0)
        self.log_z = numbers(f"log_z {i}", shape[:1], 2.0).requires_grad_()

    def iteration(self):
        self.log_probs.grad = self.log_z.grad = None
        result = value(self.log_z, self.log_probs, *self.given, None, self.advantages)
        result.backward()
        return result


batches = [Batch(i) for i in range(args.batches)]
steps = [graphed(batch.iteration) if args.mode == "graph" else batch.iteration for batch in batches]
turns = cycle(steps)


def check():
    first = batches[0]
    return fingerprints(first.iteration(), first.log_probs.grad, first.log_z.grad)


serve(lambda: next(turns)(), check=check, calls=args.calls)
