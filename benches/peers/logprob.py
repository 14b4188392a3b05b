"""Log-probability of the chosen token over (512, 32000) logits: forward, and backward to the logits."""

import torch

from protocol import serve

TOKENS, VOCAB = 512, 32000

logits = torch.randn(TOKENS, VOCAB, requires_grad=True)
chosen = torch.randint(0, VOCAB, (TOKENS, 1))
upstream = torch.randn(TOKENS, 1)


def iteration():
    logits.grad = None
    logits.log_softmax(-1).gather(-1, chosen).backward(upstream)


serve(iteration)
