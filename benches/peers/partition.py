"""The partition network on 64 prompts, forward and backward, with gradients of the weights and the input: partition.py WIDTH."""

import sys

import torch
from torch import nn

from protocol import serve

PROMPTS = 64


def network(width):
    """Returns Linear GELU Linear GELU Linear(→ 1), with exact GELU and without layer norm."""
    return nn.Sequential(
        nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1)
    )


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: partition.py WIDTH")
    width = int(sys.argv[1])
    net = network(width)
    hidden = torch.randn(PROMPTS, width, requires_grad=True)
    upstream = torch.randn(PROMPTS, 1)

    def iteration():
        net.zero_grad(set_to_none=True)
        hidden.grad = None
        net(hidden).backward(upstream)

    serve(iteration)
