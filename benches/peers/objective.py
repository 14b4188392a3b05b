"""FlowRL loss and gradient over (512, 8192) log-probabilities, in 64 groups of 8. log Z is a leaf."""

import torch

import flowrl
from protocol import serve

B, T, GROUP = 512, 8192, 8

logp = -torch.rand(B, T)
old_logp = logp + 1e-3 * torch.randn(B, T)
ref_logp = logp + 1e-2 * torch.randn(B, T)
mask = torch.ones(B, T)
rewards = torch.randint(0, 2, (B,)).float()
logp.requires_grad_()
log_z = torch.zeros(B, requires_grad=True)


def iteration():
    logp.grad = log_z.grad = None
    advantage = flowrl.group_normalise(rewards, GROUP)
    flowrl.loss(log_z, logp, ref_logp, old_logp, mask, advantage).backward()


serve(iteration)
