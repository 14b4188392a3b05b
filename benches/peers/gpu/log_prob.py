"""Log-probability of the chosen token over [rows × vocab] logits: log_prob.py MODE --rows N --vocab N --backward 0|1.

With `--backward 1` only the gradient of the logits is timed, and the preceding forward pass is not.
"""

import torch

from case import arguments, token_log_probs
from inputs import fingerprints, numbers, targets
from protocol import DTYPE, serve

args = arguments(["eager", "compile"], "rows", "vocab", "backward")
logits = numbers("logits", (args.rows, args.vocab), 8.0, dtype=DTYPE)
chosen = targets(args.rows, args.vocab)
upstream = numbers("upstream", (args.rows,), 1.0)
log_probs = torch.compile(token_log_probs, dynamic=False) if args.mode == "compile" else token_log_probs
result = None


def forward():
    global result
    result = log_probs(logits, chosen)


def clear():
    global result
    result = logits.grad = None


def before_backward():
    clear()
    forward()


def backward():
    result.backward(upstream)


def check():
    before_backward()
    backward()
    return fingerprints(result, logits.grad)


def check_forward():
    forward()
    return fingerprints(result)


if args.backward:
    logits.requires_grad_()
    serve(backward, prepare=before_backward, check=check)
else:
    with torch.no_grad():
        serve(forward, prepare=clear, check=check_forward)
