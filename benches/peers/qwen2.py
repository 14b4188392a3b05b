"""A Qwen2-style decoder in plain PyTorch: RMS norm, rotary embedding, grouped-query attention with QKV bias, SwiGLU.

`shape` holds the architecture keys of a Hugging Face checkpoint's `config.json`.
"""

import json
import sys

import torch
import torch.nn.functional as F
from torch import nn


def arguments(*sizes):
    """Returns the shape and the sizes from the command line `SCRIPT MODEL [SIZE ...]`. MODEL is a `config.json` or its text."""
    if len(sys.argv) not in (2, 2 + len(sizes)):
        sys.exit(f"usage: {sys.argv[0]} MODEL [{len(sizes)} sizes, by default {sizes}]")
    model = sys.argv[1]
    if not model.startswith("{"):
        with open(model, encoding="utf-8") as file:
            model = file.read()
    return json.loads(model), [int(word) for word in sys.argv[2:]] or sizes


def rotary_tables(length, head_dim, theta):
    """Returns cos and sin, each (length, head_dim)."""
    frequency = theta ** (-torch.arange(0, head_dim, 2).float() / head_dim)
    angle = torch.outer(torch.arange(length).float(), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """Rotates x, which is (B, heads, T, head_dim)."""
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Attention(nn.Module):
    def __init__(self, shape):
        super().__init__()
        d, self.heads, self.kv_heads = shape["hidden_size"], shape["num_attention_heads"], shape["num_key_value_heads"]
        self.head_dim = d // self.heads
        self.q = nn.Linear(d, self.heads * self.head_dim)
        self.k = nn.Linear(d, self.kv_heads * self.head_dim)
        self.v = nn.Linear(d, self.kv_heads * self.head_dim)
        self.o = nn.Linear(self.heads * self.head_dim, d, bias=False)

    def forward(self, x, cos, sin, cache, start):
        """Attends from x, which is (B, T, d) at positions start..start+T. A cache holds (keys, values) of earlier positions."""
        batch, length, _ = x.shape
        q, k, v = (
            linear(x).view(batch, length, -1, self.head_dim).transpose(1, 2) for linear in (self.q, self.k, self.v)
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            keys, values = cache
            keys[:, :, start : start + length] = k
            values[:, :, start : start + length] = v
            k, v = keys[:, :, : start + length], values[:, :, : start + length]
        repeat = self.heads // self.kv_heads
        k, v = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
        out = F.scaled_dot_product_attention(q, k, v, is_causal=length > 1)
        return self.o(out.transpose(1, 2).reshape(batch, length, -1))


class Layer(nn.Module):
    def __init__(self, shape):
        super().__init__()
        d, ff, eps = shape["hidden_size"], shape["intermediate_size"], shape["rms_norm_eps"]
        self.attention_norm, self.attention = nn.RMSNorm(d, eps), Attention(shape)
        self.mlp_norm = nn.RMSNorm(d, eps)
        self.gate, self.up, self.down = (
            nn.Linear(d, ff, bias=False),
            nn.Linear(d, ff, bias=False),
            nn.Linear(ff, d, bias=False),
        )

    def forward(self, x, cos, sin, cache, start):
        x = x + self.attention(self.attention_norm(x), cos, sin, cache, start)
        y = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Decoder(nn.Module):
    """Maps tokens (B, T) to final hidden states (B, T, d). `head` turns these into logits with the tied embedding."""

    def __init__(self, shape, max_length):
        super().__init__()
        self.embedding = nn.Embedding(shape["vocab_size"], shape["hidden_size"])
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape["num_hidden_layers"]))
        self.norm = nn.RMSNorm(shape["hidden_size"], shape["rms_norm_eps"])
        self.kv_heads = shape["num_key_value_heads"]
        self.head_dim = shape["hidden_size"] // shape["num_attention_heads"]
        cos, sin = rotary_tables(max_length, self.head_dim, shape["rope_theta"])
        self.register_buffer("cos", cos)
        self.register_buffer("sin", sin)

    def forward(self, tokens, caches=None, start=0):
        x = self.embedding(tokens)
        cos, sin = (table[start : start + tokens.shape[1]] for table in (self.cos, self.sin))
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, None if caches is None else caches[i], start)
        return self.norm(x)

    def head(self, hidden):
        return F.linear(hidden, self.embedding.weight)

    def new_caches(self, batch):
        """Returns keys and values for each layer, each (batch, kv_heads, max_length, head_dim)."""
        size = (batch, self.kv_heads, self.cos.shape[0], self.head_dim)
        return [tuple(self.cos.new_zeros(2, *size)) for _ in self.layers]
