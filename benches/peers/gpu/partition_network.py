"""The partition network, forward and backward: partition_network.py MODE --prompts N --width N.

It runs in float32, with gradients of the weights and the input. `graph` is `compile` with the whole iteration as one
CUDA graph.
"""

import torch

from case import arguments, graphed
from inputs import fingerprints, numbers
from partition import network
from protocol import serve

args = arguments(["eager", "compile", "graph"], "prompts", "width")
net = network(args.width)
with torch.no_grad():
    for i, parameter in enumerate(net.parameters()):
        parameter.copy_(numbers(f"partition {i}", parameter.shape, 2.0 * args.width**-0.5))
run = net if args.mode == "eager" else torch.compile(net, dynamic=False)
hidden = numbers("hidden", (args.prompts, args.width), 2.0).requires_grad_()
upstream = numbers("upstream", (args.prompts, 1), 1.0)


def iteration():
    net.zero_grad(set_to_none=True)
    hidden.grad = None
    log_z = run(hidden)
    log_z.backward(upstream)
    return log_z


def check():
    log_z = iteration()
    return fingerprints(log_z, hidden.grad, *(parameter.grad for parameter in net.parameters()))


serve(graphed(iteration) if args.mode == "graph" else iteration, check=check, calls=args.calls)
