"""Log-probabilities from hidden states, forward and backward: head.py MODE --rows N --width N --vocab N.

This case computes log π of the chosen tokens from hidden states (rows, width) and the head (vocab, width), and the
gradients of both for an upstream gradient that differs from token to token. `liger` is Liger's fused linear cross
entropy with `reduction="none"`, its only operation that takes such a gradient, with weight gradients summed in float32.
`liger-32` gives it 32 times the memory for its chunks.
"""

import torch

from case import arguments, token_log_probs
from inputs import fingerprints, numbers, targets
from protocol import DTYPE, absent, serve

args = arguments(["eager", "compile", "liger", "liger-32"], "rows", "width", "vocab")
hidden = numbers("hidden", (args.rows, args.width), 4.0, dtype=DTYPE).requires_grad_()
head = numbers("head", (args.vocab, args.width), 0.25, dtype=DTYPE).requires_grad_()
chosen = targets(args.rows, args.vocab)
upstream = numbers("upstream", (args.rows,), 1.0)


def from_hidden(hidden, head, chosen):
    return token_log_probs(hidden @ head.t(), chosen)


def liger(chunk):
    """Returns log π from Liger, with −log π as its loss."""
    try:
        from liger_kernel.ops.fused_linear_cross_entropy import LigerFusedLinearCrossEntropyFunction as Fused
    except ImportError as error:
        absent(f"{error}; `pip install liger-kernel`, or its wheel on PYTHONPATH")

    def log_probs(hidden, head, chosen):
        # These are bias, class weights, ignored index, z-loss, smoothing, reduction, cap, whether to return the z-loss,
        # type of the sums, three options, implementation (two) and chunks.
        options = (None, None, -100, 0.0, 0.0, "none", None, False, torch.float32, False, False, False, None, None, chunk)
        return -Fused.apply(hidden, head, chosen, *options)[0]

    return log_probs


log_probs = {
    "eager": lambda: from_hidden,
    "compile": lambda: torch.compile(from_hidden, dynamic=False),
    "liger": lambda: liger(1),
    "liger-32": lambda: liger(32),
}[args.mode]()


def iteration():
    hidden.grad = head.grad = None
    result = log_probs(hidden, head, chosen)
    result.backward(upstream)
    return result


def check():
    return fingerprints(iteration(), hidden.grad, head.grad)


serve(iteration, check=check, calls=args.calls)
