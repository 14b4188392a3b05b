"""Sampling with a KV cache: generate.py MODEL [PROMPTS SAMPLES PROMPT_LENGTH NEW_TOKENS].

The default is 16 prompts of 14 tokens, with 8 samples of 14 new tokens each. Log-probabilities are kept. Each prompt is
processed once, and its cache is copied to the samples. The caches are allocated once.
"""

import torch

from protocol import DTYPE, serve
from qwen2 import Decoder, arguments

shape, (PROMPTS, SAMPLES, PROMPT_LENGTH, NEW_TOKENS) = arguments(16, 8, 14, 14)
B = PROMPTS * SAMPLES
policy = Decoder(shape, PROMPT_LENGTH + NEW_TOKENS).to(DTYPE)
prompts = torch.randint(0, shape["vocab_size"], (PROMPTS, PROMPT_LENGTH))
prompt_caches, caches = policy.new_caches(PROMPTS), policy.new_caches(B)
tokens, logp = torch.zeros(B, NEW_TOKENS, dtype=torch.long), torch.zeros(B, NEW_TOKENS)


@torch.inference_mode()
def iteration():
    hidden = policy(prompts, prompt_caches)
    for (keys, values), (prompt_keys, prompt_values) in zip(caches, prompt_caches):
        keys[:, :, :PROMPT_LENGTH] = prompt_keys[:, :, :PROMPT_LENGTH].repeat_interleave(SAMPLES, 0)
        values[:, :, :PROMPT_LENGTH] = prompt_values[:, :, :PROMPT_LENGTH].repeat_interleave(SAMPLES, 0)
    last = hidden[:, -1].repeat_interleave(SAMPLES, 0)
    for t in range(NEW_TOKENS):
        log_probs = policy.head(last).log_softmax(-1, dtype=torch.float32)
        chosen = torch.multinomial(log_probs.exp(), 1)
        tokens[:, t : t + 1], logp[:, t : t + 1] = chosen, log_probs.gather(-1, chosen)
        if t + 1 < NEW_TOKENS:
            last = policy(chosen, caches, PROMPT_LENGTH + t)[:, -1]


serve(iteration)
