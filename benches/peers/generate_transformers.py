"""Sampling as in generate.py, with the same arguments, by the `generate` of `transformers`."""

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from protocol import DTYPE, serve
from qwen2 import arguments

shape, (PROMPTS, SAMPLES, PROMPT_LENGTH, NEW_TOKENS) = arguments(16, 8, 14, 14)
shape.pop("model_type", None)
policy = Qwen2ForCausalLM(Qwen2Config(**shape)).eval()
# `policy.to` would also round the frequencies of the rotary embedding.
for tensor in policy.parameters():
    tensor.data = tensor.data.to(DTYPE)
prompts = torch.randint(0, shape["vocab_size"], (PROMPTS, PROMPT_LENGTH))
attention_mask = torch.ones_like(prompts)


@torch.inference_mode()
def iteration():
    out = policy.generate(
        prompts,
        attention_mask=attention_mask,
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        num_return_sequences=SAMPLES,
        max_new_tokens=NEW_TOKENS,
        eos_token_id=None,
        pad_token_id=0,
        use_cache=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logits = torch.stack(out.logits, 1)
    chosen = out.sequences[:, PROMPT_LENGTH:].unsqueeze(-1)
    logits.log_softmax(-1, dtype=torch.float32).gather(-1, chosen)


serve(iteration)
