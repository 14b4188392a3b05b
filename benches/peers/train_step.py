"""One FlowRL step of a small decoder: train_step.py MODEL [PROMPTS GROUP PROMPT_LENGTH COMPLETION_LENGTH].

The default is 128 sequences: 16 prompts of 14 tokens, with 8 completions of 14 tokens each. The step consists of the
forward pass, token log-probabilities, log Z from the partition network on the mean hidden state of the prompt, the loss
of the preset `paper` with given reference and old log-probabilities, the backward pass, and AdamW on the decoder and
the partition network.
"""

import torch

import flowrl
from partition import network
from protocol import serve
from qwen2 import Decoder, arguments

shape, (PROMPTS, GROUP, PROMPT_LENGTH, COMPLETION_LENGTH) = arguments(16, 8, 14, 14)
B = PROMPTS * GROUP
policy = Decoder(shape, PROMPT_LENGTH + COMPLETION_LENGTH)
log_partition = network(shape["hidden_size"])
optimiser = torch.optim.AdamW(
    [{"params": policy.parameters(), "lr": 1e-5}, {"params": log_partition.parameters(), "lr": 1e-4}],
    weight_decay=0.01,
    fused=True,
)

prompts = torch.randint(0, shape["vocab_size"], (PROMPTS, PROMPT_LENGTH)).repeat_interleave(GROUP, 0)
completions = torch.randint(0, shape["vocab_size"], (B, COMPLETION_LENGTH))
tokens = torch.cat((prompts, completions), 1)
mask = torch.ones(B, COMPLETION_LENGTH)
rewards = torch.randint(0, 2, (B,)).float()


def score():
    """Returns token log-probabilities of the completions, (B, COMPLETION_LENGTH), and log Z of every sequence, (B,)."""
    hidden = policy(tokens)
    logits = policy.head(hidden[:, PROMPT_LENGTH - 1 : -1])
    logp = logits.log_softmax(-1).gather(-1, completions.unsqueeze(-1)).squeeze(-1)
    prompt_mean = hidden[::GROUP, :PROMPT_LENGTH].mean(1)
    return logp, log_partition(prompt_mean).squeeze(-1).repeat_interleave(GROUP)


with torch.no_grad():
    old_logp = ref_logp = score()[0]


def iteration():
    optimiser.zero_grad(set_to_none=True)
    logp, log_z = score()
    advantage = flowrl.group_normalise(rewards, GROUP)
    flowrl.loss(log_z, logp, ref_logp, old_logp, mask, advantage).backward()
    optimiser.step()


serve(iteration)
