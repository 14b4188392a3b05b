"""An update of a Qwen2 model by transformers: update.py MODE --prompts N --samples N --prompt-length N --length N --model JSON.

The update consists of the log-probabilities of `samples` completions per prompt, with the head applied only at their
positions, the backward pass for a given ∂loss/∂log π, and AdamW. Weights, activations and gradients have the type
`PEER_DTYPE`. AdamW is fused and works on a float32 copy of the weights, as mixed precision in FSDP and Megatron does.
Attention is PyTorch's `scaled_dot_product_attention` with only the causal mask, since no sequence is padded. `compile`
compiles the model together with its log-probabilities.
"""

import json

import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from case import arguments, token_log_probs
from inputs import fingerprints, numbers
from protocol import DEVICE, DTYPE, serve

args = arguments(["eager", "compile"], "prompts", "samples", "prompt-length", "length", texts=["model"])
count = args.prompts * args.samples
config = Qwen2Config(**json.loads(args.model), use_cache=False, attn_implementation="sdpa")
model = Qwen2ForCausalLM(config)
tensors = dict(model.named_parameters())


def value(name, shape):
    """Returns the formula's numbers for a weight: norms near 1, matrices within ±1/√inputs."""
    if name.endswith("norm.weight"):
        return numbers(name, shape, 0.5, 1.0)
    if name.endswith("embed_tokens.weight"):
        return numbers(name, shape, 0.25)
    return numbers(name, shape, 2.0 * shape[-1] ** -0.5 if len(shape) == 2 else 0.5)


masters = []
for name, tensor in tensors.items():
    masters.append(value(name, tensor.shape).clone())
    masters[-1].grad = torch.zeros_like(masters[-1])
    tensor.data = masters[-1].to(DTYPE)
optimiser = torch.optim.AdamW(masters, lr=1e-6, weight_decay=0.0, fused=True)

token = lambda i: i * 31 % config.vocab_size
place = torch.arange(args.prompt_length, device=DEVICE)
prompts = token(torch.arange(args.prompts, device=DEVICE)[:, None] + place)
completions = token(torch.arange(count, device=DEVICE)[:, None] + 3 * torch.arange(args.length, device=DEVICE))
tokens = torch.cat((prompts.repeat_interleave(args.samples, 0), completions), 1)
upstream = numbers("d_log_probs", completions.shape, 2.0**-9)


def score():
    hidden = model.model(input_ids=tokens, use_cache=False).last_hidden_state
    return token_log_probs(model.lm_head(hidden[:, args.prompt_length - 1 : -1]), completions)


log_probs = torch.compile(score, dynamic=False) if args.mode == "compile" else score


def backward():
    result = log_probs()
    result.backward(upstream)
    return result


def iteration():
    backward()
    torch._foreach_copy_([master.grad for master in masters], [tensor.grad for tensor in tensors.values()])
    optimiser.step()
    with torch.no_grad():
        torch._foreach_copy_(list(tensors.values()), masters)
    for tensor in tensors.values():
        tensor.grad = None


# These fingerprints are taken before the first update changes the weights.
names = "model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.0.mlp.down_proj.weight"
first = fingerprints(backward(), *(tensors[name].grad for name in names))
for tensor in tensors.values():
    tensor.grad = None

serve(iteration, check=lambda: first, calls=args.calls)
